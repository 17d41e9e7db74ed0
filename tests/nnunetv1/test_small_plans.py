import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from batchgenerators.utilities.file_and_folder_operations import load_pickle, save_pickle
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.nnunetv1.small_plans import identifier, make_small_plans, next_command


@pytest.fixture
def plans(tmp_path):
    folder = tmp_path / "Task007_Name"
    folder.mkdir()
    stage = {
        "batch_size": 2,
        "num_pool_per_axis": [5, 5, 4],
        "patch_size": np.array([128, 128, 96]),
        "median_patient_size_in_voxels": np.array([100, 101, 90]),
        "current_spacing": np.array([1.0, 0.5, 0.5]),
        "original_spacing": np.array([1.0, 0.5, 0.5]),
        "do_dummy_2D_data_aug": True,
    }
    low = {**stage, "current_spacing": np.array([2.0, 2.0, 2.0])}
    file = folder / "nnUNetPlansv2.1_plans_3D.pkl"
    save_pickle({"num_stages": 2, "plans_per_stage": {0: low, 1: stage}, "base_num_features": 32}, str(file))
    return file


def test_one_stage_from_the_full_resolution(plans):
    before = plans.read_bytes()
    small = load_pickle(str(make_small_plans(plans, features=4, coarser=2.0)))
    assert plans.read_bytes() == before
    assert small["num_stages"] == 1
    assert small["base_num_features"] == 4
    stage = small["plans_per_stage"][0]
    assert stage["current_spacing"].tolist() == [2.0, 1.0, 1.0]
    assert stage["median_patient_size_in_voxels"].tolist() == [50, 50, 45]
    assert stage["patch_size"].tolist() == [32, 32, 32]
    assert len(stage["conv_kernel_sizes"]) == len(stage["pool_op_kernel_sizes"]) + 1 == 3


def test_a_cascade(plans):
    small = load_pickle(str(make_small_plans(plans, lowres=True, coarser=1.0)))
    assert [stage["current_spacing"].tolist() for stage in small["plans_per_stage"].values()] == [
        [2, 1, 1],
        [1, 0.5, 0.5],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": (30, 32, 32)}, r"patch size \(30, 32, 32\) given; expected 3 numbers, each divisible by 4"),
        ({"patch_size": (32, 32)}, "expected 3 numbers"),
    ],
)
def test_what_does_not_fit_is_refused(plans, options, message):
    with pytest.raises(ValueError, match=message):
        make_small_plans(plans, **options)
    assert not plans.with_name("small.pkl").exists()


def test_nothing_is_overwritten(plans):
    make_small_plans(plans)
    with pytest.raises(FileExistsError, match="--overwrite replaces it"):
        make_small_plans(plans)
    make_small_plans(plans, overwrite=True)
    with pytest.raises(FileNotFoundError, match="nnUNet_plan_and_preprocess -t TASK -no_pp"):
        make_small_plans(plans.with_name("other.pkl"))


def test_the_command_says_what_comes_next(plans):
    result = CliRunner().invoke(cli.app, ["small-plans", str(plans), "--name", "tiny"])
    assert result.exit_code == 0, result.output
    small = plans.with_name("tiny.pkl")
    assert identifier(small) == "nnUNetPlans_pretrained_tiny"
    assert "-t 007" in result.output
    assert " ".join(next_command(small, "007")) in result.output
    assert "HardnessWeightedTrainer 007 0 -p nnUNetPlans_pretrained_tiny" in result.output
