import itertools

import numpy as np
import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from hws_nnunet import Settings
from hws_nnunet.nnunetv2.loader import DRAWN
from tests.nnunetv2.fakes import FakeCases, FakeLabels, loader_of, teach
from tests.sampling import naive

PLAIN = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0, "in_flight_limit": False}


def stock_loader(cases, *, size=2, patch=(8, 8, 8), initial=None, ignore=False):
    labels = FakeLabels(ignore=ignore)
    return nnUNetDataLoader(cases, size, initial or patch, patch, labels, oversample_foreground_percent=0.33)


def starts_of(loader, force, draws, case=0):
    """First voxels of patches of one case in a slot of one kind."""
    locations = loader._data.locations
    starts = []
    for _ in range(draws):
        if hasattr(loader, "sampler"):
            loader._cases, loader._cells = np.array([case]), []
        starts.append(loader.get_bbox(loader._data.shape, force, locations)[0])
    return np.array(starts)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_cases_follow_the_closed_form(size):
    losses = np.linspace(0, 1, 6)
    loader = loader_of(FakeCases(6), Settings(beta=2.0, **PLAIN), size=size)
    teach(loader.sampler, losses)
    counts = np.zeros(6, dtype=int)
    names = np.array(loader._data.identifiers)
    for _ in range(12_000 // size):
        keys = loader.get_indices()
        assert (names[loader._cases] == keys).all()
        counts[loader._cases] += 1
    assert naive.close(counts, naive.inclusion(naive.closed_form(losses, 2.0), size))


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("patch", "initial"), [((8, 8, 8), None), ((8, 8, 8), (12, 11, 10)), ((1, 8, 8), None)])
def test_positions_follow_the_closed_form(patch, initial, force, ignore):
    """p(position) is nnU-Net's own times exp(patch_beta * loss of its cell), renormalised."""
    annotated = (-1, 0, 1, 2) if ignore else None
    cases = FakeCases(1, annotated=annotated)
    options = {"size": 1, "patch": patch, "initial": initial, "ignore": ignore}
    loader = loader_of(cases, Settings(patch_beta=3.0, beta=0.0, **{"smoothing": 0.0}), **options)
    grid = loader._grid(cases.shape)
    assert grid.cells > 1
    losses = np.random.default_rng(1).random(grid.cells)
    loader.sampler.update([0] * grid.cells, range(grid.cells), np.repeat(losses[:, None], 2, axis=1))
    np.random.seed(0)
    starts = starts_of(loader, force, 8000)
    host = starts_of(stock_loader(cases, **options), force, 20_000)
    share = np.bincount(grid.cell_of(host), minlength=grid.cells) / len(host)
    if force:  # each class by itself: its voxels are weighed within it
        kinds = [loader._data.locations[label] for label in (1, 2)]
    elif ignore:
        kinds = [loader._data.locations[annotated]]
    else:
        kinds = None
    if kinds is None:
        expected = grid.shares * np.exp(3.0 * losses)
        expected /= expected.sum()
        assert share == pytest.approx(grid.shares, abs=0.015), "prior shares are nnU-Net's own"
    else:
        expected = np.zeros(grid.cells)
        for voxels in kinds:
            cells = grid.cell_of(voxels[:, 1:] - np.array(loader.patch_size) // 2)
            part = np.bincount(cells, minlength=grid.cells) * np.exp(3.0 * losses)
            expected += part / part.sum() / len(kinds)
    assert naive.close(np.bincount(grid.cell_of(starts), minlength=grid.cells), expected)
    assert not naive.close(np.bincount(grid.cell_of(starts), minlength=grid.cells), share)
    # within a cell all is as nnU-Net has it
    for axis in range(3):
        assert starts[:, axis].min() == host[:, axis].min()
        assert starts[:, axis].max() == host[:, axis].max()


@pytest.mark.parametrize("force", [False, True])
def test_positions_within_a_cell_are_the_hosts(force):
    cases = FakeCases(1, voxels=40)
    loader = loader_of(cases, Settings(patch_beta=1e-9, beta=0.0), size=1)
    np.random.seed(0)
    ours, host = starts_of(loader, force, 30_000), starts_of(stock_loader(cases, size=1), force, 30_000)
    for axis in range(3):
        width = int(host[:, axis].max()) + 1
        left, right = (np.bincount(starts[:, axis], minlength=width) for starts in (ours, host))
        assert naive.total_variation(left / 30_000, right / 30_000) < 0.03


@pytest.mark.parametrize("force", [False, True])
def test_at_patch_beta_0_positions_are_the_hosts_own(force):
    cases = FakeCases(3)
    loader = loader_of(cases, Settings(patch_beta=0.0), size=1)
    np.random.seed(5)
    ours = starts_of(loader, force, 200)
    np.random.seed(5)
    assert np.array_equal(ours, starts_of(stock_loader(cases, size=1), force, 200))


def test_a_neutral_batch_is_the_hosts_bit_for_bit():
    cases = FakeCases(5)
    loader, stock = loader_of(cases, Settings(beta=0.0, patch_beta=0.0), initial=(12, 12, 12)), None
    stock = stock_loader(cases, initial=(12, 12, 12))
    np.random.seed(3)
    ours = [next(loader) for _ in range(10)]
    np.random.seed(3)
    theirs = [next(stock) for _ in range(10)]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["data"] == other["data"]).all()
        assert (one["target"] == other["target"]).all()
        assert (one["keys"] == other["keys"]).all()
        assert [f"case{i:02d}" for i in one[DRAWN]["cases"]] == list(one["keys"])


@pytest.mark.parametrize("patch_beta", [0.0, 2.0])
def test_slots_keep_their_meaning(patch_beta):
    """The last third of a batch is centred on foreground, weighed or not."""
    cases = FakeCases(4)
    cases.locations = {1: np.array([[0, 12, 10, 9]])}
    loader = loader_of(cases, Settings(patch_beta=patch_beta), size=3)
    teach(loader.sampler, np.linspace(0, 1, 4))
    boxes, original = [], loader.get_bbox

    def watched(shape, force, *rest):
        box = original(shape, force, *rest)
        boxes.append((force, box[0]))
        return box

    loader.get_bbox = watched
    for _ in range(20):
        next(loader)
    assert {tuple(start) for force, start in boxes if force} == {(8, 6, 5)}
    assert len({tuple(start) for force, start in boxes if not force}) > 20
    assert [force for force, _ in boxes[:3]] == [False, False, True]


@pytest.mark.parametrize("force", [False, True])
def test_cases_without_foreground_are_placed_anywhere(force):
    cases = FakeCases(2)
    cases.locations = {1: [], 2: np.zeros((0, 4), dtype=int)}
    loader = loader_of(cases, Settings(patch_beta=2.0), size=1)
    starts = starts_of(loader, force, 2000)
    assert starts.min() == 0
    assert starts.max(0).tolist() == [16, 12, 10]


def test_batches_say_what_was_drawn():
    cases = FakeCases(6)
    loader = loader_of(cases, Settings(), size=2)
    teach(loader.sampler, np.linspace(0, 1, 6))
    batch = next(loader)
    drawn = batch[DRAWN]
    assert drawn["version"] == 1
    assert drawn["cases"].shape == drawn["cells"].shape == (2,)
    assert [cases.identifiers[i] for i in drawn["cases"]] == list(batch["keys"])


def test_as_many_draws_as_the_host_makes():
    cases = FakeCases(3)
    loader = loader_of(cases, Settings(), size=2)
    loader.get_bbox = lambda *args: nnUNetDataLoader.get_bbox(loader, *args)
    with pytest.raises(RuntimeError, match="placed 0 patches for 2 cases"):
        next(loader)


def test_the_samplers_cases_have_to_be_the_loaders():
    cases, others = FakeCases(3), FakeCases(4)
    loader = loader_of(cases, Settings())
    with pytest.raises(ValueError, match="the loader has 3 cases, the sampler 4"):
        loader.attach(loader_of(others, Settings()).sampler)


def test_all_shapes_that_the_host_accepts():
    """Images smaller than the patch, one voxel thick, and large ones."""
    for shape, patch in itertools.product([(3, 3, 3), (1, 30, 30), (8, 8, 8), (9, 40, 7)], [(8, 8, 8), (1, 8, 8)]):
        cases = FakeCases(2, shape=shape)
        loader = loader_of(cases, Settings(patch_beta=5.0), patch=patch, initial=tuple(p + 3 for p in patch))
        stock = stock_loader(cases, patch=patch, initial=tuple(p + 3 for p in patch))
        for force in (False, True):
            ours, host = starts_of(loader, force, 400), starts_of(stock, force, 4000)
            assert (ours.min(0) >= host.min(0)).all()
            assert (ours.max(0) <= host.max(0)).all()
