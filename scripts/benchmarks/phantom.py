"""Hardness weighted sampling through nnU-Net v2 on made-up brains: 20 alike, 2 of other anatomy and contrast.

    python scripts/benchmarks/phantom.py [--quick] [--seeds N] [--arms ARM ...] [--scratch]

All arms of a seed go on from one checkpoint, which stock nnU-Net trained uniformly, for the same number of steps of the
same schedule; only the sampling differs. Each seed has rare cases of its own. 16 held-out cases, half of them of the
rare group, are predicted half-way and at the end. In the arms with a spoiled label the labels of one of the 22 cases
are shifted by a sixth of the image. A run takes about four minutes on one core.
"""

from __future__ import annotations

import dataclasses
import tempfile
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from experiments import SPOILED, STATIC, UNIFORM
from nnunet_runs import TIMES, Experiment, prepare_once
from page import Section
from segmentation import segmentation

from hws_nnunet.datasets import Case, Collection, make_phantom, write_raw

DATASET, NAME, CONFIGURATION = 991, "PhantomBenchmark", "3d_small"
COMMON, RARE, RARE_POOL, HELD_OUT = 20, 2, 10, 8  # of each group in training; rare ones to choose from; of each group
SHIFT = 8  # voxels, of the spoiled labels
MAX_SEEDS = 10
NAMES = [f"train{i:03d}" for i in range(RARE_POOL + HELD_OUT + COMMON + HELD_OUT)]
POOL, RARE_HELD_OUT = NAMES[:RARE_POOL], NAMES[RARE_POOL:][:HELD_OUT]
COMMON_NAMES = NAMES[RARE_POOL + HELD_OUT : -HELD_OUT]
MAIN = (UNIFORM, "ours", "paper", STATIC, UNIFORM + SPOILED, "ours" + SPOILED)


def prepare(work: Path, data: Path | None = None) -> None:
    """Make, plan and preprocess the data set in ``work``, once; no data of others are needed."""
    prepare_once(work, DATASET, NAME, CONFIGURATION, coarser=1.0, splits=splits(), write=write)


def write(raw: Path) -> None:
    """Make the brains and write them as nnU-Net's raw data set."""
    rare = RARE_POOL + HELD_OUT
    with tempfile.TemporaryDirectory() as folder:
        made = make_phantom(Path(folder), cases=len(NAMES), rare=rare, test_cases=0, rare_test_cases=0, progress=True)
        write_raw(with_spoiled(made), raw, dataset_id=DATASET, name=NAME, overwrite=True)


def with_spoiled(made: Collection) -> Collection:
    """Return the collection with a twin of a common case for each seed, whose labels are shifted."""
    cases = {case.name: case for case in made.cases}
    twins = []
    for seed in range(MAX_SEEDS):
        original = cases[COMMON_NAMES[seed]]
        labels = nib.load(original.label)
        shifted = np.roll(np.asanyarray(labels.dataobj), (SHIFT, SHIFT), (0, 1))
        file = original.label.with_name(f"{spoiled(seed)}_label.nii.gz")
        nib.save(nib.Nifti1Image(shifted, labels.affine), file)
        twins.append(Case(spoiled(seed), original.images, file, original.subgroup, False))
    return dataclasses.replace(made, cases=made.cases + tuple(twins))


def spoiled(seed: int) -> str:
    """Return the name of a seed's case with wrong labels."""
    return f"spoiled{seed:03d}"


def splits() -> list[dict]:
    """Return nnU-Net's folds: one a seed, then with the rare cases listed several times, then with wrong labels."""
    held_out = RARE_HELD_OUT + NAMES[-HELD_OUT:]
    pairs = [[POOL[(RARE * seed + i * (1 + seed // 5)) % RARE_POOL] for i in range(RARE)] for seed in range(MAX_SEEDS)]
    training = [COMMON_NAMES + pair for pair in pairs]
    training += [COMMON_NAMES + pair * TIMES for pair in pairs]
    for seed, pair in enumerate(pairs):
        others = [name for name in COMMON_NAMES if name != COMMON_NAMES[seed]]
        training.append([*others, spoiled(seed), *pair])
    return [{"train": names, "val": held_out} for names in training]


EXPERIMENT = Experiment(
    name="phantom",
    dataset=DATASET,
    configuration=CONFIGURATION,
    rare=frozenset(POOL + RARE_HELD_OUT),
    max_seeds=MAX_SEEDS,
    base_epochs=16,
    epochs=36,
    steps=50,
    prepare=prepare,
    spoiled=True,
)

SECTIONS = (
    Section(
        "phantom",
        "Phantom: nnU-Net v2 on made-up brains",
        "phantom.py",
        partial(segmentation, name="phantom", bar=0.08, level=0.95),
    ),
    Section(
        "phantom-scratch",
        "Phantom from scratch",
        "phantom.py --scratch --seeds 4 --arms uniform ours",
        partial(segmentation, name="phantom from scratch", bar=0.08, level=0.95),
    ),
)

if __name__ == "__main__":
    EXPERIMENT.main(__doc__, MAIN, SECTIONS)
