"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.facts import versions


class NnUNet(str, Enum):
    """The versions of nnU-Net that there are trainers for."""

    v1 = "v1"
    v2 = "v2"


class Device(str, Enum):
    """Where nnU-Net trains."""

    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


Fold = Annotated[Path, typer.Argument(help="A fold's folder: .../HardnessWeightedTrainer__.../fold_0")]
Raw = Annotated[
    Path | None, typer.Option("--raw", help="nnU-Net's raw folder; default: $nnUNet_raw, for v1 $nnUNet_raw_data_base.")
]


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script: numbers unrounded, null for unknown.")]


def print_json(figures: object) -> None:
    """Print what a command tells as JSON, with numbers as they are and null for NaN.

    Args:
        figures: texts, numbers, None, and lists and dicts of these.

    Raises:
        ValueError: a number is infinite.
    """
    print(json.dumps(_with_null(figures), indent=1, allow_nan=False))


def _with_null(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_null(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_null(entry) for entry in value]
    return None if value != value else value


def numbers(text: str, option: str) -> list[int]:
    """Return the whole numbers of an option's text, as in ``32,32,32`` or ``32x32x32``.

    Raises:
        ValueError: it holds something else; the message names ``option``.
    """
    try:
        return [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        raise ValueError(f"{option} expects whole numbers with commas between them, given: {text!r}") from None


def raw_folder(path: Path | None, nnunet: NnUNet) -> Path:
    """Return the folder given, by default the one that nnU-Net's variable names.

    Raises:
        ValueError: neither is set.
    """
    if path is not None:
        return path
    variable = versions.HOSTS[nnunet.value].raw
    if not (folder := os.environ.get(variable)):
        raise ValueError(f"{variable} is not set: export {variable}=FOLDER, or give --raw FOLDER")
    return Path(folder)


def installed_hosts() -> list[versions.Host]:
    """Return the versions of nnU-Net that are installed, at least one.

    Raises:
        RuntimeError: there is none.
    """
    if not (hosts := versions.installed()):
        raise RuntimeError(f"no nnU-Net is installed: {versions.V2.install} (or [nnunetv1])")
    return hosts
