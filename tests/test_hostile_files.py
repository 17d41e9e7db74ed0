"""Truncated, empty, foreign and hostile files at every reader: an error that names the file, and nothing is run."""

import csv
import gzip
import json
import os
import pickle
import struct

import nibabel as nib
import numpy as np
import pytest
import torch

from hws_nnunet import HardnessWeightedBatchSampler, HardnessWeightedSampler, read_settings
from hws_nnunet.datasets import Case
from hws_nnunet.datasets.brats import _name_mapping
from hws_nnunet.datasets.case_table import read_column
from hws_nnunet.datasets.checks import check_case
from hws_nnunet.datasets.feta import _participants
from hws_nnunet.datasets.folds import check_folds_target
from hws_nnunet.datasets.images import open_image, read_voxels
from hws_nnunet.gallery.images import read_grid
from hws_nnunet.gallery.layout import read_raw_data
from hws_nnunet.loop.tensors import with_tensors
from hws_nnunet.nnunetv2.small_configuration import add_small_configuration
from hws_nnunet.record.cases import read_cases
from hws_nnunet.record.history import Record
from hws_nnunet.record.structures import read_hardest_structures
from tests.hosts.test_mixin import STATE, Trainer

RAN = []


class Runs:
    """A pickle that calls a function when it is loaded."""

    def __reduce__(self):
        return RAN.append, ("a command",)


FOREIGN = {
    "empty": b"",
    "a pickle that calls": pickle.dumps(Runs()),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "zeros": bytes(1000),
    "another text": b"once upon a time, there was\n\n\x00 no table, {nor: [a mapping\n",
}

CASES = b"case,hardness,probability,visits,drawn,last_epoch_seen,stalled\na,0.5,0.75,3,1.2,7,0\nb,,0.25,2,0.8,,1\n"
STRUCTURES = b"case,hardness,hardest_structure,csf,white matter\na,0.5,white matter,0.25,0.75\nb,,,,\n"


def small_configuration(path):
    add_small_configuration(path, name="small")


def raw_data(path):
    read_raw_data(path.parent)


READERS = {
    "settings.yaml": read_settings,
    "hardness.csv": lambda path: read_cases(path.parent),
    "hardness_structures.csv": lambda path: read_hardest_structures(path.parent),
    "weights.csv": lambda path: read_column(path, "weight"),
    "dataset.json": raw_data,
    "nnUNetPlans.json": small_configuration,
    "image.nii.gz": open_image,
    "image.nii": open_image,
    "picture.png": read_grid,
}


@pytest.fixture(autouse=True)
def nothing_runs():
    RAN.clear()
    yield
    assert RAN == []


@pytest.mark.parametrize(
    ("name", "content"),
    # an empty file of settings holds none, which is no fault
    [(name, content) for name in READERS for content in FOREIGN if (name, content) != ("settings.yaml", "empty")],
)
def test_what_is_something_else_is_told(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(FOREIGN[content])
    with pytest.raises(ValueError) as error:
        READERS[name](file)
    assert str(file) in str(error.value)
    assert file.read_bytes() == FOREIGN[content]


@pytest.mark.parametrize(("name", "whole"), [("hardness.csv", CASES), ("hardness_structures.csv", STRUCTURES)])
def test_a_record_that_is_cut_off_anywhere_gives_no_figure(tmp_path, name, whole):
    file = tmp_path / name
    file.write_bytes(whole)
    READERS[name](file)
    for length in range(whole.index(b"\n"), len(whole)):
        file.write_bytes(whole[:length])
        if name == "hardness_structures.csv" and whole[length - 1 : length] == b"\n":
            continue  # fewer cases: the gallery tells none of theirs
        with pytest.raises(ValueError, match=name):
            READERS[name](file)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"0.75", b"0.7S", "line 2 has probability '0.7S', expected a number"),
        (b"0.75", b"nan", "line 2 has probability 'nan'"),
        (b"0.75,3", b"0.75,3.5", "line 2 has visits '3.5'"),
        (b"a,0.5,0.75,3,1.2,7,0\n", b"", "probabilities sum to 0.2500, expected 1"),
        (b"a,0.5", b'"a,0.5', "not a whole record"),
        (b"a,0.5", b"a,0.5,0.5", "line 2 has 8 of 7 fields"),
        (b"visits", b"visit", "no column visits"),
    ],
)
def test_a_record_with_a_wrong_figure_is_told(tmp_path, old, new, told):
    (tmp_path / "hardness.csv").write_bytes(CASES.replace(old, new, 1))
    with pytest.raises(ValueError, match=told):
        read_cases(tmp_path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "beta: !!python/object/apply:tests.test_hostile_files.RAN.append ['a command']",
        "beta: !!python/object/new:os.system ['true']",
        "beta: !!timestamp x",
        "beta: !!int x",
        "beta: 2020-13-45",
        "beta: " + "[" * 500,
        BOMB,
        BOMB + "beta: *f",
        "&a [*a]",
        "beta: &a {b: *a}",
        "? [1]\n: 2",
        "case_weights: [1]",
        "beta: \x07",
    ],
    ids=range(13),
)
def test_settings_that_are_a_trap(tmp_path, text):
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_settings(file)
    assert str(file) in str(error.value)
    assert len(str(error.value)) < 3000


def test_case_tables_keep_what_looks_like_a_formula_or_markup(tmp_path):
    names = ['=cmd|"/c calc"!A1', "<script>alert(1)</script>", "@SUM(1)", "a,b", 'say "x"', "-1", "über $x$"]
    file = tmp_path / "weights.csv"
    with open(file, "w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("case", "weight"), *((name, "1.5") for name in names)])
    assert read_column(file, "weight") == dict.fromkeys(names, "1.5")
    file.write_text(file.read_text() + "cut off")
    with pytest.raises(ValueError, match=r"weights\.csv.*\n.*line 9: 1 of 2 fields"):
        read_column(file, "weight")


@pytest.mark.parametrize("content", [c for c in FOREIGN if c != "empty"])
def test_tables_of_data_sets(tmp_path, content):
    table = tmp_path / "table"
    table.write_bytes(FOREIGN[content])
    _, problems, _ = _participants([table])
    assert problems
    assert all(str(table) in problem for problem in problems)
    rows, problems = _name_mapping([table])
    assert not any("grade" in row for row in rows.values())
    assert all(str(table) in problem for problem in problems)
    assert problems


@pytest.mark.parametrize("content", FOREIGN)
def test_a_splits_file_is_compared_and_not_loaded(tmp_path, content):
    file = tmp_path / "splits_final.pkl"
    file.write_bytes(FOREIGN[content])
    with pytest.raises(FileExistsError, match=r"splits_final\.pkl holds other folds"):
        check_folds_target(file, b"ours", overwrite=False)
    assert file.read_bytes() == FOREIGN[content]


def nifti(path, voxels):
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


@pytest.mark.parametrize("which", ["t1.nii.gz", "seg.nii.gz", "mask.nii"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_image_is_told_by_its_own_name(tmp_path, which, share):
    noise = np.random.default_rng(0).integers(0, 4, (12, 12, 12)).astype(np.uint8)
    paths = {name: nifti(tmp_path / name, noise) for name in ("t1.nii.gz", "t2.nii.gz", "seg.nii.gz", "mask.nii")}
    case = Case("one", (paths["t1.nii.gz"], paths["t2.nii.gz"]), paths["seg.nii.gz"])
    assert check_case(case, mask=paths["mask.nii"]).problems == ()
    os.truncate(paths[which], int(share * paths[which].stat().st_size))
    (problem,) = check_case(case, mask=paths["mask.nii"]).problems
    assert problem.startswith(f"one: {paths[which]} is truncated or damaged: ")


def test_a_file_of_surfaces_is_no_image(tmp_path):
    file = tmp_path / "cortex.dtseries.nii"
    axes = nib.cifti2.SeriesAxis(0, 1, 2), nib.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), affine=np.eye(4))
    nib.save(nib.Cifti2Image(np.zeros((2, 8)), axes), file)
    with pytest.raises(ValueError, match=r"cortex\.dtseries\.nii is not a NIfTI image, but Cifti2Image"):
        read_grid(file)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_promises_terabytes_takes_no_memory(tmp_path, ending):
    plain = nifti(tmp_path / "plain.nii", np.zeros((4, 4, 4), np.int16)).read_bytes()
    huge = bytearray(plain)
    struct.pack_into("<8h", huge, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    file = tmp_path / f"huge{ending}"
    file.write_bytes(gzip.compress(bytes(huge)) if ending == ".nii.gz" else bytes(huge))
    with pytest.raises(ValueError, match=r"huge\.nii(\.gz)? is truncated or damaged: its header promises 70,36"):
        open_image(file)
    (problem,) = check_case(Case("one", (file,), file)).problems[:1]
    assert "its header promises" in problem
    with pytest.raises(ValueError, match="its header promises"):
        read_grid(file)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_lie_behind_the_extensions_of_a_header_however_long(tmp_path, ending):
    voxels = np.random.default_rng(0).integers(0, 4, (9, 8, 7)).astype(np.uint8)
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", bytes(2 << 20)))
    nib.save(image, tmp_path / f"long{ending}")
    assert np.array_equal(read_voxels(open_image(tmp_path / f"long{ending}")), voxels)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_behind_the_end_of_a_file_take_no_memory(tmp_path, ending):
    far = bytearray(nifti(tmp_path / "plain.nii", np.zeros((4, 4, 4), np.int16)).read_bytes())
    struct.pack_into("<f", far, 108, 2.0**40)
    file = tmp_path / f"far{ending}"
    file.write_bytes(gzip.compress(bytes(far)) if ending == ".nii.gz" else bytes(far))
    with pytest.raises(ValueError, match=r"far\.nii(\.gz)? is truncated or damaged: its header promises 1,099,"):
        open_image(file)


def test_what_packs_best_is_no_fault(tmp_path):
    file = nifti(tmp_path / "zeros.nii.gz", np.zeros((256, 256, 32), np.uint8))
    assert read_voxels(open_image(file)).max() == 0


# ---------------------------------------------------------------- checkpoints


def good_state():
    sampler = HardnessWeightedSampler(["a", "b", "c"])
    for case in range(3):
        sampler.update([case], [0.5 + case])
    return with_tensors(sampler.state_dict())


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_(**changed):
    return lambda state: {**state, **changed}


DAMAGED = {
    "a text": lambda state: "once upon a time",
    "nothing": lambda state: {},
    "a list": lambda state: [state],
    **{f"no {name}": without(name) for name in ("names", "visits", "order", "beta_in_force", "measure", "reliability")},
    "short": with_(visits=torch.zeros(2, dtype=torch.int64)),
    "a number": with_(offset=1.0),
    "texts": with_(offset=["x", "y", "z"]),
    "no order": with_(order=torch.tensor([0, 0, 7])),
    "not finite": with_(beta_in_force=float("nan")),
    "names that are numbers": with_(names=[1, 2, 3]),
    "reliability of texts": with_(reliability={"_pairs": "x"}),
    "groups of texts": with_(within_groups=[]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_state_changes_nothing(tmp_path, damage):
    """In a sampler, and in a trainer's checkpoint, whose file is named."""
    broken = DAMAGED[damage](good_state())
    sampler = HardnessWeightedSampler(["a", "b", "c"])
    sampler.update([1], [0.7])
    before = str(sampler.state_dict())
    with pytest.raises(ValueError, match=r"sampler state|saved reliability"):
        sampler.load_state_dict(broken)
    assert str(sampler.state_dict()) == before
    file = tmp_path / "checkpoint.pth"
    torch.save({"net": [1.0], STATE: broken}, file)
    trainer = Trainer()
    trainer.load_checkpoint(file)
    with pytest.raises(ValueError, match=r"checkpoint\.pth: "):
        trainer._weigh(["a", "b", "c"])
    batches = HardnessWeightedBatchSampler(3, 2, seed=0).learnt
    before = str(batches.state_dict())
    for state in (
        {**batches.state_dict(), "sampler": broken},
        broken,
        {"sampler": good_state(), "random": {"state": 1}},
    ):
        with pytest.raises(ValueError):
            batches.load_state_dict(state)
    assert str(batches.state_dict()) == before


@pytest.mark.parametrize("damage", [without("columns"), with_(rows=torch.zeros(1, 2)), with_(hardness=3), lambda _: 7])
def test_a_damaged_record_in_a_checkpoint(damage):
    record = Record(["a", "b"])
    state = {**record.state_dict(), "epochs": [0], "hardness": torch.zeros(1, 2), "rows": torch.zeros(1, 17)}
    with pytest.raises(ValueError, match="the saved record is damaged"):
        record.load_state_dict(damage(state))


# Not the pickle that calls: nnU-Net's own checkpoints are pickles, and those that one trusts alone are exported.
@pytest.mark.parametrize("content", [c for c in FOREIGN if c != "a pickle that calls"])
def test_a_checkpoint_that_is_none_is_named_on_export(tmp_path, content):
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
    from hws_nnunet.nnunetv2.export import export_model

    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        (model / name).write_text(json.dumps({}))
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(FOREIGN[content])
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth is not a checkpoint of nnU-Net v2"):
        export_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
