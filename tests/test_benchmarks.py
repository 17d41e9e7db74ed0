"""The experiments' scripts: what they share, and one of them as a user runs it, in short."""

import json
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


def test_intervals_of_a_percentile_resample_seeds_and_cases(experiments):
    rng = np.random.default_rng(0)
    other = rng.normal(size=(5, 16))

    def percentile_10(x, axis):
        return np.percentile(x, 10, axis=axis)

    difference, low, high = experiments.paired_interval(other + 1, other, percentile_10)
    assert (difference, low, high) == pytest.approx((1, 1, 1))
    _, few_low, few_high = experiments.paired_interval(rng.normal(size=(5, 16)), other)
    _, many_low, many_high = experiments.paired_interval(rng.normal(size=(40, 16)), rng.normal(size=(40, 16)))
    assert many_high - many_low < few_high - few_low


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
