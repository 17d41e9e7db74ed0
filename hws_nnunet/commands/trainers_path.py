"""The command ``hws-nnunet trainers-path``."""

from __future__ import annotations

from typing import Annotated

import typer

from hws_nnunet.commands.options import NnUNet
from hws_nnunet.facts.versions import HOSTS


def trainers_path(version: Annotated[NnUNet, typer.Argument(help="nnU-Net's version.")] = NnUNet.v2) -> None:
    """Print the folder of trainers for nnU-Net 2.8 and later, where nnU-Net's own folder cannot be written.

    \b
    Example:
      export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)
    """
    print(HOSTS[version.value].trainers_path())
