"""Run the commands of the tutorial pages on made-up scans, and put what they say, and their figures, into the pages.

    python scripts/tutorials.py [fetal] [brats] [--real FOLDER]

A page's block of commands that follows ``<!-- run -->`` is run, in the page's order and in one shell; what it says
takes the place of what stands between ``<!-- output -->`` and ``<!-- end -->``. ``<!-- run: PATTERN -->`` keeps the
lines that match, ``<!-- run: last 5 -->`` the last ones, ``<!-- run: last 5 of PATTERN -->`` the last that match.
The scans lie where the pages say that yours do, below a home of their own. Figures are copied as ``FIGURES`` says.
It needs nnU-Net v2, registered, and takes some ten minutes a page on two CPU cores.

``--real`` takes the scans from the folders that bear the pages' names in ``FOLDER`` (``feta_2.2`` and ``new_scans``,
``BraTS2023-GLI`` and ``BraTS2023-GLI-Validation``), prints what the commands say, and leaves the pages as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hws_nnunet.datasets.phantom import make_case  # noqa: E402
from hws_nnunet.demo.commands import _BAR, _QUIET  # noqa: E402
from tests.datasets import trees  # noqa: E402

PAGES, HOME = ROOT / "docs" / "tutorials", "/home/you"
SHAPE = (40, 48, 40)
WIDTH = 120  # longer lines are wrapped
FETA = np.array([0, 3, 2, 4, 1, 5, 7], dtype=np.uint8)  # the phantom's labels in FeTA's numbers
RESULTS = "nnunet/results/Dataset501_FetalBrain/HardnessWeightedTrainer_demo__nnUNetPlans__3d_small/fold_0"
FIGURES = {
    "fetal": {
        f"{RESULTS}/hardness.png": "tutorial_hardness.png",
        f"{RESULTS}/gallery/*.png": "tutorial_gallery.png",
    },
    "brats": {},
}
BRIGHTNESS = ((1, 0.5, 0.9, 0.8), (1, 0.2, 0.8, 1.6), (1, 1.2, 1.8, 1.2), (1, 0.8, 1.8, 1.4))  # of labels, by kind
_BLOCK = re.compile(
    r"<!-- run(?:: (?P<keep>.*?))? -->\n```bash\n(?P<code>.*?)```\n(?P<rest>\n*<!-- output -->\n).*?<!-- end -->", re.S
)
_NOISE = re.compile(r"Warning|warnings\.warn|^\s*$|^\[W|triton|nnU-Net's|^using pin_memory|#####|Plotting|deprecated")


def made_up(count: int, rare: int):
    """Yield a number, whether it is a rare brain, its image and its labels."""
    for i in range(count):
        yield i, i < rare, *make_case(np.random.default_rng([7, i]), rare=i < rare, shape=SHAPE)


def make_fetal(home: Path) -> None:
    """Make ten subjects in FeTA's layout, two of them pathological, and one more to predict."""
    root, rows = home / "feta_2.2", []
    for i, rare, image, labels in made_up(11, 2):
        subject, seg = f"sub-{i + 1:03d}", FETA[labels]
        place = tuple(slice(size // 2 - 3, size // 2 + 3) for size in SHAPE)
        seg[place][seg[place] == 3] = 6  # deep grey matter, which the phantom has not
        name = f"{subject}_rec-mial"
        if i == 10:
            trees.save(image, home / "new_scans" / subject / "anat" / f"{name}_T2w.nii.gz")
            continue
        trees.save(image, root / subject / "anat" / f"{name}_T2w.nii.gz")
        trees.save(seg, root / subject / "anat" / f"{name}_dseg.nii.gz")
        rows.append((subject, "Pathological" if rare else "Neurotypical", f"{24 + i}.0"))
    trees.feta_table(root, rows)


def make_brats(home: Path) -> None:
    """Make eight subjects in the layout of BraTS 2023, one of them scanned twice, and one more without labels."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for i, rare, image, labels in made_up(10, 2):
        centre = np.array(SHAPE) / 2 + rng.uniform(-6, 6, 3)
        far = np.linalg.norm(grid - centre, axis=-1) / (0.5 if rare else 1.0)
        seg = np.select([far < 3, far < 6, far < 9], [1, 3, 2]).astype(np.uint8) * (labels > 0)
        new = i == 9
        name = "BraTS-GLI-00008-000" if new else f"BraTS-GLI-{min(i, 7):05d}-{i // 8:03d}"
        folder = home / f"BraTS2023-GLI{'-Validation' if new else ''}" / name
        for kind, brightness in zip(trees.NEW, BRIGHTNESS, strict=True):
            scan = image * np.array(brightness, dtype=np.float32)[seg]
            trees.save(scan, folder / f"{name}-{kind}.nii.gz")
        if not new:
            trees.save(seg, folder / f"{name}-seg.nii.gz")


def run(page: str, home: Path) -> list[str]:
    """Run a page's blocks in one shell and return what each said, cleaned."""
    blocks = list(_BLOCK.finditer(page))
    lines = ["set -e", "cd"]
    for i, block in enumerate(blocks):
        lines.append(f"{{ {block['code']} }} > {home}/said{i} 2>&1; echo block {i + 1} of {len(blocks)}")
    env = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    env |= {"PYTHONPATH": str(ROOT), "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    done = subprocess.run(["bash", "-c", "\n".join(lines)], env=env, check=False)
    if done.returncode:
        said = sorted(home.glob("said*"), key=lambda path: path.stat().st_mtime)[-1]
        raise SystemExit(f"a command failed; it said last:\n{said.read_text()[-3000:]}")
    return [clean((home / f"said{i}").read_text(), block["keep"], home) for i, block in enumerate(blocks)]


def clean(text: str, keep: str | None, home: Path) -> str:
    """Return what people want to see of a command's output, with neutral paths."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.replace(str(home), HOME))
    text = re.sub(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ", "", text)  # when nnU-Net said it
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    last, wanted = re.fullmatch(r"(?:last (\d+)(?: of |$))?(.*)", keep or "").groups()
    if wanted:
        lines = [line for line in lines if re.search(wanted, line)]
    else:
        noise = (_BAR, _NOISE, _QUIET)
        lines = [line for line in lines if not line or not any(pattern.search(line) for pattern in noise)]
    text = "\n".join(lines).strip("\n")
    return "\n".join(text.split("\n")[-int(last) :]) if last else text


def fill(page: str, said: list[str]) -> str:
    """Return a page with what its blocks said."""
    for block, text in zip(list(_BLOCK.finditer(page))[::-1], said[::-1], strict=True):
        style = "{ .text .wrap }" if max(map(len, text.split("\n"))) > WIDTH else "text"
        output = f"```{style}\n{text}\n```\n" if text else ""
        page = page[: block.end("rest")] + output + "<!-- end -->" + page[block.end() :]
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", choices=[*FIGURES, []], help="default: all")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="your scans; nothing is written into the pages")
    options = parser.parse_args()
    for name in options.pages or FIGURES:
        path = PAGES / f"{name}.md"
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder).resolve()
            if options.real:
                for scans in options.real.iterdir():
                    (home / scans.name).symlink_to(scans.resolve())
            else:
                {"fetal": make_fetal, "brats": make_brats}[name](home)
            page = path.read_text(encoding="utf-8")
            said = run(page, home)
            if options.real:
                print(*said, sep="\n\n")
                continue
            path.write_text(fill(page, said), encoding="utf-8")
            for pattern, target in FIGURES[name].items():
                shutil.copyfile(min(home.glob(pattern)), ROOT / "docs" / "images" / target)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
