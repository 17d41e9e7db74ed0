"""Makes a gallery: chooses cases, checks their files, draws each, writes the page; whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hws_nnunet.datasets import DatasetError
from hws_nnunet.files import atomic_folder, check_room, needed_folder
from hws_nnunet.gallery.choice import Chosen, hardest_in_training, worst_in_validation
from hws_nnunet.gallery.images import Pictured, read_case, read_grid
from hws_nnunet.gallery.layout import RawData, find_layout, read_raw_data
from hws_nnunet.gallery.page import Entry, write_page
from hws_nnunet.gallery.picture import Style, draw_case
from hws_nnunet.gallery.slices import RULE, choose_place, wrong_voxels
from hws_nnunet.messages import number
from hws_nnunet.record.figures import short
from hws_nnunet.record.links import GALLERIES, REPORT, report_link
from hws_nnunet.record.links import PAGE as REPORT_PAGE
from hws_nnunet.record.measures import MEASURES

PAGE = "index.html"
"""Name of a gallery's page."""


def make_gallery(
    fold: Path,
    raw_folder: Path,
    *,
    out: Path | None = None,
    top: int = 10,
    worst: bool = False,
    predictions: Path | None = None,
    channel: int | None = None,
    window: tuple[float, float] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write pictures and a page of a fold's hardest training cases, or of its worst validation cases.

    Args:
        fold: a fold's folder, where nnU-Net left it; is not changed but for ``out``.
        raw_folder: ``nnUNet_raw`` (v2) or ``nnUNet_raw_data_base`` (v1).
        out: the folder to make; default ``gallery`` or ``gallery_validation`` in the fold's.
        top: how many cases, at least 1.
        worst: the validation cases of the lowest mean Dice, instead of the hardest training cases.
        predictions: folder of label maps of training cases; default: validations of this fold and those beside it.
        channel: of the image, from 0 on; default: FLAIR, else T1 with contrast agent, else the first.
        window: image values shown black and white; default: 0.5th and 99.5th percentile of the image.
        overwrite: replace a gallery at ``out``.
        progress: show a bar on standard error.

    Returns:
        The page.

    Raises:
        FileNotFoundError: the fold, its record or validation, the raw data set or ``predictions`` are not there.
        FileExistsError: ``out`` exists and is not a gallery, or ``overwrite`` is off.
        DatasetError: files of cases are missing, cannot be read, or do not fit each other; all are told.
        ValueError: for other things that cannot be used.
    """
    _check_options(top, worst, predictions, window)
    layout = find_layout(fold)
    out = layout.fold / GALLERIES[worst] if out is None else Path(out)
    _check_out(out, overwrite=overwrite)
    data = read_raw_data(layout.raw_data(raw_folder))
    channel = data.shown_channel() if channel is None else channel
    if not 0 <= channel < len(data.channels):
        there = ", ".join(f"{i} ({name})" for i, name in enumerate(data.channels))
        raise ValueError(
            f"channel number {channel} given, counted from 0; {data.folder} has "
            f"{number(len(data.channels), 'channel')}, number {there}"
        )
    if worst:
        chosen, of = worst_in_validation(layout, data, top=top)
    else:
        chosen, of = hardest_in_training(layout, data, top=top, predictions=predictions)
    _check_files(chosen, data)
    style = Style(data.value_names(), window)
    columns: tuple[str, ...] = ("mean Dice", "worst structure", "subgroup")
    if not worst:
        columns = ("hardness", *MEASURES, "hardest structure", "drawn", "visits", "last epoch seen", *columns)
    entries = []
    with atomic_folder(out) as folder:
        for rank, case in enumerate(tqdm(chosen, desc="drawing", unit="case", disable=not progress), start=1):
            pictured = read_case(data.images(case.name), data.label(case.name), case.prediction, channel=channel)
            entries.append(_draw(case, pictured, rank, folder, data, style, columns))
        what = f"{layout.dataset}, {layout.fold.parent.name}, {layout.fold.name}: "
        what += f"{len(chosen)} of {of} validation cases" if worst else f"{len(chosen)} of {of} training cases seen"
        title = "Worst validation cases" if worst else "Hardest training cases"
        reading = _how_to_read(worst=worst, channel=data.channels[channel])
        link = report_link(out, layout.fold / REPORT / REPORT_PAGE)
        page = write_page(title, what, columns, entries, reading, link=link)
        (folder / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def _check_options(top: int, worst: bool, predictions: Path | None, window: tuple[float, float] | None) -> None:
    if top < 1:
        raise ValueError(f"a gallery has at least one case, given: {top}")
    if worst and predictions is not None:
        raise ValueError("the worst of a validation have its own predictions: give either --worst or --predictions")
    if predictions is not None:
        needed_folder(predictions, "the folder of predictions")
    if window is not None and not (np.isfinite(window).all() and window[0] < window[1]):
        raise ValueError(f"a window goes from a smaller to a larger value, given: {window[0]:g} to {window[1]:g}")


def _check_out(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        check_room(out, folder=True)
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; --overwrite replaces it")
    if not out.is_dir() or any(file.name != PAGE and file.suffix != ".png" for file in out.iterdir()):
        raise FileExistsError(
            f"{out} is not a gallery (it holds more than {PAGE} and .png files), so it is not replaced"
        )


def _check_files(chosen: Sequence[Chosen], data: RawData) -> None:
    """Raise for all files that are missing, cannot be read, or have another shape than their case's first."""
    problems = []
    for case in chosen:
        files = [*data.images(case.name), data.label(case.name)]
        files += [] if case.prediction is None else [case.prediction]
        missing = [file for file in files if not file.is_file()]
        problems += [f"{case.name}: no {file}" for file in missing]
        if missing:
            continue
        try:
            shapes = {file: read_grid(file).shape for file in files}
        except (OSError, ValueError) as error:
            problems.append(f"{case.name}: {error}")
            continue
        problems += [
            f"{case.name}: {file} has shape {shape}, its image {shapes[files[0]]}"
            for file, shape in shapes.items()
            if shape != shapes[files[0]]
        ]
    if problems:
        raise DatasetError(data.folder, problems)


def _draw(
    case: Chosen,
    pictured: Pictured,
    rank: int,
    folder: Path,
    data: RawData,
    style: Style,
    columns: Sequence[str],
) -> Entry:
    """Draw a case and return what the page tells of it."""
    wrong, dice, counted = None, {}, _counted(pictured, data)
    if pictured.prediction is not None:
        wrong = wrong_voxels(pictured.reference, pictured.prediction, ignore=data.ignore)
        dice = _dice(pictured, pictured.prediction, data)
    parts = data.structures.get(case.hardest.structure, ()) if case.hardest else ()
    hardest = np.isin(pictured.reference, parts) & counted
    spacing = pictured.spacing.tolist()
    place = choose_place(pictured.reference, wrong=wrong, hardest=hardest, spacing=spacing, ignore=data.ignore)
    values = _values(case, dice)
    facts = [f"{column} {values[column]}" for column in columns if values[column]]
    # The rank keeps names apart that differ in what is left out of them.
    picture = f"{rank:02d}_{short(case.name, 60).replace('/', '_').replace(chr(92), '_')}.png"
    draw_case(
        pictured,
        place.voxel,
        folder / picture,
        style=style,
        title=f"{rank}. {case.name}",
        subtitle=", ".join(facts),
        wrong=wrong,
    )
    voxel = ", ".join(str(v) for v in pictured.grid.file_voxel(place.voxel))
    where = "" if pictured.grid.affine is None else f" It is voxel {voxel} of the file, counted from 0."
    remarks = [f"Slices through {place.rule}.{where}"]
    if case.stalled:
        remarks.append("Stalled: far harder than the others, and no easier for being drawn. Is the label right?")
    if case.prediction is not None:
        remarks.append(f"Prediction: {case.prediction}")
    used = {int(v) for v in np.unique(pictured.reference)} - {0, data.ignore}
    if unknown := sorted(used - set(style.names)):
        remarks.append(f"The reference has label values that dataset.json does not name: {unknown}")
    absent = [name for name, parts in data.structures.items() if not used & set(parts)]
    if absent:
        remarks.append(f"The reference has no {', no '.join(absent)}.")
    remarks += [f"{note[0].upper()}{note[1:]}." for note in pictured.notes]
    return Entry(case.name, tuple(values[column] for column in columns), tuple(remarks), picture)


def _values(case: Chosen, dice: dict[str, float]) -> dict[str, str]:
    """Return what is known of a case in words, by column; empty where nothing is."""
    worst = min(dice, key=dice.__getitem__, default=None)
    return {
        "hardness": "" if case.hardness is None else f"{case.hardness:.4f}",
        **dict.fromkeys(MEASURES, ""),
        **{measure: f"{loss:.4f}" for measure, loss in case.other_losses},
        "hardest structure": f"{case.hardest.structure} {case.hardest.hardness:.3f}" if case.hardest else "",
        "drawn": "" if case.drawn is None else f"{case.drawn:.1f}x",
        "visits": "" if case.visits is None else str(case.visits),
        "last epoch seen": "" if case.last_epoch is None else str(case.last_epoch),
        "mean Dice": f"{np.mean(list(dice.values())):.3f}" if dice else "",
        "worst structure": "" if worst is None else f"{worst} {dice[worst]:.3f}",
        "subgroup": case.subgroup,
    }


def _dice(case: Pictured, prediction: np.ndarray, data: RawData) -> dict[str, float]:
    """Return the Dice of each structure that the reference or the prediction has."""
    counted, dice_of = _counted(case, data), {}
    for name, values in data.structures.items():
        one, other = (np.isin(labels, values) & counted for labels in (case.reference, prediction))
        if total := int(one.sum()) + int(other.sum()):
            dice_of[name] = 2 * int((one & other).sum()) / total
    return dice_of


def _counted(case: Pictured, data: RawData) -> np.ndarray:
    """Return where the reference has no ignore label."""
    return np.ones(case.reference.shape, bool) if data.ignore is None else case.reference != data.ignore


def _how_to_read(*, worst: bool, channel: str) -> list[str]:
    lines = [
        f"Rows: the image (channel {channel}), the same slices with the contours of the reference, and with those of "
        "the prediction where there is one, wrong voxels in red. A contour lies just inside its structure's border; a "
        "structure has the same colour in all pictures.",
        "Letters tell the sides: R and L the patient's right and left, A and P front and back, S and I top and bottom "
        "(to the nearest axis, where an image lies askew). Panels of a case have one scale, in millimetres. The "
        "dashed lines show where the other slices lie.",
        RULE,
    ]
    if worst:
        return [*lines, "Cases are in the order of nnU-Net's summary of the validation, lowest mean Dice first."]
    return [
        *lines,
        "Hardness is the smoothed loss that draws went by; dice_ce or dice_present is the smoothed loss by the other "
        "measure. The hardness of a structure is its smoothed soft Dice loss, 0 to 1; drawn 2.0x is twice as often as "
        "the mean of all training cases. A case stays hard because it is rare, or because its labels are wrong: "
        "contours that are shifted against the image, colours of two structures exchanged, a structure that is there "
        "but has no contour.",
    ]
