"""The command ``hws-nnunet demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.commands.options import Device, NnUNet


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for all that it makes.")] = Path("hws-nnunet-demo"),
    device: Annotated[Device, typer.Option("--device", help="Where to train.")] = Device.cpu,
    seed: Annotated[int, typer.Option("--seed", help="Of the made-up data.")] = 0,
    nnunet: Annotated[NnUNet, typer.Option("--nnunet", help="Which nnU-Net.")] = NnUNet.v2,
    compare: Annotated[bool, typer.Option("--compare", help="Also train with uniform sampling.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do away with an earlier demonstration.")] = False,
) -> None:
    """See it work in minutes: made-up brains, nnU-Net's own commands, a table of Dice and figures.

    Every command is printed, so that you can repeat it.

    \b
    Example:
      hws-nnunet demo --out ~/hws-demo --compare
    """
    from hws_nnunet.demo import run_demo

    run_demo(out, version=nnunet.value, device=device.value, seed=seed, compare=compare, overwrite=overwrite)
