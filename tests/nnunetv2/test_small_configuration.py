import json

import pytest

from hws_nnunet.nnunetv2.small_configuration import add_small_configuration


@pytest.fixture
def plans(tmp_path):
    def configuration(dimensions, architecture):
        return {
            "patch_size": [64] * dimensions,
            "spacing": [2.0, 0.5, 0.5],
            "median_image_size_in_voxels": [40.0, 100.0, 100.0],
            "architecture": {"network_class_name": "x", "arch_kwargs": architecture},
        }

    full = configuration(3, {"n_stages": 5, "conv_op": "c", "n_conv_per_stage": [2] * 5})
    residual = configuration(2, {"n_stages": 5, "conv_op": "c", "n_blocks_per_stage": [2] * 5})
    path = tmp_path / "nnUNetPlans.json"
    configurations = {"3d_fullres": full, "2d": residual, "3d_cascade": {"inherits_from": "3d_fullres"}}
    path.write_text(json.dumps({"plans_name": "nnUNetPlans", "configurations": configurations}))
    return path


def test_adds_one_and_leaves_the_others(plans):
    before = json.loads(plans.read_text())["configurations"]
    add_small_configuration(plans, name="3d_small")
    after = json.loads(plans.read_text())["configurations"]
    small = after.pop("3d_small")
    assert after == before
    assert small["inherits_from"] == "3d_fullres"
    assert small["data_identifier"] == "nnUNetPlans_3d_small"
    assert small["spacing"] == [4.0, 1.0, 1.0]
    assert small["architecture"]["arch_kwargs"]["features_per_stage"] == [8, 16, 32]
    assert small["architecture"]["arch_kwargs"]["conv_op"] == "c"


def test_2d_keeps_the_slices_apart(plans):
    add_small_configuration(plans, name="2d_small", base="2d", patch_size=(32, 64), coarser=2)
    small = json.loads(plans.read_text())["configurations"]["2d_small"]
    assert small["spacing"] == [2.0, 1.0, 1.0]
    assert small["architecture"]["arch_kwargs"]["strides"] == [[1, 1], [2, 2], [2, 2]]
    assert small["architecture"]["arch_kwargs"]["n_blocks_per_stage"] == [1, 1, 1]
    assert "n_conv_per_stage" not in small["architecture"]["arch_kwargs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "3d_fullres"}, "'3d_fullres' exists"),
        ({"name": "a b"}, "letters, digits and '_', given: 'a b'"),
        ({"name": "x", "base": "nothing"}, "base 'nothing' is not a complete configuration"),
        ({"name": "x", "base": "3d_cascade"}, "base '3d_cascade' is not a complete configuration"),
        ({"name": "x", "patch_size": (32, 32)}, r"patch size \(32, 32\) given; expected 3 numbers"),
        ({"name": "x", "patch_size": (32, 32, 30)}, "each divisible by 4"),
        ({"name": "x", "features": (4, 8)}, r"2 stage\(s\) given .* expected at least 3"),
    ],
)
def test_bad_input_changes_nothing(plans, options, message):
    before = plans.read_text()
    with pytest.raises(ValueError, match=message):
        add_small_configuration(plans, **options)
    assert plans.read_text() == before


def test_no_plans(tmp_path):
    with pytest.raises(FileNotFoundError, match="run nnUNetv2_plan_experiment first"):
        add_small_configuration(tmp_path / "nnUNetPlans.json", name="x")
