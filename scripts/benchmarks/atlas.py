"""Hardness weighted sampling through nnU-Net v2 on real fetal brains: the set that confirms, on which nothing is tuned.

    python scripts/benchmarks/atlas.py --data ATLAS [--fine] [--quick] [--seeds N] [--arms ARM ...] [--scratch]

ATLAS is the spina bifida atlas (Zenodo record 5524312): 15 volumes, 10 of brains after fetal surgery and 5 before it,
which are the rare group here: 2 of them are in training with 7 of the others, and the remaining 3 are held out with 3
of the others, by seed other ones. Voxels of 1.6 mm. All arms of a seed go on from one checkpoint, which stock nnU-Net
trained uniformly, for the same number of steps of the same schedule; only the sampling differs. A run takes about five
minutes on one core. With ``--fine`` voxels are of 0.8 mm, eight times as many: a patch shows an eighth of the brain
that it shows otherwise, and which structure it is centred on matters more. A run takes about eight minutes then.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path

from experiments import STATIC, UNIFORM
from nnunet_runs import TIMES, Experiment, prepare_once
from page import Section
from segmentation import segmentation

from hws_nnunet.datasets import Reading, read_fetal, write_raw

DATASET, NAME, CONFIGURATION = 992, "AtlasBenchmark", "3d_small"
RARE = [f"fetal_SB_atlas_GA{age}_notoperated" for age in range(21, 26)]
COMMON = [f"fetal_SB_atlas_GA{age}_operated" for age in range(25, 35)]
PAIRS = ((0, 2), (1, 3), (2, 4), (0, 3), (1, 4))  # rare cases in training, by seed
MAIN = (UNIFORM, "ours", "paper", STATIC)


def prepare(work: Path, data: Path | None, *, coarser: float = 2.0) -> None:
    """Check, plan and preprocess the atlas in ``work``, once, with voxels of so many times its own size."""

    if data is None and not (work / "prepared").exists():
        raise SystemExit("--data: expected the atlas's folder, given: nothing")

    def write(raw: Path) -> None:
        write_raw(read_fetal(data, how=Reading(progress=True)), raw, dataset_id=DATASET, name=NAME, overwrite=True)

    prepare_once(work, DATASET, NAME, CONFIGURATION, coarser=coarser, splits=splits(), write=write)


def splits() -> list[dict]:
    """Return nnU-Net's folds: one a seed, then with the rare cases listed several times."""
    folds = []
    for times in (1, TIMES):
        for seed, pair in enumerate(PAIRS):
            rare = [RARE[i] for i in pair]
            held_out = [COMMON[(2 * seed + i) % len(COMMON)] for i in (0, 3, 7)]
            training = [name for name in COMMON if name not in held_out] + rare * times
            folds.append({"train": training, "val": [name for name in RARE if name not in rare] + held_out})
    return folds


EXPERIMENT = Experiment(
    name="atlas",
    dataset=DATASET,
    configuration=CONFIGURATION,
    rare=frozenset(RARE),
    max_seeds=len(PAIRS),
    base_epochs=30,
    epochs=44,
    steps=50,
    prepare=prepare,
)

FINE = dataclasses.replace(EXPERIMENT, name="atlas-fine", prepare=partial(prepare, coarser=1.0))
LEVEL = 0.8
"""Of the intervals: the lower end is that of a one-sided 90 % interval."""

SECTIONS = (
    Section(
        "atlas",
        "Atlas: nnU-Net v2 on real fetal brains",
        "atlas.py --data ATLAS",
        partial(segmentation, name="atlas", bar=0.05, level=LEVEL),
    ),
    Section(
        "atlas-fine",
        "Atlas at its own resolution: structures drawn by hardness",
        "atlas.py --fine --data ATLAS",
        partial(segmentation, name="atlas at its own resolution", bar=None, level=LEVEL),
    ),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--fine", action="store_true")
    args, rest = parser.parse_known_args()
    arms = (UNIFORM, "ours", "ours, structure_beta 3") if args.fine else MAIN
    (FINE if args.fine else EXPERIMENT).main(__doc__, arms, SECTIONS, rest)
