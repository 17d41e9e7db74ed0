"""Several ranks, real processes over gloo: tables stay equal, draws follow the closed form, sweeps are shared."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import forks
from tests.core import naive
from tests.core.test_sampler import assert_same_state

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("rank_process.py")
MERGED = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
LOSSES = np.linspace(0.2, 0.8, 10).tolist()


@pytest.fixture
def run(tmp_path):
    def run(
        sizes, *, losses=LOSSES, steps=500, settings=None, spoil=None, state=None, loader=False, real=False, leaves=None
    ):
        job = {"losses": losses, "sizes": sizes, "steps": steps, "settings": settings or {}}
        job |= {"spoil": spoil, "state": state and str(state), "loader": loader, "leaves": leaves}
        (tmp_path / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(len(sizes))]
        if not real:  # ranks need not import all again
            command += ["--start-method", "fork", "--run-path"]
        command += [str(SCRIPT), str(tmp_path / "job.json"), str(tmp_path / "out")]
        done = subprocess.run(command, text=True, timeout=300, check=False, **MERGED) if real else forks.run(command)
        assert done.returncode == 0, done.stdout[-3000:]
        return [torch.load(tmp_path / f"out.{rank}", weights_only=True) for rank in range(len(sizes))]

    return run


def without_order(state):
    return {key: value for key, value in state.items() if key != "order"}


@pytest.mark.parametrize("sizes", [[2, 1], [1, 2, 1, 1]])
def test_tables_stay_equal_and_all_draws_together_follow_the_closed_form(run, sizes):
    steps = 6000 // sum(sizes)
    found = run(sizes, steps=steps)
    for one in found[1:]:
        assert_same_state(without_order(one["state"]), without_order(found[0]["state"]))
    assert found[0]["state"]["version"] == steps
    assert [one["message"] for one in found] == [""] * len(sizes)
    late = np.concatenate([np.concatenate(one["drawn"][steps // 2 :]) for one in found])
    shares = np.bincount(late, minlength=10) / len(late)
    expected = sum(naive.inclusion(found[0]["p"].numpy(), size) * size for size in sizes) / sum(sizes)
    assert naive.total_variation(shares, expected / expected.sum()) < 0.05
    assert found[0]["p"].max() > 0.15, "they are not uniform"
    answered = np.bincount(np.concatenate([np.concatenate(one["drawn"]) for one in found]), minlength=10)
    assert found[0]["state"]["visits"].tolist() == answered.tolist()


@pytest.mark.parametrize("sizes", [[2, 1], [1, 1, 1, 1]])
def test_the_first_sweep_is_shared_out(run, sizes):
    steps = 12 // sum(sizes)
    found = run(sizes, losses=[0.5] * 12, steps=steps)
    drawn = np.concatenate([np.concatenate(one["drawn"]) for one in found])
    assert sorted(drawn.tolist()) == list(range(12))
    assert found[0]["state"]["weighted"]


def test_a_table_that_differs_is_told_on_every_rank(run):
    found = run([1, 1, 1], steps=20, spoil=1)
    for one in found:
        assert one["message"].startswith("rank 0's table differs from that of rank 1: ")


def test_a_training_goes_on_with_another_number_of_ranks(run, tmp_path):
    first = run([1, 1], steps=100)
    torch.save(first[0]["state"], tmp_path / "state")
    more = run([1, 1, 1], steps=100, state=tmp_path / "state")
    assert more[0]["state"]["version"] == 200
    assert more[0]["state"]["visits"].sum() == 200 + 300
    for one in more[1:]:
        assert_same_state(without_order(one["state"]), without_order(more[0]["state"]))


def test_batches_of_any_loop_are_shared_out_too(run):
    """Also where one rank has nothing to answer, and the other more than it said that it would have."""
    found = run([2, 1], steps=200, loader=True, real=True)
    assert_same_state(without_order(found[0]["state"]), without_order(found[1]["state"]))
    assert found[0]["state"]["visits"].sum() == 160 * 3 + 40 * 4
    together = [np.concatenate(pair) for pair in zip(*(one["drawn"] for one in found), strict=True)]
    assert len(set(np.concatenate(together[:3]))) == 9, "each begins the warm-up pass at its own place"
    for one in found:
        assert "made before PyTorch's process group" in one["message"], "of another one, which was"


def test_a_rank_that_ends_is_told(run):
    found = run([1, 1], steps=20, leaves=1)
    assert found[0]["message"].startswith("rank 0 waited in vain for the others: one has ended")
