import numpy as np
import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from hws_nnunet import Settings
from hws_nnunet.hosts.loaders import DRAWN
from tests.core import naive
from tests.nnunetv2.fakes import FakeCases, loader_of, made, teach

PLAIN = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0}
LABELS, REGIONS, ANNOTATED = (1, 2, 3), ((1, 2, 3), (2, 3), (3,)), (-1, 0, 1, 2)
HARDNESS = np.array([[0.1, 0.5, 0.9], [0.8, 0.2, 0.2], [0.4, 0.4, 0.4]])


def drawn_centres(cases, loader, batches):
    """The case and the centre of each patch of so many batches, drawn as the host does, without loading them."""
    drawn, centres = [], []
    for _ in range(batches):
        for slot, name in enumerate(loader.get_indices()):
            start, _ = loader.get_bbox(cases.shape, loader.get_do_oversample(slot), cases.locations[name])
            drawn.append(cases.identifiers.index(name))
            centres.append(np.array(start) + np.array(loader.patch_size) // 2)
    return np.array(drawn), np.array(centres)


@pytest.mark.slow
@pytest.mark.parametrize("structure_beta", [0.0, 2.0])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_cases_follow_the_closed_form(size, structure_beta):
    losses, cases = np.linspace(0, 1, 6), FakeCases(6)
    settings = Settings(beta=2.0, structure_beta=structure_beta, **PLAIN)
    loader, sampler = loader_of(cases, settings, size=size, structures=(1, 2))
    teach(sampler, losses)
    counts = np.zeros(6, dtype=int)
    names = np.array(cases.identifiers)
    for _ in range(12_000 // size):
        keys = loader.get_indices()
        assert (names[loader._drawn.ids] == keys).all()
        counts[loader._drawn.ids] += 1
    assert naive.close(counts, naive.inclusion(naive.closed_form(losses, 2.0), size))


def test_a_likely_case_is_as_often_among_the_last_of_a_batch_whose_patches_have_to_hold_foreground():
    loader, sampler = loader_of(FakeCases(8), Settings(beta=3.0, **PLAIN), size=3)
    teach(sampler, np.linspace(0, 1, 8))
    slots = [np.flatnonzero(loader._drawn.ids == 7) for _ in range(4000) if len(loader.get_indices())]
    assert naive.close(np.bincount(np.concatenate(slots)), [1 / 3] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 100.0])
@pytest.mark.parametrize(
    ("keys", "annotated", "options"),
    [
        (LABELS, None, {}),
        (LABELS, None, {"initial": (12, 11, 10)}),
        (LABELS, None, {"patch": (8, 8)}),
        (REGIONS, None, {}),
        (LABELS, ANNOTATED, {"ignore": True}),
        (REGIONS, ANNOTATED, {"ignore": True, "patch": (8, 8)}),
    ],
)
def test_structures_follow_the_closed_form(keys, annotated, options, beta):
    """Forced foreground is a voxel of structure k with p ~ exp(structure_beta * hardness of k in the case)."""
    cases = FakeCases(3, keys=keys, annotated=annotated)
    settings = Settings(beta=beta, structure_beta=3.0)
    loader, sampler = loader_of(cases, settings, structures=keys, oversample=1.0, **options)
    teach(sampler, np.linspace(0, 0.1, 3), HARDNESS)
    np.random.seed(0)
    drawn, centres = drawn_centres(cases, loader, 1500)
    for case, name in enumerate(cases.identifiers):
        counts = np.bincount(centres[drawn == case, 1] - 6, minlength=3)
        assert len(counts) == 3, "a voxel of no structure"
        assert naive.close(counts, naive.softmax(HARDNESS[case], 3.0))
        assert naive.close(counts, [1 / 3] * 3) == (case == 2)
        for k, key in enumerate(keys):  # within a structure all is as nnU-Net has it
            voxels = cases.locations[name][key][:, 1:]
            centred = centres[(drawn == case) & (centres[:, 1] == 6 + k)]
            assert {tuple(c) for c in centred} <= {tuple(v) for v in voxels}
            right = (voxels[:, 0] >= 15).mean()
            assert naive.close(np.bincount(centred[:, 0] >= 15, minlength=2), [1 - right, right])


@pytest.mark.parametrize("annotated", [None, ANNOTATED])
def test_structures_that_a_case_lacks_are_not_drawn(annotated):
    """Nor what is not a structure of the table's; without any, the host chooses."""
    cases = FakeCases(4, keys=LABELS, annotated=annotated)
    first, second, third, fourth = cases.locations.values()
    first[2], second[2], second[3] = [], np.zeros((0, 4), dtype=int), []
    del third[1], third[3]
    for key in LABELS:
        fourth[key] = []
    loader, sampler = loader_of(
        cases,
        Settings(beta=0.0, structure_beta=3.0),
        structures=(1, 2),
        oversample=1.0,
        ignore=annotated is not None,
    )
    teach(sampler, np.zeros(4), np.repeat([[0.1, 0.9]], 4, axis=0))
    drawn, centres = drawn_centres(cases, loader, 400)
    for case, only in ((0, 6), (1, 6), (2, 7)):
        assert set(centres[drawn == case, 1]) == {only}
    anywhere = centres[drawn == 3]
    assert len(np.unique(anywhere, axis=0)) > 100
    assert np.ptp(anywhere[:, 1]) >= 12
    if annotated is not None:
        assert {tuple(c) for c in anywhere} <= {tuple(np.maximum(v[1:], 4)) for v in fourth[annotated]}
    else:
        assert anywhere.min(0).tolist() == [4, 4, 4]


def test_a_class_that_the_caller_names_is_taken():
    cases = FakeCases(1)
    loader, sampler = loader_of(cases, Settings(structure_beta=1000.0), structures=(1, 2))
    teach(sampler, [0.5], [[0.1, 0.9]])
    loader.get_indices()
    loader._drawn = loader._drawn._replace(ids=np.repeat(loader._drawn.ids, 100))
    for wanted in (1, None):
        boxes = [loader.get_bbox(cases.shape, True, cases.locations["case00"], wanted)[0] for _ in range(50)]
        assert {int(start[1]) + 4 for start in boxes} == {6 if wanted == 1 else 7}


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(
    ("structure_beta", "oversample", "same"), [(0.0, 0.5, True), (3.0, 0.0, True), (3.0, 0.5, False)]
)
def test_where_structures_are_not_drawn_patches_are_the_hosts_bit_for_bit(structure_beta, oversample, same, ignore):
    """At beta above 0 too: with the same cases and random numbers."""
    cases = FakeCases(5, annotated=ANNOTATED if ignore else None)
    options = {"oversample": oversample, "initial": (12, 12, 12), "ignore": ignore}
    loader, sampler = loader_of(cases, Settings(structure_beta=structure_beta), structures=(1, 2), **options)
    teach(sampler, np.linspace(0, 1, 5), np.repeat([[0.1, 0.9]], 5, axis=0))
    next(loader)  # it has its own generator now
    np.random.seed(3)
    ours = [next(loader) for _ in range(20)]
    stock, drawn = made(nnUNetDataLoader, cases, **options), iter(ours)
    stock.get_indices = lambda: next(drawn)["keys"]
    np.random.seed(3)
    theirs = [next(stock) for _ in range(20)]
    assert all((one["target"] == other["target"]).all() for one, other in zip(ours, theirs, strict=True)) == same


def test_a_neutral_batch_is_the_hosts_bit_for_bit():
    cases = FakeCases(5)
    options = {"initial": (12, 12, 12)}
    loader, _ = loader_of(cases, Settings(beta=0.0, structure_beta=0.0), structures=(1, 2), **options)
    stock = made(nnUNetDataLoader, cases, **options)
    np.random.seed(3)
    ours = [next(loader) for _ in range(10)]
    np.random.seed(3)
    theirs = [next(stock) for _ in range(10)]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["data"] == other["data"]).all()
        assert (one["target"] == other["target"]).all()
        assert (one["keys"] == other["keys"]).all()
        assert [f"case{i:02d}" for i in one[DRAWN].ids] == list(one["keys"])


@pytest.mark.parametrize("beta", [0.0, 100.0])
@pytest.mark.parametrize("structure_beta", [0.0, 2.0])
def test_slots_keep_their_meaning(structure_beta, beta):
    """The last third of a batch is centred on foreground, weighed or not; the rest lies anywhere."""
    cases = FakeCases(4)
    loader, sampler = loader_of(cases, Settings(beta=beta, structure_beta=structure_beta), size=3, structures=(1, 2))
    teach(sampler, np.linspace(0, 1, 4), np.repeat([[0.1, 0.9]], 4, axis=0))
    batches = [next(loader) for _ in range(100)]
    by_slot = np.stack([cases.centres(batch)[:, 1] for batch in batches], axis=1)
    drawn = np.concatenate([batch[DRAWN].ids for batch in batches])
    assert [cases.identifiers[i] for i in drawn] == np.concatenate([batch["keys"] for batch in batches]).tolist()
    assert set(by_slot[2]) == {6, 7}
    for free in by_slot[:2]:
        assert set(free) == set(range(4, 17))


def test_a_cascades_first_stage_comes_along():
    cases = FakeCases(3, previous=True)
    loader, sampler = loader_of(cases, Settings(structure_beta=2.0), structures=(1, 2), oversample=0.5)
    teach(sampler, np.linspace(0, 1, 3), np.repeat([[0.1, 0.9]], 3, axis=0))
    for _ in range(20):
        target = next(loader)["target"]
        assert target.shape == (2, 2, 8, 8, 8)
        inside = target[:, 0] >= 0
        assert (target[:, 1][inside] == target[:, 0][inside] % 7).all()


def test_batches_say_what_was_drawn():
    cases = FakeCases(6)
    loader, sampler = loader_of(cases, Settings())
    teach(sampler, np.linspace(0, 1, 6))
    batch = next(loader)
    drawn = batch[DRAWN]
    assert drawn.version == sampler.table.version > 0
    assert drawn.ids.shape == (2,)
    assert [cases.identifiers[i] for i in drawn.ids] == list(batch["keys"])


def test_as_many_draws_as_the_host_makes():
    loader, _ = loader_of(FakeCases(3), Settings())
    loader.get_bbox = lambda *args: nnUNetDataLoader.get_bbox(loader, *args)
    with pytest.raises(RuntimeError, match="placed 0 patches for 2 cases"):
        next(loader)


def test_the_samplers_cases_have_to_be_the_loaders():
    loader, _ = loader_of(FakeCases(3), Settings())
    _, other = loader_of(FakeCases(4), Settings())
    with pytest.raises(ValueError, match="the loader has 3 cases, the sampler 4"):
        loader.attach(other.draws)
