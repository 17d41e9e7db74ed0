import itertools

import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")

from hws_nnunet import Settings
from hws_nnunet.nnunetv1.loader import DRAWN
from tests.nnunetv1.fakes import loader_of, make_cases, stock_loader, teach
from tests.sampling import naive

PLAIN = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0, "in_flight_limit": False}
PATCHES = [((8, 8, 8), None), ((8, 8, 8), (12, 11, 10)), ((8, 8), None), ((8, 8), (11, 12))]


def starts_of(loader, draws, shape, slot=None):
    """Where patches of a batch's sample start, by the voxels that they hold; 3 numbers for 2D too."""
    starts = []
    for _ in range(draws):
        batch = next(loader)
        patch = batch["data"][0 if slot is None else slot, 0]
        patch = patch if patch.ndim == 3 else patch[None]
        inside = np.argwhere(batch["seg"][0 if slot is None else slot, 0].reshape(patch.shape) == 0)[0]
        starts.append(np.array(np.unravel_index(int(patch[tuple(inside)]), shape)) - inside)
    return np.array(starts)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_cases_follow_the_closed_form(tmp_path, size, patch):
    losses = np.linspace(0, 1, 6)
    loader = loader_of(make_cases(tmp_path, 6), Settings(beta=2.0, cells=1, **PLAIN), size=size, patch=patch)
    teach(loader.sampler, losses)
    counts = np.zeros(6, dtype=int)
    for _ in range(3000 // size):
        batch = next(loader)
        assert [f"case{i:02d}" for i in batch[DRAWN]["cases"]] == list(batch["keys"])
        counts[batch[DRAWN]["cases"]] += 1
    assert naive.close(counts, naive.inclusion(naive.closed_form(losses, 2.0), size))


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize(("patch", "initial"), PATCHES)
def test_positions_follow_the_closed_form(tmp_path, patch, initial, forced):
    """p(position) is nnU-Net's own times exp(patch_beta * loss of its cell), renormalised."""
    shape = (24, 20, 18)
    cases = make_cases(tmp_path, 1, shape)
    options = {"size": 1, "patch": patch, "initial": initial, "oversample": float(forced)}
    loader = loader_of(cases, Settings(patch_beta=3.0, beta=0.0, smoothing=0.0), **options)
    grid = loader._grid("case00")
    assert grid.cells > 1
    losses = np.random.default_rng(1).random(grid.cells)
    loader.sampler.update([0] * grid.cells, range(grid.cells), np.repeat(losses[:, None], 2, axis=1))
    np.random.seed(0)
    starts = starts_of(loader, 2000, shape)
    host = starts_of(stock_loader(cases, **options), 3000, shape)
    cells, host_cells = grid.cell_of(starts), grid.cell_of(host)
    if not forced:
        share = np.bincount(host_cells, minlength=grid.cells) / len(host)
        assert share == pytest.approx(grid.shares, abs=0.035), "prior shares are nnU-Net's own"
        expected = grid.shares * np.exp(3.0 * losses)
        assert naive.close(np.bincount(cells, minlength=grid.cells), expected / expected.sum())
    else:  # each class by itself: its voxels, by slices in 2D, are weighed within it
        expected = np.zeros(grid.cells)
        for voxels in cases["case00"]["properties"]["class_locations"].values():
            weights = loader._voxel_weights(voxels)
            part = np.bincount(grid.cell_of(voxels - loader._half), weights=weights, minlength=grid.cells)
            part = part * np.exp(3.0 * losses)
            expected += part / part.sum() / 2
        assert naive.close(np.bincount(cells, minlength=grid.cells), expected)
    for axis in range(3):
        assert starts[:, axis].min() >= host[:, axis].min()
        assert starts[:, axis].max() <= host[:, axis].max()


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
@pytest.mark.parametrize("settings", [Settings(), Settings(cells=1), Settings(beta=0.0, patch_beta=1e-9)])
def test_at_patch_beta_0_positions_are_distributed_as_the_hosts(tmp_path, settings, patch, forced):
    shape = (12, 14, 16)
    cases = make_cases(tmp_path, 1, shape, voxels=40)
    options = {"size": 1, "patch": patch, "oversample": float(forced)}
    np.random.seed(0)
    ours = starts_of(loader_of(cases, settings, **options), 2000, shape)
    host = starts_of(stock_loader(cases, **options), 2000, shape)
    for axis in range(3):
        width = int(host[:, axis].max()) + 1
        left, right = (np.bincount(starts[:, axis], minlength=width) for starts in (ours, host))
        assert len(left) == len(right)
        assert naive.total_variation(left / 2000, right / 2000) < 0.08


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_a_neutral_batch_is_the_hosts_bit_for_bit(tmp_path, patch):
    cases = make_cases(tmp_path, 5)
    initial = tuple(p + 4 for p in patch)
    loader = loader_of(cases, Settings(beta=0.0, patch_beta=0.0), patch=patch, initial=initial)
    stock = stock_loader(cases, patch=patch, initial=initial)
    np.random.seed(3)
    ours = [next(loader) for _ in range(10)]
    np.random.seed(3)
    theirs = [next(stock) for _ in range(10)]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["data"] == other["data"]).all()
        assert (one["seg"] == other["seg"]).all()
        assert (one["keys"] == other["keys"]).all()
        assert one["properties"] == other["properties"]
        assert [f"case{i:02d}" for i in one[DRAWN]["cases"]] == list(one["keys"])


@pytest.mark.parametrize("settings", [Settings(), Settings(patch_beta=2.0), Settings(cells=1)])
def test_a_batch_is_one_of_the_hosts(tmp_path, settings):
    """Shapes, types and properties as from the host; the last third of it centred on foreground."""
    shape = (24, 20, 18)
    cases = make_cases(tmp_path, 4, shape, locations={1: np.array([[12, 10, 9]]), 2: []})
    loader, stock = loader_of(cases, settings, size=3), stock_loader(cases, size=3)
    teach(loader.sampler, np.linspace(0, 1, 4))
    one, other = next(loader), next(stock)
    assert {key: getattr(value, "shape", None) for key, value in one.items() if key != DRAWN} == {
        key: getattr(value, "shape", None) for key, value in other.items()
    }
    assert one["data"].dtype == other["data"].dtype
    assert one["seg"].dtype == other["seg"].dtype
    assert [p["original"] for p in one["properties"]] == list(one["keys"])
    assert all(p is cases[key]["properties"] for p, key in zip(one["properties"], one["keys"], strict=True))
    assert one[DRAWN]["version"] == 1
    assert one[DRAWN]["cases"].shape == one[DRAWN]["cells"].shape == (3,)
    assert {tuple(start) for start in starts_of(loader, 20, shape, slot=2)} == {(8, 6, 5)}
    for slot in (0, 1):
        assert len({tuple(start) for start in starts_of(loader, 30, shape, slot=slot)}) > 15
    assert loader.batch_size == 3, "what is steered is put back"
    assert len(loader.list_of_keys) == len(loader._data) == 4


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
@pytest.mark.parametrize("forced", [False, True])
def test_cases_without_foreground_are_placed_anywhere(tmp_path, patch, forced):
    shape = (24, 20, 18)
    cases = make_cases(tmp_path, 2, shape, locations={1: [], 2: np.zeros((0, 3), dtype=int)})
    loader = loader_of(cases, Settings(patch_beta=2.0), size=1, patch=patch, oversample=float(forced))
    starts = starts_of(loader, 1000, shape)
    assert starts.min() == 0
    assert starts.max(0).tolist() == [16 if len(patch) == 3 else 23, 12, 10]


def test_the_samplers_cases_have_to_be_the_loaders(tmp_path):
    loader = loader_of(make_cases(tmp_path, 3), Settings())
    with pytest.raises(ValueError, match="the loader has 3 cases, the sampler 4"):
        loader.attach(loader_of(make_cases(tmp_path, 4), Settings()).sampler)


def test_all_shapes_that_the_host_accepts(tmp_path):
    """Images smaller than the patch, one voxel thick, and large ones."""
    shapes = [(3, 3, 3), (1, 30, 30), (8, 8, 8), (9, 40, 7)]
    for number, (shape, patch) in enumerate(itertools.product(shapes, [(8, 8, 8), (8, 8)])):
        folder = tmp_path / str(number)
        folder.mkdir()
        cases = make_cases(folder, 2, shape=shape)
        for forced in (False, True):
            options = {"size": 1, "patch": patch, "initial": tuple(p + 3 for p in patch), "oversample": float(forced)}
            ours = starts_of(loader_of(cases, Settings(patch_beta=5.0), **options), 60, shape)
            host = starts_of(stock_loader(cases, **options), 2000, shape)
            assert (ours.min(0) >= host.min(0)).all()
            assert (ours.max(0) <= host.max(0)).all()
