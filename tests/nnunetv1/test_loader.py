import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from batchgenerators.utilities.file_and_folder_operations import save_pickle

from hws_nnunet import Settings
from hws_nnunet.hosts.loaders import DRAWN
from tests.core import naive
from tests.nnunetv1.fakes import centres_of, loader_of, make_cases, stock_loader, teach

PLAIN = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0}
LABELS = (1, 2, 3)
HARDNESS = np.array([[0.1, 0.5, 0.9], [0.8, 0.2, 0.2]])
PATCHES = [((8, 8, 8), None), ((8, 8, 8), (12, 11, 10)), ((8, 8), None), ((8, 8), (11, 12))]


def drawn_centres(loader, batches):
    """The case and the centre of each patch of so many batches."""
    made = [next(loader) for _ in range(batches)]
    return np.concatenate([b[DRAWN].ids for b in made]), np.concatenate([centres_of(b) for b in made])


@pytest.mark.slow
@pytest.mark.parametrize("structure_beta", [0.0, 2.0])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_cases_follow_the_closed_form(tmp_path, size, patch, structure_beta):
    losses = np.linspace(0, 1, 6)
    settings = Settings(beta=2.0, structure_beta=structure_beta, **PLAIN)
    loader, sampler = loader_of(make_cases(tmp_path, 6), settings, size=size, patch=patch, structures=(1, 2))
    teach(sampler, losses)
    counts = np.zeros(6, dtype=int)
    for _ in range(2000 // size):
        batch = next(loader)
        assert [f"case{i:02d}" for i in batch[DRAWN].ids] == list(batch["keys"])
        counts[batch[DRAWN].ids] += 1
    assert naive.close(counts, naive.inclusion(naive.closed_form(losses, 2.0), size))


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 100.0])
@pytest.mark.parametrize(("patch", "initial"), PATCHES)
def test_structures_follow_the_closed_form(tmp_path, patch, initial, beta):
    """Forced foreground is a voxel of label k with p ~ exp(structure_beta * hardness of k in the case)."""
    cases = make_cases(tmp_path, 2, labels=LABELS)
    settings = Settings(beta=beta, structure_beta=3.0)
    options = {"patch": patch, "initial": initial, "oversample": 1.0}
    loader, sampler = loader_of(cases, settings, structures=LABELS, **options)
    teach(sampler, np.linspace(0, 0.1, 2), HARDNESS)
    np.random.seed(0)
    drawn, centres = drawn_centres(loader, 600)
    for case, name in enumerate(cases):
        counts = np.bincount(centres[drawn == case, 1] - 6, minlength=3)
        assert len(counts) == 3, "a voxel of no structure"
        assert naive.close(counts, naive.softmax(HARDNESS[case], 3.0))
        assert not naive.close(counts, [1 / 3] * 3)
        for k, label in enumerate(LABELS):
            voxels = cases[name]["properties"]["class_locations"][label]
            centred = centres[(drawn == case) & (centres[:, 1] == 6 + k)]
            assert {tuple(c) for c in centred} <= {tuple(v) for v in voxels}
            places = np.unique(voxels[:, 0]) if len(patch) == 2 else voxels[:, 0]
            right = (places >= 15).mean()  # within a structure all is as nnU-Net has it
            assert naive.close(np.bincount(centred[:, 0] >= 15, minlength=2), [1 - right, right])


@pytest.mark.parametrize("beta", [0.0, 100.0])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_structures_that_a_case_lacks_are_not_drawn(tmp_path, patch, beta):
    """Nor what is not a structure of the table's; without any, the host chooses."""
    cases = make_cases(tmp_path, 4, labels=(-1, *LABELS))
    first, second, third, fourth = (case["properties"]["class_locations"] for case in cases.values())
    first[2], second[2], second[3] = [], np.zeros((0, 3), dtype=int), []
    del third[1], third[3]
    for label in LABELS:
        fourth[label] = []
    settings = Settings(beta=beta, structure_beta=3.0)
    loader, sampler = loader_of(cases, settings, structures=(1, 2), patch=patch, oversample=1.0)
    teach(sampler, np.zeros(4), np.repeat([[0.1, 0.9]], 4, axis=0))
    drawn, centres = drawn_centres(loader, 300)
    for case, only in ((0, 7), (1, 7), (2, 8)):
        assert set(centres[drawn == case, 1]) == {only}
    anywhere = centres[drawn == 3]
    assert len(np.unique(anywhere, axis=0)) > 80
    assert set(anywhere[:, 1]) == set(range(4, 17))


@pytest.mark.slow
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
@pytest.mark.parametrize(("beta", "structure_beta"), [(100.0, 0.0), (0.0, 1e-9)])
def test_at_structure_beta_0_patches_are_distributed_as_the_hosts(tmp_path, beta, structure_beta, patch, forced):
    cases = make_cases(tmp_path, 1, labels=LABELS)
    options = {"patch": patch, "oversample": float(forced), "size": 4}
    settings = Settings(beta=beta, structure_beta=structure_beta)
    loader, sampler = loader_of(cases, settings, structures=LABELS, **options)
    teach(sampler, [0.5], HARDNESS[:1])
    np.random.seed(0)
    stock = stock_loader(cases, **options)
    ours, host = drawn_centres(loader, 400)[1], np.concatenate([centres_of(next(stock)) for _ in range(400)])
    for axis in range(3):
        width = int(host[:, axis].max()) + 1
        left, right = (np.bincount(centres[:, axis], minlength=width) for centres in (ours, host))
        assert len(left) == len(right)
        assert naive.total_variation(left / 1600, right / 1600) < 0.09


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_a_neutral_batch_is_the_hosts_bit_for_bit(tmp_path, patch):
    cases = make_cases(tmp_path, 5)
    options = {"patch": patch, "initial": tuple(p + 4 for p in patch)}
    loader, _ = loader_of(cases, Settings(beta=0.0, structure_beta=0.0), structures=(1, 2), **options)
    stock = stock_loader(cases, **options)
    np.random.seed(3)
    ours = [next(loader) for _ in range(10)]
    np.random.seed(3)
    theirs = [next(stock) for _ in range(10)]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["data"] == other["data"]).all()
        assert (one["seg"] == other["seg"]).all()
        assert (one["keys"] == other["keys"]).all()
        assert one["properties"] == other["properties"]
        assert [f"case{i:02d}" for i in one[DRAWN].ids] == list(one["keys"])


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("settings", [Settings(), Settings(structure_beta=2.0), Settings(beta=0.0, structure_beta=2.0)])
def test_a_batch_is_one_of_the_hosts(tmp_path, settings, in_files):
    """Shapes, types and properties as from the host; the last third of it centred on foreground."""
    cases = make_cases(tmp_path, 4)
    originals = {name: case["properties"] for name, case in cases.items()}
    if in_files:
        for name, case in cases.items():
            case["properties_file"] = str(tmp_path / f"{name}.pkl")
            save_pickle(case.pop("properties"), case["properties_file"])
    loader, sampler = loader_of(cases, settings, size=3, structures=(1, 2))
    teach(sampler, np.linspace(0, 1, 4), np.repeat([[0.1, 0.9]], 4, axis=0))
    one, other = next(loader), next(stock_loader(cases, size=3))
    assert {key: getattr(value, "shape", None) for key, value in one.items() if key != DRAWN} == {
        key: getattr(value, "shape", None) for key, value in other.items()
    }
    assert one["data"].dtype == other["data"].dtype
    assert one["seg"].dtype == other["seg"].dtype
    assert one["keys"].dtype.kind == other["keys"].dtype.kind
    for properties, key in zip(one["properties"], one["keys"], strict=True):
        assert properties["original"] == key
        assert list(properties["class_locations"]) == list(originals[key]["class_locations"]), "all of its structures"
    assert one[DRAWN].version == sampler.table.version > 0
    assert one[DRAWN].ids.shape == (3,)
    by_slot = np.stack([centres_of(next(loader))[:, 1] for _ in range(100)], axis=1)
    assert set(by_slot[2]) == {6, 7}
    for free in by_slot[:2]:
        assert set(free) == set(range(4, 17))
    assert loader.batch_size == 3, "what is steered is put back"
    assert len(loader.list_of_keys) == len(loader._data) == 4


@pytest.mark.parametrize("settings", [Settings(), Settings(structure_beta=2.0)])
def test_a_cascades_first_stage_comes_along(tmp_path, settings):
    cases = make_cases(tmp_path, 3, previous=True)
    loader, sampler = loader_of(cases, settings, structures=(1, 2), oversample=0.5, has_prev_stage=True)
    teach(sampler, np.linspace(0, 1, 3), np.repeat([[0.1, 0.9]], 3, axis=0))
    for _ in range(20):
        batch = next(loader)
        assert batch["seg"].shape == (2, 2, 8, 8, 8)
        inside = batch["seg"][:, 0] >= 0
        assert (batch["seg"][:, 1][inside] == batch["data"][:, 0][inside] % 7).all()


def test_the_samplers_cases_have_to_be_the_loaders(tmp_path):
    loader, _ = loader_of(make_cases(tmp_path, 3), Settings())
    _, other = loader_of(make_cases(tmp_path, 4), Settings())
    with pytest.raises(ValueError, match="the loader has 3 cases, the sampler 4"):
        loader.attach(other.draws)
