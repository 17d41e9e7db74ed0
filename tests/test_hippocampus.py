"""The experiment on ordinary real data: its folds, changed cases and report; and in short, where the data are."""

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet.hosts.known import read_weights, training_groups
from tests import forks

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"
DATA = Path(os.environ.get("HWS_HIPPOCAMPUS", Path(__file__).parents[2] / "shared/data/hippocampus"))
NAMES = [f"hippocampus_{i:03d}" for i in range(200)]


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import hippocampus

    return hippocampus


@pytest.fixture
def data(experiment):
    import hippocampus_data

    return hippocampus_data


def test_conditions_share_their_splits_and_differ_in_what_they_change(experiment, data):
    seeds, changed = data.MAX_SEEDS, data.Changed()
    plain, scanner, labels = (data.splits(condition, NAMES) for condition in experiment.CONDITIONS)
    assert (len(plain), len(scanner), len(labels)) == (seeds, 5 * seeds, seeds)
    assert len({tuple(sorted(fold["val"])) for fold in plain}) == seeds
    for seed, (as_it_is, rare, wrong) in enumerate(zip(plain, scanner[:seeds], labels, strict=True)):
        assert sorted(as_it_is["train"] + as_it_is["val"]) == NAMES
        assert len(as_it_is["train"]) == 140
        for other in (rare, wrong):
            for part in ("train", "val"):
                originals = [name.rsplit("_", 1)[0] if name in changed else name for name in other[part]]
                assert sorted(originals) == sorted(as_it_is[part])
        found = [
            [name for name in fold[part] if name in changed] for fold in (rare, wrong) for part in ("train", "val")
        ]
        assert [len(names) for names in found] == [7, 30, 10, 0]
        kinds = [name.rsplit("_", 1)[1] for name in found[2]]
        assert sorted(kinds.count(kind) for kind in data.KINDS) == [3, 3, 4]
        oversampled = scanner[seeds + seed]
        assert sorted(oversampled["train"]) == sorted(rare["train"] + found[0] * (data.TIMES - 1))
        assert oversampled["val"] == rare["val"]
        for place, (count, few) in enumerate(((25, 1), (50, 2), (100, 5))):
            made = experiment.experiment("scanner", training=count)
            fold = scanner[made.bases(Path(), seed + 1)[seed]["fold"]]
            assert made.first_fold == (2 + place) * seeds
            assert (len(fold["train"]), sum(name in changed for name in fold["train"])) == (count, few)
            assert set(fold["train"]) <= set(rare["train"])
            assert fold["val"] == rare["val"]


def test_arms_have_trainers_and_folds_of_their_own(experiment, data, tmp_path):
    made = experiment.experiment("scanner")
    folds = tmp_path / "preprocessed" / "Dataset993_HippocampusBenchmark" / "splits_final.json"
    folds.parent.mkdir(parents=True)
    folds.write_text(json.dumps(data.splits("scanner", NAMES)))
    jobs = {job["arm"]: job for job in made.jobs(tmp_path, 1, list(experiment.CONDITIONS["scanner"]))}
    assert {arm: job["trainer"] for arm, job in jobs.items()} == {
        "uniform": "nnUNetTrainer",
        "ours": "HardnessWeightedTrainer",
        "ours, groups told": "HardnessWeightedTrainer",
        "case weights": "HardnessWeightedTrainer",
        "ours, case weights": "HardnessWeightedTrainer",
        "static oversampling": "nnUNetTrainer",
        "paper": "HardnessWeightedTrainer",
        "Dice + top-k loss": "nnUNetTrainerDiceTopK10Loss",
        "ours, Dice + top-k loss": "HardnessWeightedDiceTopK10",
    }
    assert {arm for arm, job in jobs.items() if job["fold"]} == {"static oversampling"}
    training = json.loads(folds.read_text())[0]["train"]
    assert (
        training_groups(jobs["ours, groups told"]["settings"]["groups"], "subgroup", training, print).count("scanner")
        == 7
    )
    assert jobs["case weights"]["settings"]["beta"] == 0
    assert jobs["ours, case weights"]["settings"]["beta"] > 0
    weights = read_weights(jobs["case weights"]["settings"]["case_weights"], training, print)
    rare = sum(weight for case, weight in zip(training, weights, strict=True) if case.endswith("_scanner"))
    assert rare / sum(weights) == pytest.approx(4 * 7 / 140, rel=1e-4), "four times its share, the largest allowed"
    assert jobs["Dice + top-k loss"]["settings"] is None
    with pytest.raises(SystemExit):
        experiment.experiment("plain").main("", (), (), ["--arms", "static oversampling"])


def test_ranks_of_the_changed_cases(data):
    from nnunet_runs import ranks_of

    hardness = {"a": 0.1, "b_scanner": float("nan"), "c_scanner": 0.5, "d": 0.3, "e_scanner": -0.2}
    assert ranks_of(hardness, data.Changed()) == {"c_scanner": 1, "e_scanner": 4, "b_scanner": 5}


def test_wrong_labels_are_wrong_each_in_its_way(data):
    labels = np.zeros((20, 24, 12), np.uint8)
    labels[9:15, 4:12, 3:9], labels[9:15, 12:16, 3:9] = 1, 2  # more room before it along x, after it along y
    before = labels.copy()
    assert np.array_equal(data.spoil(labels, "exchanged"), np.array([0, 2, 1])[labels])
    assert np.array_equal(data.spoil(labels, "removed"), np.where(labels == 2, 2, 0))
    shifted = data.spoil(labels, "shifted")
    s = data.SHIFT
    assert np.array_equal(shifted[: -s or None, s:], labels[s:, :-s])
    assert shifted.sum() == labels.sum(), "nothing was pushed out where there was room"
    whole = data.spoil(np.ones_like(labels), "shifted")
    assert not whole[:s].any(), "nothing comes back on the other side"
    assert not whole[:, :s].any()
    assert whole[s:, s:].all()
    assert np.array_equal(labels, before)


def test_another_scanner_changes_the_image_and_not_the_anatomy(data):
    pytest.importorskip("torchio", reason="torchio is not installed")
    rng = np.random.default_rng(0)
    voxels = rng.normal(300, 10, (35, 50, 36)).astype(np.float32)
    voxels[10:25, 10:40, 10:26] += 200
    image = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 1.5, 1.0]))
    one, again, other = (np.asanyarray(data.of_another_scanner(image, seed).dataobj) for seed in (1, 1, 2))
    assert np.array_equal(one, again), "it is its seed's"
    assert not np.allclose(one, other), "each case has its own"
    for acquired in (one, other):
        assert acquired.shape == voxels.shape
        assert np.isfinite(acquired).all()
        assert 0.3 < np.corrcoef(acquired.ravel(), voxels.ravel())[0, 1] < 0.97
        across, along = (np.abs(np.diff(acquired, axis=axis)).mean() for axis in (0, 1))
        assert along < 0.7 * across, "thick slices"
        ends, inside = np.abs(acquired[:, [0, -1]]).mean(), np.abs(acquired[:, 4:8]).mean()
        assert ends > 0.5 * inside, "slices end where the image does"
    assert np.array_equal(data.of_another_scanner(image, 1).affine, image.affine)


def results(ranks=None):
    """Two seeds of 10 held-out cases each, those of one arm 2 points ahead."""
    rng = np.random.default_rng(0)
    dice = rng.uniform(0.5, 0.8, (2, 1, 10))
    rows = [
        [
            {"seed": seed, "steps": [100], "cases": [f"{seed}-{i}" for i in range(10)], "dice": (d + gain).tolist()}
            for seed, d in enumerate(dice)
        ]
        for gain in (0.0, 0.02)
    ]
    for row in rows[1]:
        row.update(rare_share=0.1, ess=0.6, beta=5.0, trained=40, ranks=ranks or {})
    return {"rare": [False] * 10, "arms": {"uniform": rows[0], "ours": rows[1]}}


def test_report_of_what_has_been_run(experiment, script, tmp_path):
    docs = tmp_path / "benchmarks"
    docs.mkdir()
    ranks = {"a_shifted": 1, "b_exchanged": 4, "c_removed": 30, "d_shifted": 2}
    (docs / "hippocampus-labels.json").write_text(json.dumps(results(ranks)))
    (docs / "hippocampus-plain.json").write_text(json.dumps(results()))
    script(SCRIPTS / "hippocampus.py", "--condition", "labels", "--show", "--docs", tmp_path)
    report = (tmp_path / "benchmarks.md").read_text()
    assert "- hippocampus, wrong labels, share in the hardest tenth, ours: 0.75 (bar: 0.80): NOT reached" in report
    gained = "+2.0 points, interval from +2.0"
    assert f"- hippocampus, plain, CVaR 10 %, 2 seeds: {gained} (bar: +0.5): reached" in report
    assert f"- hippocampus, labels, mean, 2 seeds: {gained} (bar: -0.2): reached" in report
    assert "median rank, exchanged | median rank, removed | median rank, shifted |" in report
    assert "| ours | 2 | 3, 3 | 3.0 of 4 | 4 | 30 | 1.5 |" in report
    assert "by chance 0.4 of them are among the hardest 4" in report
    assert "(+2.0; +2.0 to +2.0)" in report
    assert "rare scanner" not in report, "it was not measured"
    assert "rare group" not in report.split("## Hippocampus: ordinary")[1].split("## ")[0]
    assert (docs / "hippocampus-labels.png").stat().st_size > 10_000


def test_growth_with_cases_and_steps(experiment, tmp_path):
    usual, fewer = results(), results()
    for found in (usual, fewer):
        found["rare"] = [True] * 5 + [False] * 5
    fewer["arms"]["ours"] = fewer["arms"]["ours"][:1]  # one seed
    (tmp_path / "made-up.json").write_text(json.dumps(usual))
    assert not experiment.variants(tmp_path, "made-up"), "nothing but the usual experiment"
    (tmp_path / "made-up-20-cases.json").write_text(json.dumps(fewer))
    (tmp_path / "made-up-50-steps.json").write_text(json.dumps(usual))
    _, lines = experiment.growth(experiment.variants(tmp_path, "made-up"), tmp_path / "growth.png")
    first = np.array(usual["arms"]["uniform"][0]["dice"][0])
    rare, common = 100 * first[:5].mean(), 100 * first[5:].mean()
    assert (
        f"| 20 training cases | 1 | {rare:.1f}, {rare + 2:.1f}, +2.0 | {common:.1f}, {common + 2:.1f}, +2.0 |"
        in "".join(lines)
    )
    assert [line.split(" | ")[:2] for line in lines[4:]] == [
        ["| 20 training cases", "1"],
        ["| 40 training cases", "1"],
        ["| 50 steps", "2"],
        ["| 100 steps", "2"],
    ]
    assert (tmp_path / "growth.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the data are not at {DATA} (HWS_HIPPOCAMPUS names another place)")
def test_rare_scanner_in_short(tmp_path):
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
    pytest.importorskip("torchio", reason="torchio is not installed")
    script = [sys.executable, SCRIPTS / "hippocampus.py", "--condition", "scanner", "--work", tmp_path]
    done = forks.run([*script, "--quick", "--data", DATA])
    assert done.returncode == 0, done.stdout[-3000:]
    found = json.loads((tmp_path / "quick" / "benchmarks" / "hippocampus-scanner.json").read_text())
    assert sum(found["rare"]) == len(found["rare"]) / 2 == 9
    assert set(found["arms"]) == {"base", "uniform", "ours"}
    (row,) = found["arms"]["ours"]
    assert all(case.endswith("_scanner") == rare for case, rare in zip(row["cases"], found["rare"], strict=True))
    assert len(row["ranks"]) == 2
    assert all(1 <= rank <= row["trained"] == 42 for rank in row["ranks"].values())
    section = (tmp_path / "quick" / "benchmarks.md").read_text()
    assert "| uniform | 1 |" in section
    assert "median rank, scanner" in section
