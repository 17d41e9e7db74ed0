"""The gallery as a user makes it, from folders as nnU-Net leaves them."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import DatasetError
from hws_nnunet.gallery import find_layout, make_gallery
from hws_nnunet.gallery.layout import read_raw_data
from hws_nnunet.record.structures import STRUCTURES_FILE, write_structures

run = CliRunner().invoke
SHAPE = (14, 18, 8)
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
LABELS = {"background": 0, "brain": 1, "cyst": 4}
CASES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    """For speed."""
    monkeypatch.setattr("hws_nnunet.gallery.picture._DPI", 25)


def label_map(shift=0, cyst=True):
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[3 + shift : 10 + shift, 3:14, 1:7] = 1
    if cyst:
        voxels[5 + shift : 8 + shift, 6:9, 3:5] = 4
    return voxels


def save(voxels, file, affine=AFFINE):
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), file)


def make_fold(root, version="v2", *, names=CASES, channels=("T2w",), labels=LABELS, hardness=(0.5, 0.3, -0.1)):
    """A fold with a record, and its raw data set; returns both folders."""
    if version == "v2":
        fold = root / "results/Dataset007_Made/HardnessWeightedTrainer__nnUNetPlans__3d_fullres/fold_0"
        raw, data = root / "raw", root / "raw/Dataset007_Made"
        described = {"channel_names": dict(enumerate(channels)), "labels": labels, "file_ending": ".nii.gz"}
    else:
        fold = root / "results/nnUNet/3d_fullres/Task007_Made/HardnessWeightedTrainer__nnUNetPlansv2.1/fold_0"
        raw, data = root / "raw", root / "raw/nnUNet_raw_data/Task007_Made"
        described = {"modality": dict(enumerate(channels)), "labels": {str(v): k for k, v in labels.items()}}
    fold.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in names:
        for channel in range(len(channels)):
            image = rng.normal(size=SHAPE) + 2 * label_map() + 100 * channel
            save(image.astype(np.float32), data / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        save(label_map(), data / "labelsTr" / f"{name}.nii.gz")
    (data / "dataset.json").write_text(json.dumps(described))
    with open(data / "subgroups.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("case", "subgroup", "age"), *((name, "rare", i) for i, name in enumerate(names))])
    with open(fold / "hardness.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("case", "hardness", "dice_present", "dice_ce", "probability", "visits", "drawn", "last_epoch_seen")
        )
        for i, (name, value) in enumerate(zip(names, hardness, strict=True)):
            writer.writerow(
                (
                    name,
                    value,
                    value,
                    1.5 if value != "" else "",
                    1 / len(names),
                    10 + i,
                    0.9 + i / 10,
                    4 if value != "" else "",
                )
            )
    return fold, raw


def write_validation(fold, version, dice, *, shift=2):
    folder = fold / ("validation" if version == "v2" else "validation_raw")
    for name in dice:
        save(label_map(shift), folder / f"{name}.nii.gz")
    if version == "v2":
        entries = [
            {"prediction_file": f"/else/where/{n}.nii.gz", "metrics": {"1": {"Dice": d}, "4": {"Dice": float("nan")}}}
            for n, d in dice.items()
        ]
        summary = {"metric_per_case": entries}
    else:
        entries = [
            {"test": f"/else/where/{n}.nii.gz", "0": {"Dice": 1.0}, "1": {"Dice": d}, "4": {"Dice": float("nan")}}
            for n, d in dice.items()
        ]
        summary = {"results": {"all": entries}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


class Parsed(HTMLParser):
    """The page's texts and links; complains about tags that do not fit."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.links = [], [], []
        self.feed(Path(page).read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [value for key, value in attributes if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    @property
    def text(self):
        return "\n".join(self.texts)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_hardest_training_cases(tmp_path, version):
    fold, raw = make_fold(tmp_path, version)
    page = make_gallery(fold, raw, top=2)
    assert page == fold / "gallery" / "index.html"
    assert sorted(p.name for p in page.parent.iterdir()) == ["01_a.png", "02_b.png", "index.html"]
    assert matplotlib.image.imread(page.parent / "01_a.png").std() > 0.1
    parsed = Parsed(page)
    assert {"01_a.png", "02_b.png"} <= set(parsed.links)
    assert "2 of 3 training cases seen" in parsed.text
    assert (
        "hardness 0.5000, dice_ce 1.5000, drawn 0.9x, visits 10, last epoch seen 4, subgroup rare, age 0" in parsed.text
    )
    assert "Slices through the voxel whose slices show the most structures" in parsed.text
    assert sorted(p.name for p in fold.iterdir()) == ["gallery", "hardness.csv"], "nothing else is left"


def test_a_fold_and_its_report_and_gallery_link_to_each_other(tmp_path):
    for library in ("jinja2", "plotly"):
        pytest.importorskip(library, reason="the extra 'report' is not installed")
    from hws_nnunet.report.command import run_report

    fold, raw = make_fold(tmp_path, names=("a & b", "c"), hardness=(0.5, 0.3))
    write_validation(fold, "v2", {"a & b": 0.2, "c": 0.9})
    page, link = make_gallery(fold, raw, worst=True, top=1), 'href="../robustness_report/report.html"'
    assert link not in page.read_text(encoding="utf-8")
    run_report([str(fold)], None)
    report = (fold / "robustness_report" / "report.html").read_text(encoding="utf-8")
    assert '"page": "../gallery_validation/index.html#case1"' in report
    assert '"picture": "../gallery_validation/01_a%20%26%20b.png"' in report
    assert link in page.read_text(encoding="utf-8"), "written into the gallery that was there"
    make_gallery(fold, raw, worst=True, top=1, overwrite=True)
    assert link in page.read_text(encoding="utf-8"), "found by the gallery that was made later"
    assert "draws go by" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_worst_of_a_validation(tmp_path, version):
    fold, raw = make_fold(tmp_path, version)
    (fold / "hardness.csv").unlink()  # stock nnU-Net's folds have none
    write_validation(fold, version, {"a": 0.9, "b": 0.2, "c": float("nan")})
    page = make_gallery(fold, raw, worst=True)
    names = ["01_b.png", "02_a.png", "03_c.png", "index.html"]
    assert sorted(p.name for p in (fold / "gallery_validation").iterdir()) == names
    text = Parsed(page).text
    brain, cyst = dice(1), dice(4)
    assert f"mean Dice {(brain + cyst) / 2:.3f}, worst structure cyst {cyst:.3f}" in text
    assert "through the wrong voxel that lies deepest among wrong voxels" in text


def dice(value):
    one, other = label_map() == value, label_map(2) == value
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_training_cases_are_shown_with_the_predictions_that_there_are(tmp_path):
    fold, raw = make_fold(tmp_path)
    write_validation(fold.with_name("fold_3"), "v2", {"b": 0.5})
    texts = Parsed(make_gallery(fold, raw, top=2)).texts
    assert [t for t in texts if t.startswith("Prediction")] == [
        f"Prediction: {fold.with_name('fold_3') / 'validation' / 'b.nii.gz'}"
    ]
    folder = write_validation(tmp_path, "v2", {"a": 0.5, "c": 0.5})
    texts = Parsed(make_gallery(fold, raw, predictions=folder, out=tmp_path / "other", top=1)).texts
    assert [t for t in texts if t.startswith("Prediction")] == [f"Prediction: {folder / 'a.nii.gz'}"]


def test_stalled_cases_of_a_record_of_before_the_measures(tmp_path):
    fold, raw = make_fold(tmp_path)
    with open(fold / "hardness.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        row |= {"stalled": int(i == 0)}
        del row["dice_present"], row["dice_ce"]
    with open(fold / "hardness.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    page = Parsed(make_gallery(fold, raw)).texts
    assert len([text for text in page if text.startswith("Stalled: ")]) == 1
    assert "Hardest training cases" in page
    assert "dice_ce" not in page


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_record_tells_the_hardest_structure(tmp_path, version):
    fold, raw = make_fold(tmp_path, version)
    hard = [[0.2, 0.7], [float("nan")] * 2, [0.4, 0.1]]
    write_structures(fold, CASES, np.array([0.5, 0.3, -0.1]), ("brain", "cyst"), np.array(hard))
    page = Parsed(make_gallery(fold, raw))
    assert "hardness 0.5000, dice_ce 1.5000, hardest structure cyst 0.700, drawn 0.9x" in page.text
    assert "hardness -0.1000, dice_ce 1.5000, hardest structure brain 0.400, drawn 1.1x" in page.text
    rules = [text for text in page.texts if text.startswith("Slices")]
    assert ["case's hardest structure" in rule for rule in rules] == [True, False, True]
    assert "the most structures" in rules[1]
    voxels = [tuple(int(v) for v in rule.split("voxel ")[-1].split(" of")[0].split(",")) for rule in rules]
    assert voxels[0] == (6, 7, 4), "the cyst's middle"
    for axis, slice_ in enumerate(voxels[2]):
        areas = (label_map() == 1).sum(axis=tuple({0, 1, 2} - {axis}))
        assert areas[slice_] == areas.max(), "the brain without the cyst"
    write_validation(fold.with_name("fold_1"), version, {"a": 0.5})
    page = Parsed(make_gallery(fold, raw, overwrite=True))
    assert "hardest structure cyst 0.700" in page.text
    assert "wrong voxel" in next(text for text in page.texts if text.startswith("Slices")), "a prediction goes first"


def test_regions_and_structures_that_the_reference_lacks(tmp_path):
    labels = {"background": 0, "whole": [1, 4], "cyst": 4, "ignore": 5}
    fold, raw = make_fold(tmp_path, labels=labels)
    reference = label_map()
    reference[4:, :3] = 5
    save(reference, raw / "Dataset007_Made/labelsTr/a.nii.gz")
    save(label_map(cyst=False), raw / "Dataset007_Made/labelsTr/b.nii.gz")
    hard = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    write_structures(fold, CASES, np.array([0.5, 0.3, -0.1]), ("whole", "cyst"), hard)
    rules = [text for text in Parsed(make_gallery(fold, raw)).texts if text.startswith("Slices")]
    assert ["case's hardest structure" in rule for rule in rules] == [True, False, True]
    assert "It is voxel 6, 8, 4 of the file" in rules[0]
    (fold / STRUCTURES_FILE).write_text("broken")
    with pytest.raises(ValueError, match=f"{STRUCTURES_FILE} starts with broken; expected case"):
        make_gallery(fold, raw, overwrite=True)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (
            {"whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]},
            ["tumor_core without enhancing_tumor", "whole_tumor without tumor_core", "enhancing_tumor"],
        ),
        ({"left": 1, "right": 2}, ["left", "right"]),
        ({"a": [1, 2], "b": [2, 3]}, ["a", "a and b", "b"]),
        ({"all": [1, 2, 3], "a": [1], "b": [2]}, ["a", "b", "all without a and b"]),
    ],
)
def test_a_label_value_is_called_by_what_it_is(tmp_path, labels, names):
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))
    assert read_raw_data(tmp_path).value_names() == dict(enumerate(names, start=1))


def test_names_may_hold_anything(tmp_path):
    name = "Zoë <b>&'\"#% $x$ 脳"
    fold, raw = make_fold(tmp_path, names=(name,), hardness=(0.5,), labels={"_$a_b$": 1, "<i>": 4})
    page = make_gallery(fold, raw)
    parsed = Parsed(page)
    assert f"1. {name}" in parsed.texts
    files = [unquote(link) for link in parsed.links if not link.startswith("#")]
    assert len(files) == 2
    assert all((page.parent / file).is_file() for file in files)


def test_odd_labels_are_told(tmp_path):
    fold, raw = make_fold(tmp_path)
    data = raw / "Dataset007_Made"
    save(label_map() * 0, data / "labelsTr/a.nii.gz")
    save(label_map(cyst=False) * 9, data / "labelsTr/b.nii.gz")
    save(label_map(), data / "labelsTr/c.nii.gz", np.eye(4))
    text = Parsed(make_gallery(fold, raw)).text
    assert "Slices through the middle of the image, since the reference has no label." in text
    assert "The reference has no brain, no cyst." in text
    assert "label values that dataset.json does not name: [9]" in text
    assert "The reference's affine differs from the image's" in text


def test_regions_and_the_ignore_label(tmp_path):
    labels = {"background": 0, "whole": [1, 4], "cyst": 4, "ignore": 5}
    fold, raw = make_fold(tmp_path, labels=labels)
    reference = label_map()
    reference[10:] = 5
    save(reference, raw / "Dataset007_Made/labelsTr/a.nii.gz")
    write_validation(fold, "v2", {"a": 0.5})
    text = Parsed(make_gallery(fold, raw, worst=True)).text
    one, other, counted = reference > 0, label_map(2) > 0, reference != 5
    whole = 2 * (one & other & counted).sum() / ((one & counted).sum() + (other & counted).sum())
    assert f"mean Dice {(whole + dice(4)) / 2:.3f}" in text
    assert "does not name" not in text


def test_another_channel_and_window(tmp_path):
    fold, raw = make_fold(tmp_path, channels=("T2w", "T1w"))
    pictures = []
    for options in ({}, {"channel": 1}, {"window": (-0.1, 0.1)}):
        page = make_gallery(fold, raw, top=1, overwrite=True, **options)
        pictures.append((page.parent / "01_a.png").read_bytes())
    assert len(set(pictures)) == 3
    folder = raw / "Dataset007_Made"
    described = json.loads((folder / "dataset.json").read_text())
    for channels, shown in (
        (("T1", "T1ce", "T2", "FLAIR"), 3),
        (("t1n", "t1c", "t2w", "t2f"), 3),
        (("T2w", "T1 post-contrast", "T1w"), 1),
        (("T2w", "T1w"), 0),
        (("CT",), 0),
    ):
        (folder / "dataset.json").write_text(json.dumps(described | {"channel_names": dict(enumerate(channels))}))
        assert read_raw_data(folder).shown_channel() == shown, channels
    (folder / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"number 2 given.*has 2 channels, number 0 \(T2w\), 1 \(T1w\)"):
        make_gallery(fold, raw, channel=2, overwrite=True)


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
def test_flat_images(tmp_path, ending):
    fold, raw = make_fold(tmp_path, labels={"background": 0, "cell": 255})
    data = raw / "Dataset007_Made"
    described = json.loads((data / "dataset.json").read_text())
    described |= {"file_ending": ending, "channel_names": {"0": "R", "1": "G", "2": "B"}}
    rng, reference = np.random.default_rng(0), np.zeros((30, 40), np.uint8)
    reference[5:15, 10:30] = 255
    for name in CASES:
        colours = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
        if ending == ".png":
            from PIL import Image

            Image.fromarray(colours).save(data / "imagesTr" / f"{name}_0000.png")
            Image.fromarray(reference).save(data / "labelsTr" / f"{name}.png")
        else:
            for channel in range(3):
                save(colours[..., channel, None], data / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
            save(reference[..., None], data / "labelsTr" / f"{name}.nii.gz")
    (data / "dataset.json").write_text(json.dumps(described))
    page = make_gallery(fold, raw, channel=2, top=1)
    assert len(list(page.parent.glob("*.png"))) == 1


def test_all_faults_of_files_are_told_before_anything_is_drawn(tmp_path):
    fold, raw = make_fold(tmp_path)
    data = raw / "Dataset007_Made"
    (data / "labelsTr/a.nii.gz").unlink()
    save(np.zeros((3, 4, 5), np.uint8), data / "labelsTr/b.nii.gz")
    (data / "imagesTr/c_0000.nii.gz").write_bytes(b"broken")
    with pytest.raises(DatasetError) as caught:
        make_gallery(fold, raw)
    problems = caught.value.problems
    assert problems[0] == f"a: no {data / 'labelsTr/a.nii.gz'}"
    assert problems[1].endswith("labelsTr/b.nii.gz has shape (3, 4, 5), its image (14, 18, 8)")
    assert "c_0000.nii.gz is truncated or damaged: " in problems[2]
    assert not (fold / "gallery").exists()


def test_nothing_is_left_of_a_gallery_that_fails(tmp_path):
    fold, raw = make_fold(tmp_path)
    page = make_gallery(fold, raw, top=1)
    before = page.read_bytes()
    save(np.full(SHAPE, 0.5, np.float32), raw / "Dataset007_Made/labelsTr/a.nii.gz")
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be read: labels have to be whole numbers"):
        make_gallery(fold, raw, overwrite=True)
    assert page.read_bytes() == before
    assert sorted(p.name for p in fold.iterdir()) == ["gallery", "hardness.csv"]


def test_only_galleries_are_replaced(tmp_path):
    fold, raw = make_fold(tmp_path)
    make_gallery(fold, raw, top=1)
    with pytest.raises(FileExistsError, match="gallery exists; --overwrite replaces it"):
        make_gallery(fold, raw, top=2)
    (fold / "gallery/99_old.png").touch()
    make_gallery(fold, raw, top=1, overwrite=True)
    assert not (fold / "gallery/99_old.png").exists()
    with pytest.raises(FileExistsError, match="is not a gallery"):
        make_gallery(fold, raw, out=fold, overwrite=True)
    assert (fold / "hardness.csv").is_file()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"top": 0}, ValueError, "at least one case, given: 0"),
        ({"worst": True, "predictions": Path(".")}, ValueError, "either --worst or --predictions"),
        (
            {"channel": 5},
            ValueError,
            r"number 5 given, counted from 0; .* has 1 channel, number 0 \(T2w\)",
        ),
        ({"predictions": Path(__file__)}, NotADirectoryError, "folder of predictions is a file, expected a folder: "),
        ({"out": Path(__file__) / "out"}, NotADirectoryError, "out cannot be written: .*test_gallery.py is a file"),
        ({"predictions": Path("nowhere")}, FileNotFoundError, "folder of predictions does not exist: nowhere"),
        ({"window": (2.0, 2.0)}, ValueError, "from a smaller to a larger value, given: 2 to 2"),
        ({"worst": True}, FileNotFoundError, "summary.json: expected the validation that ends"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, error, message):
    fold, raw = make_fold(tmp_path)
    with pytest.raises(error, match=message):
        make_gallery(fold, raw, **options)


def test_folders_that_cannot_be(tmp_path):
    fold, raw = make_fold(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*fold_9: expected a fold's folder"):
        find_layout(fold.with_name("fold_9"))
    with pytest.raises(NotADirectoryError, match=r"hardness\.csv is a file: expected a fold's folder"):
        find_layout(fold / "hardness.csv")
    with pytest.raises(ValueError, match="does not tell its data set: expected a fold's folder where nnU-Net left it"):
        find_layout(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no .*Dataset007_Made/dataset\.json: expected the raw data"):
        make_gallery(fold, tmp_path)
    head = "case,hardness,probability,visits,last_epoch_seen\n"
    (fold / "hardness.csv").write_text(f"{head}a,,1,0,\n")
    with pytest.raises(ValueError, match="no case with a hardness"):
        make_gallery(fold, raw)
    (fold / "hardness.csv").write_text(f"{head}a,0.1,1")
    with pytest.raises(
        ValueError, match=r"hardness\.csv is not a whole record .*: line 2 has 3 of 5 fields, was it cut"
    ):
        make_gallery(fold, raw)
    (fold / "hardness.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no hardness\.csv, which the first epoch writes, in"):
        make_gallery(fold, raw)
    (raw / "Dataset007_Made/dataset.json").write_text('{"labels": []}')
    with pytest.raises(ValueError, match=r"is not a dataset\.json of nnU-Net: KeyError"):
        make_gallery(fold, raw)
    (raw / "Dataset007_Made/subgroups.csv").write_text("name,subgroup\na,rare\n")
    (raw / "Dataset007_Made/dataset.json").write_text('{"channel_names": {"0": "x"}, "labels": {"a": 1}}')
    with pytest.raises(ValueError, match="expected a column case in the first line, found: name, subgroup"):
        make_gallery(fold, raw)


def test_the_command(tmp_path, monkeypatch):
    fold, raw = make_fold(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    missing = run(cli.app, ["gallery", str(fold)])
    assert "nnUNet_raw is not set" in str(missing.exception)
    monkeypatch.setenv("nnUNet_raw", str(raw))
    done = run(cli.app, ["gallery", str(fold), "--top", "1", "--window=-1,3", "--out", str(tmp_path / "out")])
    assert f"drew 1 case; open {tmp_path / 'out' / 'index.html'}" in done.output
    wrong = run(cli.app, ["gallery", str(fold), "--window", "3"])
    assert "--window expects two numbers with a comma between them, given: '3'" in str(wrong.exception)
    assert "hws-nnunet gallery $nnUNet_results" in run(cli.app, ["gallery", "--help"]).output
