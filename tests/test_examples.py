"""The examples run, and say what they did."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hws_nnunet import HardnessWeightedBatchSampler
from tests.core.test_sampler import assert_same_state

EXAMPLES = Path(__file__).parents[1] / "examples"
QUIET = pytest.mark.filterwarnings("ignore:.*")


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other would keep other tests waiting
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are in a checkout alone")
@pytest.mark.parametrize(
    ("name", "needs", "steps"),
    [
        ("digits.py", ["sklearn"], "300"),
        ("lightning_module.py", ["sklearn", "lightning"], "74"),
        ("monai_unet.py", ["monai"], "18"),
    ],
)
def test_example(script, capsys, name, needs, steps):
    for module in needs:
        pytest.importorskip(module, reason=f"{module} is not installed")
    script(EXAMPLES / name, "--steps", steps)
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("uniform")
    assert said.splitlines()[1].startswith("by hardness")
    assert "effective sample size" in said
    with pytest.raises(SystemExit, match="0"):
        script(EXAMPLES / name, "--help")
    assert "--steps" in capsys.readouterr().out


@pytest.fixture
def lightning_example(monkeypatch):
    """Return the example's module."""
    for module in ("sklearn", "lightning"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "digits", raising=False)  # a benchmark of that name may have been imported
    import lightning_module

    return lightning_module


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the notebook is in a checkout alone")
def test_the_notebook_goes_to_the_report(script, capsys):
    """The site runs it as a notebook; here it runs as the script that it is stored as."""
    for module in ("pandas", "plotly", "statsmodels"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    script(EXAMPLES.parent / "docs" / "notebooks" / "phantom.py")
    said = capsys.readouterr().out
    assert "18 training cases, 12 held out" in said
    assert "hws      rare" in said
    assert "report.html" in said


def assert_equal_states(one, other):
    assert one["random"] == other["random"]
    assert_same_state(one["sampler"], other["sampler"])


@pytest.fixture
def fit(lightning_example, tmp_path):
    """Return a function that has Lightning train on samples whose losses are always the same."""
    import lightning

    class Known(lightning.LightningModule):
        def __init__(self, hardness, workers, skipped):
            super().__init__()
            self.hardness, self.workers, self.skipped = hardness, workers, skipped
            self.weight = torch.nn.Parameter(torch.ones(()))

        def train_dataloader(self):
            sampler = self.hardness.sampler
            return DataLoader(sampler.indexed(torch.arange(40)), batch_sampler=sampler, num_workers=self.workers)

        def training_step(self, batch, index):
            if index == self.skipped:
                return None
            return {"loss": self.weight.square(), "losses": batch[1].double() / 40, "index": batch[1]}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(*, workers=0, skipped=None, seed=0, checkpoint=None, **limits):
        hardness = lightning_example.HardnessWeighting(40, 8, seed=seed, smoothing=0.0)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(
            accelerator="cpu", callbacks=[hardness], default_root_dir=tmp_path / f"{seed}", **limits, **quiet
        )
        trainer.fit(Known(hardness, workers, skipped), ckpt_path=checkpoint)
        return hardness.sampler, trainer.checkpoint_callback.best_model_path

    return fit


@pytest.mark.slow
@QUIET
def test_lightning_draws_as_the_plain_loop_does(lightning_example):
    import digits

    dataset, *_ = digits.data()
    plain = HardnessWeightedBatchSampler(len(dataset), digits.BATCH, seed=0, ess=0.5)
    network = digits.train(dataset, 150, plain)
    hardness = lightning_example.HardnessWeighting(len(dataset), digits.BATCH, seed=0, ess=0.5)
    other = lightning_example.train(dataset, 150, hardness)
    assert plain.sampler.table.weighted
    assert_equal_states(plain.learnt.state_dict(), hardness.state_dict())
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


@pytest.mark.slow
@QUIET
def test_lightnings_answers_reach_the_right_samples(fit):
    """With workers, which ask for batches ahead, batches that are left out, and an end amid a pass."""
    sampler, _ = fit(workers=2, skipped=3, max_epochs=9, max_steps=43)
    table = sampler.sampler.table
    assert table.visits.sum() == (43 - 8) * 8
    assert table.hardness == pytest.approx(np.arange(40) / 40, abs=0.01)


@QUIET
def test_a_training_resumed_from_lightnings_checkpoint_equals_one_that_went_on(fit):
    whole, _ = fit(max_epochs=6)
    first, checkpoint = fit(max_epochs=3)
    saved = torch.load(checkpoint, weights_only=True)["callbacks"]["HardnessWeighting"]
    assert_equal_states(saved, first.learnt.state_dict())
    resumed, _ = fit(max_epochs=6, seed=1, checkpoint=checkpoint)
    assert resumed.sampler.table.visits.sum() == 6 * 5 * 8
    assert_equal_states(resumed.learnt.state_dict(), whole.learnt.state_dict())


@pytest.mark.slow
def test_lightning_on_two_devices(lightning_example):
    said = run("lightning_module.py", "--steps", "74", "--devices", "2")
    assert len(said.splitlines()) == 4, "the first process alone tells"
    assert said.splitlines()[1].startswith("by hardness")
