"""Checks what the report reads from tables of other tools against the label maps that these were given.

    python scripts/tables.py            # read the kept tables, write docs/tables.md
    python scripts/tables.py --run      # first let the tools that are installed write their tables anew

The tables lie in tests/report/tools, where tests read them: some of the tools are too heavy for every run of the tests.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.report.maps import CASES, dice_of, hd95_of, lesions, maps_of, sizes_of  # noqa: E402

TOOLS = ROOT / "tests" / "report" / "tools"
VERSIONS = TOOLS.with_name("tools.json")
PAGE = ROOT / "docs" / "tables.md"
STRUCTURES = {"one": 1, "two": 2}


def write_maps(folder: Path, cases: dict) -> tuple[Path, Path]:
    """Write references and predictions as NIfTI, and return their folders."""
    import nibabel as nib

    parts = folder / "r", folder / "p"
    for part in parts:
        part.mkdir(parents=True)
    for case, (reference, predicted, sizes) in cases.items():
        for part, voxels in zip(parts, (reference, predicted), strict=True):
            nib.save(nib.Nifti1Image(voxels, np.diag([*sizes, 1.0])), part / f"{case}.nii.gz")
    return parts


def run_seg_metrics(references: Path, predictions: Path, out: Path) -> None:
    from seg_metrics.seg_metrics import write_metrics

    about = {"gdth_path": str(references), "pred_path": str(predictions)}
    write_metrics([1, 2], csv_file=str(out / "seg_metrics.csv"), **about)
    counts = {"metrics": ["dice", "hd95"], "TPTNFPFN": True}
    write_metrics([1, 2], csv_file=str(out / "seg_metrics_counts.csv"), **counts, **about)
    for name in ("seg_metrics.csv", "seg_metrics_counts.csv"):  # without this machine's paths
        text = (out / name).read_text()
        (out / name).write_text(text.replace(str(predictions), "/data/predictions"))


def run_pymia(references: Path, predictions: Path, out: Path) -> None:
    import SimpleITK
    from pymia.evaluation import evaluator, metric, writer

    metrics = [metric.DiceCoefficient(), metric.HausdorffDistance(95, "HDRFDST95"), metric.SurfaceDiceOverlap()]
    measured = evaluator.SegmentationEvaluator([*metrics, metric.VolumeSimilarity()], {1: "one", 2: "two"})
    for file in sorted(predictions.iterdir()):
        pair = (SimpleITK.ReadImage(str(path)) for path in (file, references / file.name))
        measured.evaluate(*pair, file.name.removesuffix(".nii.gz"))
    writer.CSVWriter(str(out / "pymia.csv")).write(measured.results)


def run_mist(references: Path, predictions: Path, out: Path) -> None:
    import pandas as pd
    from mist.evaluation.evaluator import Evaluator

    names = sorted(file.name for file in predictions.iterdir())
    rows = [
        {"id": n.removesuffix(".nii.gz"), "mask": str(references / n), "prediction": str(predictions / n)}
        for n in names
    ]
    lesion_wise = ("lesion_wise_dice", "lesion_wise_haus95", "lesion_wise_surf_dice", "lesion_wise_f1")
    measures: dict = {name: {} for name in ("dice", "haus95", "surf_dice", "avg_surf", *lesion_wise)}
    classes = {name: {"labels": [value], "metrics": measures} for name, value in STRUCTURES.items()}
    Evaluator(pd.DataFrame(rows), classes, out / "mist.csv").run()


def panoptica_settings(folder: Path) -> Path:
    """Write brats-evaluation's own settings of panoptica with our two structures."""
    from importlib.resources import files

    text = files("brats_evaluation").joinpath("configs", "config_gli.yaml").read_text()
    groups = "".join(
        f"    {name}: !LabelGroup\n      single_instance: false\n      value_labels: [{value}]\n"
        for name, value in STRUCTURES.items()
    )
    head, tail = text[: text.index("  groups:")], text[text.index("verbose:") :]
    (folder / "two.yaml").write_text(f"{head}  groups:\n{groups}{tail}")
    return folder / "two.yaml"


def run_panoptica(references: Path, predictions: Path, out: Path) -> None:
    import nibabel as nib
    from panoptica import Panoptica_Aggregator, Panoptica_Evaluator

    evaluator = Panoptica_Evaluator.load_from_config(str(panoptica_settings(references.parent)))
    for name in ("panoptica.tsv", "panoptica.jsonl", "panoptica_instances.tsv"):
        single = "instances" in name
        aggregator = Panoptica_Aggregator(evaluator, out / name, output_individual_instance_metrics=single)
        for file in sorted(predictions.iterdir()):
            pair = [nib.load(path) for path in (file, references / file.name)]
            voxels, sizes = [np.asarray(image.dataobj) for image in pair], pair[0].header.get_zooms()
            aggregator.evaluate(*voxels, file.name.removesuffix(".nii.gz"), voxelspacing=tuple(map(float, sizes)))


def run_brats(references: Path, predictions: Path, out: Path) -> None:
    work = references.parent
    pairs = {"": (references, predictions), "_lesions": write_maps(work / "lesions", {"case-00001-000": lesions()})}
    for name, (reference, predicted) in pairs.items():
        about = ["--ref_path", reference, "--pred_path", predicted, "--config_path", panoptica_settings(work)]
        _python("brats_evaluation.evaluation", *about, "--summary_json", work / "brats.json")
        for kind in ("seg", "mets"):
            target = out / f"brats_{kind}{name}.csv"
            _python(
                "brats_evaluation.metrics_parser", kind, "--json_path", work / "brats.json", "--output_csv_path", target
            )


def _python(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


RUNS: dict[str, tuple[str, Callable[[Path, Path, Path], None], str]] = {
    "seg-metrics": ("seg_metrics", run_seg_metrics, "seg_metrics"),
    "pymia": ("pymia", run_pymia, "pymia"),
    "mist-medical": ("mist", run_mist, "mist"),
    "panoptica": ("panoptica", run_panoptica, "panoptica"),
    "brats-evaluation": ("brats_evaluation", run_brats, "brats_"),
}
"""Distribution: its module, what runs it, and how its tables' names begin."""


def run_tools() -> None:
    """Let each tool that is installed write its tables."""
    TOOLS.mkdir(exist_ok=True)
    versions = json.loads(VERSIONS.read_text()) if VERSIONS.is_file() else {}
    for name, (module, run, begins) in RUNS.items():
        try:
            versions[name] = importlib.metadata.version(name)
            __import__(module)
        except ImportError:
            print(f"{name} is not installed: its tables stay", file=sys.stderr)
            continue
        for old in TOOLS.glob(f"{begins}*"):
            old.unlink()
        with tempfile.TemporaryDirectory() as folder:
            run(*write_maps(Path(folder, "maps"), {case: maps_of(case) for case in CASES}), TOOLS)
            shutil.rmtree(folder, ignore_errors=True)
    VERSIONS.write_text(json.dumps(dict(sorted(versions.items())), indent=1) + "\n")


def differences(result, key: str, truth: Callable[[str, int], float]) -> tuple[int, int]:
    """Return how many values were compared, and how many are not what counting gives."""
    values = result.measured(key)
    pairs = [
        (values[i, j], truth(case, STRUCTURES.get(label) or int(label)))
        for i, case in enumerate(result.cases)
        for j, label in enumerate(result.labels)
    ]
    return len(pairs), sum(not np.isclose(one, two, atol=1e-6, equal_nan=True) for one, two in pairs)


def row_of(file: Path, name: str, version: str, options: dict) -> str:
    """Return a line of the page's table."""
    from hws_nnunet.report import ResultError, read_results

    shown = " ".join(f"`--{key.replace('_', '-')} {value}`" for key, value in options.items())
    head = f"| {name} {version} | {file.name} {shown}"
    try:
        result = read_results("x", file, **options)
    except ResultError as error:
        text = error.problems[0].split("label 'one': ")[-1].split(", and")[0]
        return f"{head} | refused: {text}, and {len(error.problems) - 1} more | |"
    compared, wrong = differences(result, "dice", dice_of)
    if "lesions" not in file.name and wrong:
        raise SystemExit(f"{file.name}: {wrong} of {compared} values of Dice are not what the label maps give")
    missed, counted = int(result.missed.sum()), sum(a > 0 and b == 0 for a, b in (sizes_of(c, 2) for c in CASES))
    if result.sizes_known and missed != counted:
        raise SystemExit(f"{file.name}: {missed} missed structures, {counted} by the label maps")
    read = ", ".join(metric.title for metric in result.metrics)
    if result.hd95 is not None:
        both = [
            (c, STRUCTURES.get(x) or int(x), result.hd95[i, j])
            for i, c in enumerate(result.cases)
            for j, x in enumerate(result.labels)
            if np.isfinite(hd95_of(c, STRUCTURES.get(x) or int(x)))
        ]
        far = sum(not np.isclose(value, hd95_of(case, label), atol=1e-6) for case, label, value in both)
        if far:
            raise SystemExit(f"{file.name}: {far} of {len(both)} values of HD95 are not what the label maps give")
        read += f" ({len(both)} distances of what both maps have checked, 0 differ)"
    return f"{head} | {read} | {compared}, {wrong} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", action="store_true", help="let the tools that are installed write their tables anew")
    if parser.parse_args().run:
        run_tools()
    versions = json.loads(VERSIONS.read_text())
    lines = []
    for name, (_, _, begins) in RUNS.items():
        for file in sorted(TOOLS.glob(f"{begins}*")):
            if "lesions" in file.name:
                continue
            lines.append(row_of(file, name, versions[name], {}))
            if name in ("seg-metrics", "pymia"):
                lines.append(row_of(file, name, versions[name], {"missed_hd95": 300.0}))
    text = (PAGE.read_text(encoding="utf-8")).split("<!-- made by scripts/tables.py -->")[0]
    table = ["| tool | table | what is read | values of Dice, of which differ |", "| --- | --- | --- | --- |", *lines]
    PAGE.write_text(f"{text}<!-- made by scripts/tables.py -->\n\n" + "\n".join(table) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
