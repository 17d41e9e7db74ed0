"""What each measure may be where reference, prediction or both lack a structure: one table for every reader.

Tools write different things there: Dice of 1 where both are empty (seg-metrics, pymia, MIST, MONAI's ``ignore_empty``
off), 0 or nothing; HD95 of 0 (seg-metrics), nothing (nnU-Net, panoptica), infinity (pymia) or 373 (BraTS) for a missed
structure. What is known is mapped to one convention, and told; what cannot be is an error that names its row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hws_nnunet.messages import first_of, number
from hws_nnunet.report.read.results import LESIONS, SIZES

ABSENT = ("one", "never", "nan")
"""What a table's Dice is where reference and prediction lack a structure: 1; no such structure is there; missing."""
_NOISE = 1e-6  # that single precision leaves on a share
_BRATS = (373.0, 374.0)  # the diagonal of BraTS' images, that its tools write for what has no distance
_FAR = 10.0  # mm: rounding to two digits gives a Dice of 1 beside some HD95, never beside such a one
_ROUNDED = 0.006  # of a Dice that is given with two digits

_UNTOLD = "and the table does not tell whether reference and prediction have the structure: expected --absent"
_DOUBT = {
    "one": f"Dice is 1, {_UNTOLD} one where neither has it, or --absent never where it was found without a fault",
    "nan": f"there is no Dice, {_UNTOLD} nan where neither has it (MONAI leaves out all that the reference lacks, "
    "invented structures too: measure them with --references)",
}


@dataclass(frozen=True)
class Convention:
    """How a source writes what has no value.

    Attributes:
        absent: one of :data:`ABSENT`, or empty: go by sizes and counts, and by infinite distances.
        doubtful: a key of :data:`ABSENT`, where the source writes so and does not tell which structures it is of.
        tells: a Dice of 1 is of a structure that is there, or the source shows that it is not.
        zero_distance: an HD95 of 0 beside a Dice of 0 stands for no distance.
        missed_hd95: of structures that are missed or invented, where the source has none, in millimetres.
    """

    absent: str = ""
    doubtful: str = ""
    tells: bool = True
    zero_distance: bool = False
    missed_hd95: float | None = None


@dataclass
class Settled:
    """Rows that keep one convention, what was mapped, and what cannot be."""

    rows: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def settle(rows: pd.DataFrame, convention: Convention) -> Settled:
    """Bring measures to the report's convention.

    ========  ====================  ==============================================  ========================
    has it    Dice                  HD95                                            surface Dice
    ========  ====================  ==============================================  ========================
    both      0 to 1, by sizes *    from 0 on; above 0 where Dice is 0              0 to 1
    one       0                     above 0 (none, infinity: no HD95 is reported)   0 (none: 0)
    neither   none (0, 1: none)     none (0, 373, infinity: none)                   none (0, 1, infinity: none)
    ========  ====================  ==============================================  ========================

    * at most twice the smaller size over the sum of both, where sizes are told.

    Args:
        rows: ``case``, ``label``, measures and sizes by our names, NaN where there is none.
        convention: of the source.
    """
    frame = rows.copy()
    for key in ("dice", "nsd", "lesion_dice", "lesion_f1"):
        values = frame[key]
        frame[key] = values.mask(values.between(1, 1 + _NOISE), 1.0).mask(values.between(-_NOISE, 0), 0.0)
    frame["most"] = _most(frame)
    counted = _count_lesions(frame)
    absent, doubtful = _absent(frame, convention)
    if problems := _contradictions(frame, absent, doubtful, convention):
        return Settled(frame, problems=problems)
    notes = ["sizes are numbers of lesions"] if counted else []
    empty = (frame["reference_size"] == 0) & (frame["predicted_size"] == 0)
    if count := int((absent & frame["dice"].notna()).sum()):
        notes.append(
            f"a Dice in the source for {number(count, 'structure')} that reference and prediction lack: left out"
        )
    if count := int((frame["dice"].isna() & ~empty).sum()):
        notes.append(
            f"no Dice for {number(count, 'structure')}, taken for absent in reference and prediction: left out"
        )
    sizes = frame[list(SIZES)]
    sure = convention.tells or convention.absent
    if count := 0 if sure else int(((frame["dice"] == 1) & ~absent & ~(sizes > 0).any(axis=1)).sum()):
        notes.append(
            f"{number(count, 'structure')} of Dice 1, taken for found without a fault: --absent one where reference "
            "and prediction lack them, --absent never to confirm"
        )
    apart = (frame["dice"] == 0) & ~absent
    hd95, said = _distances(frame["hd95"], absent, apart, convention)
    nsd = frame["nsd"].mask(absent | np.isinf(frame["nsd"]))
    if (lost := apart & nsd.isna()).any() and nsd.notna().any():
        nsd = nsd.mask(lost, 0.0)
        said.append(f"no NSD in the source for {number(int(lost.sum()), 'structure')} of Dice 0: 0 is taken")
    for title, values in (("HD95", hd95), ("NSD", nsd)):
        if values.notna().any() and (count := int((values.isna() & ~absent).sum())):
            said.append(
                f"no {title} in the source for {number(count, 'structure')} with a Dice: left out of its figures"
            )
    frame = frame.assign(hd95=hd95, nsd=nsd)
    for key in ("dice", "lesion_dice", "lesion_f1"):
        frame[key] = frame[key].mask(absent)
    return Settled(frame, notes + said)


def _most(frame: pd.DataFrame) -> pd.Series:
    """Return the largest Dice that sizes in voxels allow, NaN where they are not told, or are numbers of lesions."""
    sizes = frame[list(SIZES)]
    lesions = frame["lesions_found"] + frame["lesions_missed"] == sizes[SIZES[0]]
    counts = sizes.where((sizes % 1 == 0).all(axis=1) & (sizes > 0).all(axis=1) & ~lesions)
    return 2 * counts.min(axis=1) / counts.sum(axis=1)


def _count_lesions(frame: pd.DataFrame) -> bool:
    """Take numbers of lesions for sizes, where these are unknown, and return whether some were."""
    before = frame[SIZES[0]].isna()
    detected, missed, invented = (frame[key] for key in LESIONS[2:])
    for size, count in zip(SIZES, (detected + missed, detected + invented), strict=True):
        frame[size] = frame[size].fillna(count)
    return bool((before & frame[SIZES[0]].notna()).any())


def _absent(frame: pd.DataFrame, convention: Convention) -> tuple[pd.Series, pd.Series]:
    """Return where reference and prediction lack a structure, and where the source leaves that in doubt."""
    dice, hd95, nsd = frame["dice"], frame["hd95"], frame["nsd"]
    reference, predicted = (frame[size] for size in SIZES)
    unknown = ~((reference > 0) | (predicted > 0)) & (reference.isna() | predicted.isna())
    perfect, nothing = unknown & (dice == 1), unknown & dice.isna()
    told = perfect & ((reference == 0) | (predicted == 0) | np.isinf(hd95) | np.isinf(nsd) | hd95.between(*_BRATS))
    if np.isfinite(hd95).any():
        told |= perfect & hd95.isna()
    doubt = "" if convention.absent else convention.doubtful
    doubtful = perfect & ~told if doubt == "one" else nothing & (doubt == "nan")
    absent = ((reference == 0) & (predicted == 0)) | told | (nothing & ~doubtful)
    return absent | (perfect & (convention.absent == "one")), doubtful


def _contradictions(frame: pd.DataFrame, absent: pd.Series, doubtful: pd.Series, convention: Convention) -> list[str]:
    """Return what cannot be, a line each with its case and label."""
    dice, hd95, nsd = frame["dice"], frame["hd95"], frame["nsd"]
    reference, predicted = (frame[size] for size in SIZES)
    one_sided = ((reference == 0) | (predicted == 0)) & ~absent
    most = frame["most"].mask(one_sided, 0.0)
    zero = (dice == 0) & ~absent & (hd95 == 0)
    if convention.zero_distance or convention.missed_hd95 is not None:
        zero &= False
    nowhere = hd95.isna() | hd95.isin((0, np.inf)) | hd95.between(*_BRATS)
    kinds = (
        (doubtful, _DOUBT.get(convention.doubtful, "")),
        (
            ((reference > 0) | (predicted > 0)) & dice.isna(),
            "has no Dice, though reference or prediction is not empty: expected 0 for a missed structure",
        ),
        (absent & ~(dice.isna() | dice.isin((0, 1))), "Dice is {dice:g}, though reference and prediction are empty"),
        (absent & ~nowhere, "HD95 is {hd95:g}, though reference and prediction are empty"),
        (absent & np.isfinite(nsd) & ~nsd.isin((0, 1)), "NSD is {nsd:g}, though reference and prediction are empty"),
        ((reference < 0) | (predicted < 0), "sizes are {reference_size:g} and {predicted_size:g}, expected 0 or more"),
        (
            dice > most + np.where(one_sided, 0, _ROUNDED),
            "Dice is {dice:g} beside sizes of {reference_size:g} in the reference and {predicted_size:g} in the "
            "prediction, expected at most {most:.3g}",
        ),
        (one_sided & (nsd > 0) & np.isfinite(nsd), "NSD is {nsd:g}, though one of both is empty: expected 0"),
        (
            zero,
            "HD95 is 0 beside a Dice of 0, which cannot be; for a missed structure give the image's diagonal, or "
            "nothing, or --missed-hd95 MM",
        ),
        ((dice > 0) & ~absent & np.isinf(hd95), "HD95 is infinite beside a Dice of {dice:g}"),
        ((dice == 1) & ~absent & (hd95 > _FAR) & np.isfinite(hd95), "HD95 is {hd95:g} mm beside a Dice of 1"),
    )
    return [
        problem
        for wrong, text in kinds
        for problem in first_of(
            f"case {row['case']!r}, label {row['label']!r}: {text.format_map(row)}"
            for row in frame.assign(most=most)[wrong].to_dict("records")
        )
    ]


def _distances(
    hd95: pd.Series, absent: pd.Series, apart: pd.Series, convention: Convention
) -> tuple[pd.Series, list[str]]:
    """Return HD95, with what is taken for structures that have none as one of both lacks them, and notes."""
    unknown = apart & (~np.isfinite(hd95) | (hd95 == 0))
    hd95 = hd95.mask(absent | unknown)
    taken = int((apart & hd95.between(*_BRATS)).sum())
    notes = (
        [f"an HD95 of 373 mm, as BraTS writes it, for {number(taken, 'structure')} of Dice 0: it counts"]
        if taken
        else []
    )
    if not unknown.any() or hd95.isna().all():
        return hd95, notes
    said = f"no HD95 in the source for {number(int(unknown.sum()), 'structure')} of Dice 0"
    if convention.missed_hd95 is not None:
        return hd95.mask(unknown, convention.missed_hd95), [*notes, f"{said}: {convention.missed_hd95:g} mm are taken"]
    said += ", so that its mean would be better for a method that misses more: HD95 is not reported"
    return hd95 * np.nan, [f"{said} (--missed-hd95 MM tells what to take, the diagonal of the image, say)"]
