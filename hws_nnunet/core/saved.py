"""A table's saved state: what a resumed training gets back, matched by names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from hws_nnunet.core import columns
from hws_nnunet.core.columns import OLDEST_FORMAT, current_format
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.messages import number, some_of


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


def saved_table(table: HardnessTable, state: dict[str, Any]) -> HardnessTable:
    """Return a state that :func:`save_table` gave, now or in an older format, as a table of its cases and structures.

    What the state's format did not have is unknown there.

    Args:
        table: that is to go on from it.
        state: as loaded; arrays may have become tensors.

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
        saved = _filled_table(state, version)
    except KeyError as error:
        raise ValueError(f"sampler state is damaged: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"sampler state is damaged: {error}") from error
    if fault := saved.check_valid():
        raise ValueError(f"sampler state is damaged: {fault}")
    if saved.measure != table.measure:
        raise ValueError(
            f"sampler state tracks {saved.measure!r}, expected {table.measure!r}: a training goes on with the draw_by "
            "that it began with"
        )
    return saved


def load_table(table: HardnessTable, saved: HardnessTable) -> None:
    """Restore a saved table by names; draw weights stay as they are.

    Cases and structures that are new start unknown. Of names that are new or gone, warnings tell.
    """
    names = list(map(str, table.names))
    here, there = _matches(names, saved.names)
    structures_here, structures_there = _matches(table.structures, saved.structures)
    _warn_of_changes("case", names, saved.names, "unseen so far")
    _warn_of_changes("structure", table.structures, saved.structures, "unknown so far")
    with table.writing():
        for column in columns.COLUMNS:
            array, values = getattr(table, column.name), getattr(saved, column.name)
            if column.name == "order":
                array[:] = _merged_order(len(table), values, here, there)
            elif column.name != "weight":
                array.fill(column.unknown)
                if column.by_structure:
                    array[np.ix_(here, structures_here)] = values[np.ix_(there, structures_there)]
                else:
                    array[here] = values[there]
        # Earlier versions counted finite answers for the stall limit alone, and none where it was off.
        uncounted = (table.answers == 0) & ~np.isnan(table.offset)
        table.answers[uncounted] = table.visits[uncounted]
        table.window[uncounted] = np.nan  # it lacks losses, so that no verdict is given on it
        table.position = 0
        for word in columns.WORDS:
            if word.saved:
                setattr(table, word.name, getattr(saved, word.name))
        table.unseen = int((table.visits == 0).sum())


def _filled_table(state: dict[str, Any], version: int) -> HardnessTable:
    names, structures = state["names"], state["structures"]
    for texts in (names, structures):
        if not isinstance(texts, list) or not all(isinstance(name, str) for name in texts):
            raise ValueError("names are not a list of texts")
    table = HardnessTable(names, structures=structures, measure=state["measure"])
    for word in columns.WORDS:
        key = word.name if word.since <= version else word.formerly
        if word.saved and key:
            try:
                setattr(table, word.name, state[key])
            except (OverflowError, TypeError, ValueError):
                raise ValueError(f"{word.name} is {state[key]!r}, expected a number, {word.kind.__name__}") from None
    for column in columns.COLUMNS:
        if column.saved and column.since <= version:
            value = state[column.name]
            # A host loads its checkpoints to the device that it trains on.
            array, shape = np.asarray(value.cpu() if hasattr(value, "cpu") else value), table.shape_of(column)
            if array.shape != shape or array.dtype.kind not in ("fi" if column.kind is float else "i"):
                raise ValueError(
                    f"{column.name} is {array.dtype} of shape {array.shape}, expected numbers of shape {shape}"
                )
            getattr(table, column.name)[:] = array
    table.unseen = int((table.visits == 0).sum())
    return table


def _merged_order(n: int, saved: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return a permutation of n cases: those of the saved one in its order, then the new ones."""
    rank = np.full(n, len(saved), dtype=np.int64)
    rank[here] = np.argsort(saved)[there]
    return np.argsort(rank, kind="stable")


def _warn_of_changes(what: str, now: Sequence[str], saved: Sequence[str], consequence: str) -> None:
    here, there = set(now), set(saved)
    if gone := sorted(there - here):
        warnings.warn(f"{number(len(gone), what)} gone since the state was saved: {some_of(gone)}", stacklevel=4)
    if new := [name for name in now if name not in there]:
        warnings.warn(
            f"{number(len(new), what)} new since the state was saved, {consequence}: {some_of(new)}", stacklevel=4
        )


def _matches(here: Sequence[str], there: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the names that both have, here and there."""
    where = {name: index for index, name in enumerate(there)}
    both = [index for index, name in enumerate(here) if name in where]
    return np.array(both, dtype=np.int64), np.array([where[here[index]] for index in both], dtype=np.int64)
