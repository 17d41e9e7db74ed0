"""The experiments' scripts: what they share, and one of them as a user runs it, in short."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import experiments

    return experiments


def test_intervals(experiments):
    rng = np.random.default_rng(0)
    other = rng.normal(size=60)
    assert experiments.paired_interval(other + 0.25, other) == pytest.approx((0.25, 0.25, 0.25))
    ours = other + rng.normal(0.5, 1, 60)
    difference, low, high = experiments.paired_interval(ours, other, level=0.9)
    error = np.std(ours - other, ddof=1) / np.sqrt(60)
    assert difference == pytest.approx(np.mean(ours - other))
    assert (low, high) == pytest.approx((difference - 1.645 * error, difference + 1.645 * error), abs=0.2 * error)


def test_intervals_resample_seeds_and_the_cases_that_they_share(experiments):
    rng = np.random.default_rng(0)
    by_case, by_seed = rng.normal(size=16), rng.normal(size=5)
    zero = np.zeros((5, 16))

    def width(effect):
        _, low, high = experiments.paired_interval(effect, np.zeros_like(effect))
        return high - low

    assert width(zero + by_case) == pytest.approx(width(by_case), rel=0.1), "five seeds do not make more cases"
    assert width(zero + by_seed[:, None]) == pytest.approx(width(by_seed), rel=0.1)
    assert width(zero + 1) == 0


def test_a_failed_run_does_not_lose_the_others(experiments, tmp_path):
    jobs = [{"name": name, "value": value} for name, value in (("bad", -1), ("good", 1), ("fine", 2))]
    with pytest.raises(RuntimeError, match="1 run\\(s\\) failed:\nbad: "):
        experiments.run_all(square_root, jobs, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine.json", "good.json"]
    changed = [{"name": "good", "value": 4}]
    assert experiments.run_all(square_root, changed, tmp_path) == [{"name": "good", "value": 4, "root": 2}]


def square_root(job):
    return {"root": math.sqrt(job["value"])}


def test_folds_of_the_phantom(experiments):
    import phantom

    folds = phantom.splits()
    assert len(folds) == 2 * phantom.MAX_SEEDS
    pairs = set()
    for plain, static in zip(folds[: phantom.MAX_SEEDS], folds[phantom.MAX_SEEDS :], strict=True):
        rare = [case for case in plain["train"] if case in phantom.rare_cases()]
        assert len(set(rare)) == phantom.RARE
        assert len(plain["train"]) == phantom.COMMON + phantom.RARE
        assert not set(plain["train"]) & set(plain["val"])
        assert sum(case in phantom.rare_cases() for case in plain["val"]) == phantom.HELD_OUT == len(plain["val"]) / 2
        assert sorted(static["train"]) == sorted(plain["train"] + rare * (phantom.TIMES - 1))
        pairs.add(frozenset(rare))
    assert len(pairs) == phantom.MAX_SEEDS, "no two seeds train on the same rare cases"


def test_report_of_an_experiment_with_groups(experiments, tmp_path):
    rng = np.random.default_rng(0)
    rare = [True] * 8 + [False] * 8
    uniform = [{"seed": seed, "dice": rng.uniform(0.5, 0.8, 16).tolist()} for seed in range(5)]
    ours = [
        {"seed": row["seed"], "dice": [x + 0.1 * r for x, r in zip(row["dice"], rare, strict=True)]} for row in uniform
    ]
    for row in ours:
        row |= {"rare_share": 0.3, "ess": 0.5, "beta": 7.0}
    found = {"rare": rare, "steps": [800, 500], "arms": {"base": uniform, "uniform": uniform, "ours": ours}}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "phantom.json").write_text(json.dumps(found))
    subprocess.run([sys.executable, SCRIPTS / "report.py", "--results", tmp_path / "docs"], check=True)
    report = (tmp_path / "benchmarks.md").read_text()
    assert "- phantom, rare group: +10.0 points, interval from +10.0 (bar: +8): reached" in report
    assert "(+5.0; +2.5 to +7.5)" in report, "half of the cases gained 10"
    assert "| 30% | 0.50 | 7.0 |" in report
    assert "base" not in report.split("## Phantom")[1].split("|---")[1]


@pytest.mark.slow
def test_digits_in_short_and_their_report(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")

    def run(script, *options):
        subprocess.run([sys.executable, SCRIPTS / script, *options], check=True, capture_output=True, timeout=300)

    run("digits.py", "--quick", "--out", tmp_path)
    file = tmp_path / "quick.json"
    found = json.loads(file.read_text())
    assert {"uniform", "paper", "ours"} <= {run["arm"] for run in found["runs"]}
    assert all(np.shape(run["worst"]) == (2, 6) for run in found["runs"])
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "quick").iterdir()}
    next(iter(runs)).unlink()  # as if it had been cut off
    before = file.read_text()
    run("digits.py", "--quick", "--out", tmp_path)
    assert file.read_text() == before, "a run is its seed's"
    assert sum(path.stat().st_mtime_ns != runs[path] for path in (tmp_path / "quick").iterdir()) == 1
    (tmp_path / "docs").mkdir()
    file.rename(tmp_path / "docs" / "digits.json")
    run("report.py", "--results", tmp_path / "docs")
    report = (tmp_path / "benchmarks.md").read_text()
    assert "| ours, 5 % of labels spoiled |" in report
    assert "- phantom: not measured yet" in report
    assert (tmp_path / "docs" / "digits.png").stat().st_size > 10_000
