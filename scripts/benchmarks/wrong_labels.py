"""Does hardness find wrong labels? Made-up brains, 3 of 20 with labels spoiled on purpose, a short nnU-Net v2 training.

    python scripts/benchmarks/wrong_labels.py [--quick] [--seeds N]

In each seed the labels of three other cases are spoiled: shifted, two structures swapped, one structure removed. Two
of the healthy 17 are of a rare kind, which is hard as well. HardnessWeightedTrainer trains from scratch, once for each
loss that it can track, and once only watching (beta 0); then the cases are ranked by hardness, and the spoiled ones
among the k hardest are counted, beside what chance would give. A training takes about five minutes on one core.
"""

from __future__ import annotations

import dataclasses
import tempfile
from argparse import Namespace
from pathlib import Path

import nibabel as nib
import numpy as np
from experiments import run_all
from nnunet_runs import prepare_once, ranks_of, run_job
from page import Lines, Section, arguments, finish, table

from hws_nnunet import Settings
from hws_nnunet.datasets import Case, Collection, make_phantom, write_raw_v2
from hws_nnunet.datasets.phantom import LABELS

DATASET, NAME, CONFIGURATION = 992, "WrongLabels", "3d_small"
CASES, RARE, HELD_OUT = 20, 2, 2
KINDS = ("shifted", "swapped", "removed")
SHIFT = 6  # voxels, along two axes: an eighth of the image
MAX_SEEDS = (CASES - RARE) // len(KINDS)
NAMES = [f"train{i:03d}" for i in range(CASES + HELD_OUT)]  # the first ones are rare
EPOCHS, STEPS = 20, 50
ARMS = {
    "dice_present": {"draw_by": "dice_present"},
    "dice_ce": {"draw_by": "dice_ce"},
    "dice_ce, uniform draws": {"draw_by": "dice_ce", "beta": 0.0},
}
LOOKED_AT = (3, 6)
"""How many of the hardest cases somebody looks at."""


def spoil(labels: np.ndarray, kind: str) -> np.ndarray:
    """Return labels that are wrong in one of three ways."""
    if kind == "shifted":
        return np.roll(labels, (SHIFT, SHIFT), (0, 1))
    if kind == "removed":
        return np.where(labels == LABELS["ventricles"], 0, labels)
    one, other = LABELS["cerebellum"], LABELS["brainstem"]
    return np.where(labels == one, other, np.where(labels == other, one, labels))


def spoiled(seed: int) -> dict[str, str]:
    """Return which case is spoiled in which way: kind to name; every seed has cases of its own."""
    first = RARE + len(KINDS) * seed
    return dict(zip(KINDS, NAMES[first : first + len(KINDS)], strict=True))


def twin(name: str, kind: str) -> str:
    """Return the name of a case's twin with wrong labels."""
    return f"{name}_{kind}"


def splits() -> list[dict]:
    """Return nnU-Net's folds, one a seed."""
    folds = []
    for seed in range(MAX_SEEDS):
        wrong = {name: twin(name, kind) for kind, name in spoiled(seed).items()}
        folds.append({"train": [wrong.get(name, name) for name in NAMES[:CASES]], "val": NAMES[CASES:]})
    return folds


def write_raw(raw: Path) -> None:
    """Make the brains, and the twins with wrong labels, and write them as nnU-Net's raw data set."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_phantom(Path(folder), cases=len(NAMES), rare=RARE, test_cases=0, rare_test_cases=0, progress=True)
        write_raw_v2(with_twins(made), raw, dataset_id=DATASET, name=NAME, overwrite=True)


def with_twins(made: Collection) -> Collection:
    """Return the collection with the twins of all seeds."""
    cases = {case.name: case for case in made.cases}
    twins = []
    for seed in range(MAX_SEEDS):
        for kind, name in spoiled(seed).items():
            original = cases[name]
            labels = nib.load(original.label)
            file = original.label.with_name(f"{twin(name, kind)}_label.nii.gz")
            voxels = np.asanyarray(labels.dataobj)
            nib.save(nib.Nifti1Image(spoil(voxels, kind).astype(voxels.dtype), labels.affine), file)
            group = {"subgroup": f"{original.subgroup['subgroup']}, labels {kind}"}
            twins.append(Case(twin(name, kind), original.images, file, group, False))
    return dataclasses.replace(made, cases=made.cases + tuple(twins))


def run(args: Namespace) -> dict:
    """Train with each arm and seed; return the ranks of spoiled and rare cases, 1 is the hardest."""
    work = (args.work / ("quick" if args.quick else "work")).resolve()
    seeds, epochs, steps, arms = (1, 2, 12, ["dice_ce"]) if args.quick else (args.seeds, EPOCHS, STEPS, list(ARMS))
    prepare_once(work, DATASET, NAME, CONFIGURATION, coarser=1.0, splits=splits(), write=write_raw)
    common = {"dataset": DATASET, "configuration": CONFIGURATION, "trainer": "HardnessWeightedTrainer", "base": None}
    common |= {"epochs": epochs, "stop": epochs, "steps": steps, "keep": False, "evaluate": [], "work": str(work)}
    jobs = [
        {
            **common,
            "name": f"{arm.replace(', ', '-').replace(' ', '_')}-{seed}",
            "arm": arm,
            "seed": seed,
            "fold": seed,
            "settings": Settings(**ARMS[arm]).model_dump(),
        }
        for arm in arms
        for seed in range(seeds)
    ]
    found: dict[str, list] = {arm: [] for arm in arms}
    for result in run_all(run_job, jobs, work / "runs", processes=args.processes):
        found[result["arm"]].append(ranks(result))
    return {"wrong-labels": {"steps": epochs * steps, "arms": found}}


def ranks(result: dict) -> dict[str, int]:
    """Return the rank of each spoiled case, by what is wrong with it, and of each rare one."""
    kinds = {twin(name, kind): kind for kind, name in spoiled(result["seed"]).items()}
    kinds |= {name: f"rare {i + 1}" for i, name in enumerate(NAMES[:RARE])}
    return {kinds[case]: rank for case, rank in ranks_of(result["hardness"], kinds).items()}


def section(found: dict, _: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section."""
    rows = []
    for arm, seeds in found["arms"].items():
        groups = [[of[kind] for of in seeds] for kind in KINDS]
        groups.append([of[f"rare {i + 1}"] for of in seeds for i in range(RARE)])
        means = ", ".join(f"{np.mean(group):.1f}" for group in groups)
        for k in LOOKED_AT:
            hits = np.mean([sum(of[kind] <= k for kind in KINDS) for of in seeds])
            rows.append((arm, k, f"{hits:.2f} of {len(KINDS)}", f"{k * len(KINDS) / CASES:.2f}", means))
    told = f"{CASES} cases, {found['steps']} steps from scratch; means over seeds."
    header = ("hardness by", "of the k hardest", "spoiled ones found", "by chance")
    return [], [told, "", *table((*header, f"mean rank of {', of '.join(KINDS)}, of the rare"), rows)]


SECTIONS = (Section("wrong-labels", "Wrong labels of made-up brains", "wrong_labels.py", section, figure=False),)

if __name__ == "__main__":
    finish(arguments(__doc__, "wrong_labels", seeds=3).parse_args(), SECTIONS, run)
