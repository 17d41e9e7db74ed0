"""Does hardness find wrong labels? Made-up brains, 3 of 20 with labels spoiled on purpose, a short nnU-Net v2 training.

    python scripts/benchmarks/wrong_labels.py [--quick] [--seeds N] [--epochs N] [--out FOLDER]

In each seed the labels of three other cases are spoiled: shifted, two structures swapped, one structure removed. Two
of the healthy 17 are of a rare kind, which is hard as well. HardnessWeightedTrainer trains from scratch, once for each
loss that it can track, and once only watching (beta 0); then the cases are ranked by hardness, and the spoiled ones
among the k hardest are counted, beside what chance would give. Writes ``wrong_labels.json`` and a gallery a training.
A training takes about five minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from experiments import run_all, write_json
from nnunet_runs import environment, prepare_once
from scipy.stats import hypergeom

from hws_nnunet.datasets import Case, Collection, make_phantom, write_raw_v2
from hws_nnunet.datasets.phantom import LABELS
from hws_nnunet.datasets.raw_v2 import dataset_name

DATASET, NAME, CONFIGURATION = 992, "WrongLabels", "3d_small"
CASES, RARE, HELD_OUT = 20, 2, 2
KINDS = ("shifted", "swapped", "removed")
SHIFT = 6  # voxels, along two axes: an eighth of the image
MAX_SEEDS = (CASES - RARE) // len(KINDS)
NAMES = [f"train{i:03d}" for i in range(CASES + HELD_OUT)]  # the first ones are rare
STEPS = 50  # of an epoch
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


def train(job: dict) -> dict:
    """Train once, leave the gallery, and return each case's hardness.

    Args:
        job: ``seed``, ``settings``, ``epochs``, ``steps``, ``gallery`` (a folder to make) and ``raw``;
            nnU-Net's folders are in the environment.
    """
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    from hws_nnunet.gallery import make_gallery

    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - the host's own generator
    trainer = get_trainer_from_args(
        str(DATASET), CONFIGURATION, job["seed"], "HardnessWeightedTrainer", device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = job["epochs"], job["steps"]
    trainer.num_val_iterations_per_epoch = 2
    type(trainer).hws_settings = job["settings"]
    trainer.run_training()
    make_gallery(
        Path(trainer.output_folder), Path(job["raw"]), out=Path(job["gallery"]), top=max(LOOKED_AT), overwrite=True
    )
    table = trainer.sampler.table
    return {
        "names": list(table.names),
        "visits": table.visits.tolist(),
        "hardness": table.hardness.round(4).tolist(),
    }


def ranks(result: dict) -> dict[str, int]:
    """Return the rank of each spoiled and each rare case, 1 is the hardest; unknown ones are last."""
    hardness = np.nan_to_num(np.array(result["hardness"], dtype=float), nan=-np.inf)
    order = [result["names"][i] for i in np.argsort(-hardness, kind="stable")]
    found = {kind: order.index(twin(name, kind)) + 1 for kind, name in spoiled(result["seed"]).items()}
    return found | {f"rare {i + 1}": order.index(name) + 1 for i, name in enumerate(NAMES[:RARE])}


def summarise(results: list[dict]) -> dict:
    """Return ranks, and how many spoiled cases are among the k hardest beside chance, of each arm."""
    wrong = len(KINDS)
    chance = {k: hypergeom(CASES, wrong, k) for k in LOOKED_AT}
    summary = {"cases": CASES, "spoiled": wrong, "arms": {}}
    for arm in dict.fromkeys(result["arm"] for result in results):
        by_seed = [ranks(result) for result in results if result["arm"] == arm]
        found = {k: [sum(found[kind] <= k for kind in KINDS) for found in by_seed] for k in LOOKED_AT}
        summary["arms"][arm] = {
            "ranks": by_seed,
            "found": {str(k): values for k, values in found.items()},
            "by_chance": {str(k): round(float(chance[k].mean()), 3) for k in LOOKED_AT},
            "chance_of_as_many": {
                str(k): [round(float(chance[k].sf(value - 1)), 4) for value in values] for k, values in found.items()
            },
        }
    return summary


def table(summary: dict) -> str:
    """Return the summary as a table in Markdown, one row an arm and a number of cases looked at."""
    lines = ["| hardness by | of the k hardest | spoiled ones found | by chance | mean rank of " + ", of ".join(KINDS)]
    lines[0] += ", of the rare |"
    lines.append("|---|---|---|---|---|")
    for arm, values in summary["arms"].items():
        groups = [[found[kind] for found in values["ranks"]] for kind in KINDS]
        groups.append([rank for found in values["ranks"] for key, rank in found.items() if key.startswith("rare")])
        means = ", ".join(f"{np.mean(group):.1f}" for group in groups)
        for k in values["found"]:
            found = np.mean(values["found"][k])
            lines.append(
                f"| {arm} | {k} | {found:.2f} of {summary['spoiled']} | {values['by_chance'][k]:.2f} | {means} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps: does it run?")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, MAX_SEEDS + 1))
    parser.add_argument("--epochs", type=int, default=20, help=f"of {STEPS} steps")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results") / "wrong_labels")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    out = args.out.resolve()
    work = out / ("quick" if args.quick else "work")
    seeds, epochs, steps, arms = (1, 2, 12, ["dice_ce"]) if args.quick else (args.seeds, args.epochs, STEPS, list(ARMS))
    prepare_once(work, DATASET, NAME, CONFIGURATION, coarser=1.0, splits=splits(), write=write_raw)
    os.environ.update(environment(work))  # before any process imports nnU-Net, which reads it then
    os.environ.pop("HWS_CONFIG", None)
    names = {arm: arm.replace(", ", "-").replace(" ", "_") for arm in arms}
    jobs = [
        {
            "name": f"{names[arm]}-{seed}",
            "arm": arm,
            "seed": seed,
            "settings": ARMS[arm],
            "epochs": epochs,
            "steps": steps,
            "raw": str(work / "raw"),
            "gallery": str((work if args.quick else out) / f"gallery-{names[arm]}-{seed}"),
        }
        for arm in arms
        for seed in range(seeds)
    ]
    results = run_all(train, jobs, work / "runs", processes=args.processes)
    summary = summarise(results)
    file = out / ("quick.json" if args.quick else "wrong_labels.json")
    write_json(file, {"dataset": dataset_name(DATASET, NAME), "steps": epochs * steps, **summary})
    print(table(summary))
    print(
        f"{len(results)} training(s), {epochs * steps} steps each: {file}; galleries: {Path(jobs[0]['gallery']).parent}"
    )


if __name__ == "__main__":
    main()
