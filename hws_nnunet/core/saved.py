"""A table's saved state: what a resumed training gets back, matched by names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hws_nnunet.core import columns
from hws_nnunet.core.columns import OLDEST_FORMAT, Column, current_format
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.messages import some_of


def save_table(table: HardnessTable) -> dict[str, Any]:
    """Return what is tracked, as names, numbers and copies of arrays; the warm-up pass's position is left out."""
    return {
        "format": current_format(),
        "names": list(map(str, table.names)),
        "structures": list(table.structures),
        "measure": table.measure,
        **{word.name: getattr(table, word.name) for word in columns.WORDS if word.saved},
        **{column.name: getattr(table, column.name).copy() for column in columns.COLUMNS if column.saved},
    }


class CheckedState(NamedTuple):
    """What :func:`check_state` found in a saved state: words and columns by name, names of cases and structures."""

    words: dict[str, float]
    columns: dict[str, np.ndarray]
    names: Sequence[str]
    structures: Sequence[str]


def check_state(table: HardnessTable, state: dict[str, Any]) -> CheckedState:
    """Return what :func:`load_table` needs of a state that :func:`save_table` gave, now or in an older format.

    Raises:
        ValueError: for a format that is not known, another measure, or a damaged state.
    """
    if not isinstance(state, dict):
        raise ValueError(f"sampler state is {type(state).__name__}, expected a dictionary")
    version, newest = state.get("format"), current_format()
    if not isinstance(version, int) or not OLDEST_FORMAT <= version <= newest:
        raise ValueError(
            f"sampler state has format {version!r}, expected {OLDEST_FORMAT} to {newest}: it was saved by another "
            "version of hws-nnunet, with which this training can be finished"
        )
    try:
        checked = _checked(state, version)
        measure = state["measure"]
    except KeyError as error:
        raise ValueError(f"sampler state is damaged: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"sampler state is damaged: {error}") from error
    if measure != table.measure:
        raise ValueError(
            f"sampler state tracks {measure!r}, expected {table.measure!r}: a training goes on with the draw_by that "
            "it began with"
        )
    return checked


def load_table(table: HardnessTable, state: CheckedState) -> None:
    """Restore a state by names; draw weights stay as they are.

    What the state's format did not have starts unknown; so do cases and structures that are new. Of names that are
    new or gone, warnings tell.
    """
    names = list(map(str, table.names))
    here, there = _matches(names, state.names)
    structures_here, structures_there = _matches(table.structures, state.structures)
    _warn_of_changes("case", names, state.names, "start unseen")
    _warn_of_changes("structure", table.structures, state.structures, "start unknown")
    with table.writing():
        for column in columns.COLUMNS:
            array = getattr(table, column.name)
            if column.name == "order":
                array[:] = _merged_order(len(table), state.columns["order"], here, there)
            elif column.name != "weight":
                array.fill(column.unknown)
                if column.name in state.columns:
                    saved = state.columns[column.name]
                    if column.by_structure:
                        array[np.ix_(here, structures_here)] = saved[np.ix_(there, structures_there)]
                    else:
                        array[here] = saved[there]
        table.position = 0
        for name, value in state.words.items():
            setattr(table, name, value)
        table.unseen = int((table.visits == 0).sum())


def _checked(state: dict[str, Any], version: int) -> CheckedState:
    names, structures = state["names"], state["structures"]
    for given in (names, structures):
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise ValueError("names are not a list of texts")
    words = {
        word.name: state[word.name if word.since <= version else word.formerly]
        for word in columns.WORDS
        if word.saved and (word.since <= version or word.formerly)
    }
    if wrong := [name for name, value in words.items() if not np.isfinite(float(value))]:
        raise ValueError(f"{wrong[0]} is {words[wrong[0]]}")
    saved = {
        column.name: _checked_column(column, state[column.name], len(names), len(structures))
        for column in columns.COLUMNS
        if column.saved and column.since <= version
    }
    if not np.array_equal(np.sort(saved["order"]), np.arange(len(names))):
        raise ValueError("order is not a permutation of the cases")
    return CheckedState(words, saved, names, structures)


def _checked_column(column: Column, value: Any, cases: int, structures: int) -> np.ndarray:
    # A host loads its checkpoints to the device that it trains on.
    array = np.asarray(value.cpu() if hasattr(value, "cpu") else value)
    shape = (cases, structures) if column.by_structure else (cases,)
    if array.shape != shape or array.dtype.kind not in "fi":
        raise ValueError(f"{column.name} is {array.dtype} of shape {array.shape}, expected numbers of shape {shape}")
    return array


def _merged_order(n: int, saved: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return a permutation of n cases: those of the saved one in its order, then the new ones."""
    rank = np.full(n, len(saved), dtype=np.int64)
    rank[here] = np.argsort(saved)[there]
    return np.argsort(rank, kind="stable")


def _warn_of_changes(what: str, now: Sequence[str], saved: Sequence[str], consequence: str) -> None:
    here, there = set(now), set(saved)
    if gone := sorted(there - here):
        warnings.warn(f"{len(gone)} {what}(s) of the saved state are not here any more: {some_of(gone)}", stacklevel=4)
    if new := [name for name in now if name not in there]:
        warnings.warn(f"{len(new)} {what}(s) are new, and {consequence}: {some_of(new)}", stacklevel=4)


def _matches(here: Sequence[str], there: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the names that both have, here and there."""
    where = {name: index for index, name in enumerate(there)}
    both = [index for index, name in enumerate(here) if name in where]
    return np.array(both, dtype=np.int64), np.array([where[here[index]] for index in both], dtype=np.int64)
