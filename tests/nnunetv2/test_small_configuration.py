import json

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from typer.testing import CliRunner

from hws_nnunet.commands import main
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
    path = tmp_path / "Dataset501_Balls/nnUNetPlans.json"
    path.parent.mkdir()
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
        ({"name": "x", "features": (4, 8)}, r"features \[4, 8\] given, expected those of at least 3"),
    ],
)
def test_bad_input_changes_nothing(plans, options, message):
    before = plans.read_text()
    with pytest.raises(ValueError, match=message):
        add_small_configuration(plans, **options)
    assert plans.read_text() == before


@pytest.mark.parametrize("key", ["plans_name", "spacing", "median_image_size_in_voxels"])
def test_plans_that_lack_an_entry_are_refused_by_its_name(plans, key):
    content = json.loads(plans.read_text())
    (content if key == "plans_name" else content["configurations"]["3d_fullres"]).pop(key)
    plans.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"lacks {key}: plan again: nnUNetv2_plan_experiment -d "):
        add_small_configuration(plans, name="x")
    assert json.loads(plans.read_text()) == content


def test_no_plans(tmp_path):
    with pytest.raises(FileNotFoundError, match="run nnUNetv2_plan_experiment first"):
        add_small_configuration(tmp_path / "nnUNetPlans.json", name="x")


@pytest.fixture
def old_plans(plans):
    """As nnU-Net 2.0 to 2.3 wrote them: the network is told by keys of the configuration."""
    content = json.loads(plans.read_text())
    full = content["configurations"]["3d_fullres"]
    del full["architecture"]
    full |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2] * 5,
        "n_conv_per_stage_decoder": [2] * 4,
        "num_pool_per_axis": [4, 4, 4],
        "pool_op_kernel_sizes": [[1, 1, 1]] + [[2, 2, 2]] * 4,
        "conv_kernel_sizes": [[3, 3, 3]] * 5,
    }
    plans.write_text(json.dumps(content))
    return plans


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans")
@pytest.mark.parametrize(
    ("network", "convolutions"), [("PlainConvUNet", "n_conv_per_stage"), ("ResidualEncoderUNet", "n_blocks_per_stage")]
)
def test_plans_of_nnunet_2_0_to_2_3_are_read(old_plans, network, convolutions):
    before = json.loads(old_plans.read_text())
    before["configurations"]["3d_fullres"]["UNet_class_name"] = network
    old_plans.write_text(json.dumps(before))
    add_small_configuration(old_plans, name="3d_small")
    after = json.loads(old_plans.read_text())
    read = PlansManager(after).get_configuration("3d_small")
    assert read.network_arch_class_name.endswith(f".{network}")
    built = read.network_arch_init_kwargs
    assert (built["n_stages"], built["features_per_stage"], built[convolutions]) == (3, [8, 16, 32], [1, 1, 1])
    assert built["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    assert built["conv_op"].endswith("Conv3d")
    assert read.patch_size == [32, 32, 32]
    del after["configurations"]["3d_small"]
    assert after == before


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans")
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("UNet_class_name", "OwnUNet", "OwnUNet"), ("conv_kernel_sizes", None, "KeyError: 'conv_kernel_sizes'")],
)
def test_old_plans_that_cannot_be_converted_are_refused(old_plans, key, value, told):
    content = json.loads(old_plans.read_text())
    full = content["configurations"]["3d_fullres"]
    full.pop(key)
    if value is not None:
        full[key] = value
    old_plans.write_text(before := json.dumps(content))
    with pytest.raises(ValueError, match=rf"{told}.* plan again: nnUNetv2_plan_experiment -d 501"):
        add_small_configuration(old_plans, name="3d_small")
    assert old_plans.read_text() == before


@pytest.mark.parametrize("folder", ["nnUNetTrainer__nnUNetPlans__3d_fullres", "Dataset5_Balls", "Dataset501"])
def test_plans_outside_a_data_set_are_refused(plans, folder):
    elsewhere = plans.parent / folder / "plans.json"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(plans.read_bytes())
    with pytest.raises(ValueError, match=f"the folder '{folder}', expected .*DatasetXXX_Name.* -d XXX"):
        add_small_configuration(elsewhere, name="3d_small")
    assert elsewhere.read_bytes() == plans.read_bytes()


@pytest.mark.parametrize(("name", "options"), [("nnUNetPlans", ""), ("ResEncPlans", " -plans_name ResEncPlans")])
def test_command_tells_the_next(plans, name, options, monkeypatch):
    plans = plans.rename(plans.with_stem(name))
    monkeypatch.chdir(plans.parent)
    done = CliRunner().invoke(main.app, ["small-configuration", plans.name])
    assert f"next: nnUNetv2_preprocess -d 501{options} -c 3d_small" in done.output
