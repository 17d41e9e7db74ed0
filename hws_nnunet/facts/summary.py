"""nnU-Net's ``summary.json`` of a validation or evaluation, v1's and v2's, and where a fold keeps it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hws_nnunet.facts.spellings import case_name
from hws_nnunet.facts.versions import HOSTS, SUMMARY

MEASURES = {
    "dice": "dice",
    "hd95": "hd95",
    "hausdorff distance 95": "hd95",
    "nsd": "nsd",
    "n_ref": "reference_size",
    "n_pred": "predicted_size",
    "total positives reference": "reference_size",
    "total positives test": "predicted_size",
}
"""Names of measures in small letters, and ours."""


@dataclass(frozen=True)
class Summary:
    """What a ``summary.json`` says.

    Attributes:
        rows: of each case and label, the background's too: ``case``, ``label`` and measures by our names.
        foreground_mean: nnU-Net's own mean Dice over labels of their means over cases; None where it tells none.
        version: of nnU-Net, ``v1`` or ``v2``.
        on_training_cases: the predictions lay in the validation of a training on all cases.
    """

    rows: tuple[dict[str, Any], ...]
    foreground_mean: float | None
    version: str
    on_training_cases: bool = False


def find_summary(path: Path) -> Path:
    """Return the ``summary.json`` that a path names, or that lies in the folder or fold that it names.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    files = [path / folder / SUMMARY for folder in ("", *(host.validation for host in reversed(HOSTS.values())))]
    if not (existing := [file for file in files if file.is_file()]):
        raise FileNotFoundError(
            f"no {SUMMARY} in {path}: expected nnU-Net's, or --references FOLDER to compute results from label maps"
        )
    return existing[0]


def trained_on_all(path: Path) -> bool:
    """Return whether a path is ``fold_all`` (v1: ``all``) or lies in its validation, which is on training cases."""
    places = (Path(path), Path(path).resolve())
    return any(map(_is_of_all, places))


def _is_of_all(place: Path) -> bool:
    parts = ("", *place.parts, "validation")  # the fold itself counts as its validation
    return any(
        (fold == "fold_all" or (fold == "all" and "__" in model)) and below.startswith("validation")
        for model, fold, below in zip(parts, parts[1:], parts[2:], strict=False)
    )


def read_summary(path: Path) -> Summary:
    """Read a ``summary.json``.

    Raises:
        ValueError: it is not what nnU-Net writes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(content, dict) or not content.keys() & {"metric_per_case", "results"}:
        keys = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        expected = "'metric_per_case' (nnU-Net v2) or 'results' (nnU-Net v1)"
        raise ValueError(f"expected {expected} at its top, found: {keys[:200]}")
    try:
        if "metric_per_case" in content:
            version, cases = "v2", [(case["prediction_file"], case["metrics"]) for case in content["metric_per_case"]]
        else:
            version = "v1"
            cases = [
                (case["test"], {k: v for k, v in case.items() if k not in ("test", "reference")})
                for case in content["results"]["all"]
            ]
        rows = [
            {"case": case_name(file), "label": label, **_measures(values, f"case {case_name(file)!r}, label {label!r}")}
            for file, labels in cases
            for label, values in labels.items()
        ]
        mean = float(content.get("foreground_mean", {}).get("Dice", "nan"))
        on_all = any(_is_of_all(Path(str(file).replace("\\", "/"))) for file, _ in cases)
        return Summary(tuple(rows), None if math.isnan(mean) else mean, version, on_all)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"is not as nnU-Net writes it: {type(error).__name__}: {error}") from None


def _measures(values: Mapping[str, Any], where: str) -> dict[str, float]:
    """Return the measures that we know, by our names; null is not known."""
    measures: dict[str, float] = {}
    for theirs, value in values.items():
        if ours := MEASURES.get(theirs.casefold()):
            number = float("nan") if value is None else float(value)
            if ours in measures and not (
                measures[ours] == number or (measures[ours] != measures[ours] and number != number)
            ):
                raise ValueError(f"{where}: {theirs} is there twice, as {measures[ours]} and {number}")
            measures[ours] = number
    if "dice" not in measures:
        raise ValueError(f"{where}: expected Dice, found {', '.join(values) or 'nothing'}")
    return measures
