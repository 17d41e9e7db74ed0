"""The command ``hws-nnunet gallery``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.commands.options import Fold, NnUNet, Raw, raw_folder
from hws_nnunet.messages import number


def gallery(
    fold: Fold,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to make; default: gallery, in the fold's.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many cases.")] = 10,
    worst: Annotated[
        bool, typer.Option("--worst", help="The validation cases of lowest Dice, instead of the hardest in training.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="Label maps of training cases; default: validations of this fold and its neighbours."
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option("--channel", min=0, help="Of the image; default: FLAIR, else T1 with contrast agent, else 0."),
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", help="Image values for black and white; default: by each image.")
    ] = None,
    raw: Raw = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier gallery.")] = False,
) -> None:
    """Make pictures of a training's hardest cases, to look for rare anatomy and for wrong labels.

    Three slices of each, bare and with the contours of the reference, and of a prediction where there is one; PNG files
    and index.html, which tells how to read them. Slices go through the prediction's error, else through the case's
    hardest structure, where the record tells it. Works for the folders of nnU-Net v2 and v1.

    \b
    Examples:
      hws-nnunet gallery $nnUNet_results/Dataset501_FetalBrain/.../fold_0
      hws-nnunet gallery .../fold_0 --worst --top 5 --out worst
      hws-nnunet gallery .../fold_0 --window=-160,240   # CT, soft tissue
    """
    from hws_nnunet.gallery import find_layout, make_gallery

    layout = find_layout(fold)
    page = make_gallery(
        fold,
        raw_folder(raw, NnUNet(layout.version)),
        out=out,
        top=top,
        worst=worst,
        predictions=predictions,
        channel=channel,
        window=None if window is None else _window(window),
        overwrite=overwrite,
        progress=True,
    )
    print(f"drew {number(len(list(page.parent.glob('*.png'))), 'case')}; open {page}")


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--window expects two numbers with a comma between them, given: {text!r}") from None
    return low, high
