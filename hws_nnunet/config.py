"""Settings: one documented model, its checks, and where settings come from."""

from __future__ import annotations

import difflib
import os
import reprlib
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hws_nnunet.messages import ProblemsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

VARIABLE = "HWS_CONFIG"
_FILES = ("case_weights", "groups")
_SHORT = reprlib.Repr()  # a few lines of YAML can stand for gigabytes
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 200, 200


class SettingsError(ProblemsError):
    """Settings that cannot be used; the message lists every fault, and where they came from."""

    heading, noun = "settings from {source}: {count}", "fault"


class SettingsWarning(UserWarning):
    """A setting that has no effect."""


class Settings(BaseModel):
    """All settings of hardness weighted sampling. The symbols are those of ``docs/method.md``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    ess: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Smallest effective sample size, as a share of the cases: the setting to choose. 1 is uniform sampling; 0 leaves
    beta as given."""

    beta: Annotated[float, Field(ge=0, le=1e6)] = 100.0
    """Upper bound of the robustness parameter. 0 is nnU-Net itself; the larger, the closer to the worst case alone."""

    uniform_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share g of draws that are uniform, so that no case is lost."""

    cap: Annotated[float, Field(ge=1)] | None = 4.0
    """No case is drawn more than this many times as often as under uniform sampling; null for no cap."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Exponential smoothing m of losses: new = m * old + (1 - m) * loss. 0 keeps the last loss alone."""

    draw_by: Literal["dice_ce", "dice_present"] = "dice_present"
    """What is tracked, and draws go by: soft Dice loss over the classes present in the patch, or the training loss."""

    with_replacement: bool = False
    """Whether one batch may hold a case twice."""

    stall_limit: bool = True
    """Whether a case that is far harder than the others, and gets no easier for being drawn, is drawn uniformly."""

    structure_beta: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Robustness parameter b of the structure on which a patch of forced foreground is centred; 0 is nnU-Net's own
    choice, uniform among the case's."""

    case_weights: str | None = None
    """CSV file with the columns ``case`` and ``weight``: how often, in any unit, a case is drawn where hardness says
    nothing. Uniform share, cap and effective sample size are relative to it; with beta 0 it alone decides."""

    groups: str | None = None
    """CSV file with a column ``case`` and one of groups, as ``hws-nnunet prepare`` writes: hardness is pooled over
    each group."""

    group_column: str = "subgroup"
    """Of that file."""

    group_pooling: Annotated[float, Field(ge=0, le=1)] | None = None
    """By how much a case's hardness is pulled towards its group's mean: 0 not at all, 1 (group DRO) entirely; null for
    what the losses say of differences within groups."""

    tensorboard: bool = False
    """Whether each epoch's values are written for TensorBoard too, into ``tensorboard`` beside the record."""

    @model_validator(mode="after")
    def _combinations(self) -> Settings:
        if self.cap == 1 and self.ess == 0 and self.beta > 0:
            raise ValueError("cap 1 allows uniform sampling only; with ess 0 and beta > 0 it contradicts itself")
        return self

    @property
    def weighs_structures(self) -> bool:
        """Whether structures are drawn by hardness; otherwise the host draws them."""
        return self.structure_beta > 0


def parse_settings(values: Mapping[str, object], source: str, *, beside: Collection[str] = ()) -> Settings:
    """Return checked settings, or raise with all faults at once; warn of settings without effect.

    Args:
        values: names and values; what is not given keeps its default.
        source: where they came from, for messages.
        beside: which of ``case_weights`` and ``groups`` are there otherwise.

    Raises:
        SettingsError: unknown names (with the nearest valid one), wrong types, values out of range, combinations that
            exclude each other.
    """
    faults = []
    remaining = dict(values)
    names = list(Settings.model_fields)
    for name in [name for name in remaining if name not in names]:
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
        faults.append(f"unknown setting {_SHORT.repr(name)}{hint}")
        del remaining[name]
    try:
        settings = Settings.model_validate(remaining)
    except ValidationError as error:
        faults += [_explain(detail) for detail in error.errors()]
        # What is left is checked too, so that no fault waits for another to be mended.
        wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        if wrong:
            try:
                Settings.model_validate({k: v for k, v in remaining.items() if k not in wrong})
            except ValidationError as rest:
                faults += [_explain(detail) for detail in rest.errors()]
    if faults:
        raise SettingsError(source, faults)
    _warn_without_effect(settings, source, beside)
    return settings


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Read settings from a YAML file, with the safe loader; files that it names are sought from its folder on.

    Raises:
        SettingsError: the file is missing or no mapping in YAML, or as in :func:`parse_settings`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), [f"cannot be read: {error}"]) from error
    except Exception as error:  # a value that does not fit its tag makes the loader raise what it comes upon
        text = f"is not valid YAML, expected 'name: value' on each line: {' '.join(str(error).split())}"
        raise SettingsError(str(path), [text]) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        text = f"expected 'name: value' on each line, as in 'ess: 0.8', found {_SHORT.repr(values)}"
        raise SettingsError(str(path), [text])
    for name in _FILES:
        if isinstance(values.get(name), str):
            values[name] = str(Path(path).absolute().parent / Path(values[name]).expanduser())
    return parse_settings(values, str(path))


def find_settings(
    attribute: Settings | Mapping[str, object] | str | os.PathLike[str] | None = None,
) -> tuple[Settings, str]:
    """Return the settings in force and where they came from; the first found wins.

    1. the file that the environment variable ``HWS_CONFIG`` names;
    2. ``attribute``, a trainer class's ``hws_settings``: settings, a mapping, or a YAML file's path;
    3. the defaults.
    """
    if path := os.environ.get(VARIABLE):
        return read_settings(path), f"{path} ({VARIABLE})"
    if attribute is None:
        return Settings(), "defaults"
    source = "the trainer's hws_settings"
    if isinstance(attribute, Settings):
        _warn_without_effect(attribute, source)
        return attribute, source
    if isinstance(attribute, Mapping):
        return parse_settings(attribute, source), source
    return read_settings(attribute), f"{attribute} ({source})"


def _warn_without_effect(settings: Settings, source: str, beside: Collection[str] = ()) -> None:
    for line in _without_effect(settings, {*beside, *(name for name in _FILES if getattr(settings, name) is not None)}):
        warnings.warn(f"settings from {source}: {line}", SettingsWarning, stacklevel=4)


def _explain(detail: ErrorDetails) -> str:
    if not detail["loc"]:  # a combination
        return str(detail["ctx"]["error"])
    name, value = ".".join(str(part) for part in detail["loc"][:1]), detail["input"]
    message = detail["msg"][0].lower() + detail["msg"][1:]
    hint = ""
    if isinstance(value, str) and detail["type"] in ("float_type", "int_type"):
        hint = " (YAML reads 1e3 as text: write 1.0e+3)" if _is_number(value) else ""
    return f"{name}: {message}, given: {_SHORT.repr(value)}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _without_effect(settings: Settings, tables: Collection[str]) -> list[str]:
    set_here = settings.model_fields_set
    lines = []
    if settings.beta == 0:
        names: tuple[str, ...] = (
            "ess",
            "uniform_fraction",
            "cap",
            "stall_limit",
            "groups",
            "group_column",
            "group_pooling",
        )
        names += () if "case_weights" in tables else ("with_replacement",)
        if idle := [name for name in names if name in set_here]:
            lines.append(f"{', '.join(idle)} without effect at beta 0; a beta above 0 weighs cases by hardness")
    else:
        for name, uniform in (("ess", 1), ("uniform_fraction", 1), ("cap", 1)):
            if name in set_here and getattr(settings, name) == uniform:
                lines.append(
                    f"beta {settings.beta:g} is without effect at {name} {uniform}; beta 0 is uniform sampling"
                )
        if "groups" not in tables:
            lines += [
                f"{name} is without effect as long as no groups are given"
                for name, default in (("group_column", "subgroup"), ("group_pooling", None))
                if getattr(settings, name) != default
            ]
    return lines
