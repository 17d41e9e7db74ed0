"""The experiments on rare groups in real images, and the simulated ones: what they compute, on numbers made by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def test_losses_of_a_sample_are_its_own():
    from plain import losses_of

    labels = torch.zeros(2, 2, 2, dtype=torch.long)
    labels[0, 0] = 1  # the first sample shows structure 1, right; the second none
    logits = torch.full((2, 3, 2, 2), -20.0).scatter_(1, labels[:, None], 20.0).requires_grad_()
    loss, hardness = losses_of(logits, labels)
    assert loss.tolist() == pytest.approx([-1.0, -1.0], abs=1e-3)
    assert hardness[0] == pytest.approx(0.0, abs=1e-3)
    assert hardness[1].isnan(), "dice_present says nothing where no structure is"
    assert not hardness.requires_grad
    _, hardness = losses_of(logits.flip(1), labels)
    assert hardness[0] == pytest.approx(0.0, abs=1e-3), "1 is 1 of 3 from either end"
    _, hardness = losses_of(logits.roll(1, 1), labels)
    assert hardness[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("slices", [False, True])
def test_a_window_that_moves_sees_every_voxel_once_or_more(slices):
    from plain import Plan, segmented

    class Sign(torch.nn.Module):
        def forward(self, x):
            return torch.cat([-x, x], 1)

    patch = (4, 6) if slices else (4, 6, 4)
    image = np.random.default_rng(0).normal(size=(7, 9, 6)).astype(np.float32)
    found = segmented(Sign(), image, Plan(patch, classes=2, channels=(1,), batch=1, slices=slices))
    assert np.array_equal(found, image > 0)


def test_patches_show_a_structure_where_they_have_to():
    from plain import Example, Patches, Plan

    image, labels = np.zeros((30, 30, 30), np.float32), np.zeros((30, 30, 30), np.uint8)
    labels[20:24, 20:24, 20:24] = 1
    patches = Patches([Example("a", "rare", image, labels)], Plan((8, 8, 8), 2, (1,), 4), np.random.default_rng(0))
    for _ in range(5):
        images, shown = patches.batch([0, 0, 0, 0])
        assert images.shape == (4, 1, 8, 8, 8)
        assert shown[-1].any()
        assert set(shown.unique().tolist()) <= {0, 1}


def test_coarser_voxels_are_means_and_labels_have_the_largest_share():
    from rare_data import coarser, coarser_labels

    values = np.arange(4 * 5 * 2, dtype=np.float32).reshape(4, 5, 2)
    assert coarser(values).shape == (2, 2, 1)
    assert coarser(values)[0, 0, 0] == values[:2, :2, :2].mean()
    assert coarser(values, axes=2).shape == (2, 2, 2)
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0], labels[1, 0, 0] = 2, 1
    assert coarser_labels(labels).item() == 2


def test_the_table_tells_differences_in_the_same_seeds_and_what_was_reached(tmp_path):
    import rare

    runs = [
        {"kind": "plain", "arm": arm, "seed": seed, "steps": 2000, "drawn": float("nan"), "ess": 0.9}
        | {"mean": mean, "10th percentile": 50.0, "worst tenth": worst}
        for arm, seed, mean, worst in (
            ("uniform", 0, 70.0, 40.0),
            ("uniform", 1, 72.0, 42.0),
            ("uniform", 2, 99.0, 99.0),
            (rare.DEFAULT, 0, 70.5, 40.2),
            (rare.DEFAULT, 1, 71.5, 42.4),
        )
    ]
    runs += [{**run, "steps": 500} for run in runs]
    bars, lines = rare.section(runs, tmp_path / "none.png")
    assert bars == [
        "- hippocampus as it is, 2,000 steps, mean: 0.0 points (bar: -0.1), 2 seeds: reached",
        "- hippocampus as it is, 2,000 steps, worst tenth: +0.3 points (bar: +0.8), 2 seeds: NOT reached",
    ]
    assert f"| {rare.DEFAULT} | 2 | 0.0 (0.5) | 0.0 (0.0) | +0.3 (0.1) |" in "\n".join(lines)


def test_the_picture_has_a_panel_on_growth_where_brains_were_trained_for_several_lengths(tmp_path, monkeypatch):
    import rare

    titles = []
    monkeypatch.setattr(rare, "save", lambda figure, path: titles.extend(axis.get_title() for axis in figure.axes))
    of = dict.fromkeys(rare.FIGURES, 50.0) | {"kind": rare.GROWS, "drawn": 1.0, "ess": 0.9, "seed": 0}
    for lengths in ((rare.STEPS,), (500, rare.STEPS)):
        titles.clear()
        arms = (rare.UNIFORM, rare.DEFAULT)
        rare.section([{**of, "arm": arm, "steps": steps} for arm in arms for steps in lengths], tmp_path / "none.png")
        assert len(titles) == len(lengths)
    assert "by steps" in titles[1]


def test_a_rare_kind_that_lags_is_drawn_more_often_the_more_uneven_draws_may_be(monkeypatch):
    import worlds

    monkeypatch.setattr(worlds, "VISITS", 80)
    found = {
        name: worlds.training({"cases": 25, "world": "lags", "sampling": name, "seed": 0})
        for name in ("uniform", "ess 0.8", "ess 0.5")
    }
    drawn = [run["rare_drawn"] for run in found.values()]
    assert 0.7 < drawn[0] < 1.3 < drawn[1] < drawn[2]
    assert found["ess 0.5"]["rare_loss"] < found["uniform"]["rare_loss"]


def test_told_cases_are_drawn_by_their_weights_alone_and_others_by_hardness():
    import rare
    from plain import Example

    none = np.zeros((1, 1), np.float32)
    cases = [Example(str(i), "rare" if i < 2 else "common", none, none) for i in range(10)]
    uniform, told, ours = (
        rare.batches_of(arm, cases, 2, steps=5, seed=0).sampler for arm in (rare.UNIFORM, rare.WEIGHTS, rare.DEFAULT)
    )
    assert [sampler.settings.beta > 0 for sampler in (uniform, told, ours)] == [False, False, True]
    assert uniform.prior.tolist() == ours.prior.tolist() == [1.0] * 10
    assert told.prior[:2] / told.prior[2:].mean() == pytest.approx(rare.WEIGHT)


def test_cases_that_look_unlike_the_others_are_weighed_and_hardness_acts_on_top_of_it():
    import rare
    from plain import Example

    rng = np.random.default_rng(0)
    images = [rng.normal(size=(4, 16, 16)).astype(np.float32) ** (3 if i < 2 else 1) for i in range(20)]
    cases = [Example(str(i), "common", image, np.zeros_like(image, np.uint8)) for i, image in enumerate(images)]
    alone, ours = (rare.batches_of(arm, cases, 2, steps=5, seed=0).sampler for arm in (rare.UNLIKE, rare.UNLIKE_OURS))
    assert alone.prior.tolist() == ours.prior.tolist()
    assert alone.prior[:2].min() > 2 * alone.prior[2:].max()
    assert (alone.settings.beta, ours.settings.ess) == (0.0, 0.8)


def test_held_out_dice_is_that_of_the_training_without_a_case_and_its_subjects_others(monkeypatch):
    import rare
    from plain import Example

    none, parts = np.zeros((1, 1), np.float32), []

    def train(training, held_out, plan, batches, *, steps, seed):
        parts.append(({case.name for case in training}, {case.name for case in held_out}))
        assert batches.sampler.settings.beta == 0
        return {"dice": {case.name: len(parts) + float(case.name[1]) / 10 for case in held_out}}

    monkeypatch.setattr(rare, "train", train)
    cases = [Example(f"p{i}-{phase}", "common", none, none) for i in range(6) for phase in ("ED", "ES")]
    dice = rare.held_out_dice(cases, rare.KINDS["hearts"], steps=5, seed=1)
    assert list(dice) == [case.name for case in cases]
    (one, other), (two, another) = parts
    assert one == another
    assert two == other
    assert one | two == set(dice)
    assert {name[:2] for name in one}.isdisjoint({name[:2] for name in two}), "both phases of a patient in one half"
    assert all(int(dice[name]) == 1 for name in other)
