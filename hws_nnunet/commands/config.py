"""The command ``hws-nnunet config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.files import packaged


def config(
    name: Annotated[
        str, typer.Argument(help="'default', which explains every setting, 'brats' or 'fetal_brain'.")
    ] = "default",
) -> None:
    """Print a file of settings that comes with the package, to change and to name in HWS_CONFIG.

    \b
    Example:
      hws-nnunet config brats > my.yaml
      HWS_CONFIG=my.yaml nnUNetv2_train 523 3d_fullres 0 -tr HardnessWeightedTrainer
    """
    files: dict[str, Path] = {file.stem: file for file in sorted(packaged("configs").glob("*.yaml"))}
    if name not in files:
        raise ValueError(f"the package has no settings {name!r}, expected one of: {', '.join(files)}")
    print(files[name].read_text(encoding="utf-8"), end="")
