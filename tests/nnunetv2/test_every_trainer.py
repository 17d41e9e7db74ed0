"""The mixin on every trainer that the installed nnU-Net v2 has: three steps, a checkpoint saved and loaded."""

import functools
import re
from pathlib import Path

import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from hws_nnunet.nnunetv2.trainer import HardnessWeightingMixin
from tests.core.test_sampler import assert_same_state
from tests.every_trainer import classes_below, parameters, train_with, trainer_class
from tests.nnunetv2.test_trainer import trainer_of

TRAINERS = classes_below("nnunetv2", ("training", "nnUNetTrainer"), "nnUNetTrainer")
CANNOT = {
    "nnUNetTrainerBenchmark_5epochs": "saves no checkpoint, and needs CUDA",
    "nnUNetTrainerBenchmark_5epochs_noDataLoading": "loads no data: there is nothing to draw",
}


def one_layer(monkeypatch):
    """Have Primus's transformers of up to 24 layers built with one."""
    from dynamic_network_architectures.architectures import primus

    eva = primus.Eva
    monkeypatch.setattr(primus, "Eva", functools.wraps(eva)(lambda *args, depth, **kw: eva(*args, depth=1, **kw)))


@pytest.mark.parametrize("name", parameters(TRAINERS, HardnessWeightingMixin))
def test_trains_saves_and_loads(workspace, monkeypatch, tmp_path, name):
    if name in CANNOT:
        pytest.skip(f"{name} {CANNOT[name]}")
    host, file = trainer_class(TRAINERS[name][0], name), tmp_path / "checkpoint.pth"
    if "rimus" in name:
        one_layer(monkeypatch)

    def trained(cls):
        trainer = trainer_of(workspace, monkeypatch, cls)
        trainer.on_train_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train)) for _ in range(3)])
        trainer.save_checkpoint(str(file))
        again = trainer_of(workspace, monkeypatch, cls)
        again.load_checkpoint(str(file))
        file.unlink()  # up to 160 MB
        return trainer, again

    again, state = train_with(HardnessWeightingMixin, host, trained)
    again.get_dataloaders()
    assert_same_state(again.sampler.state_dict(), state)


@pytest.fixture
def documented(workspace, monkeypatch, tmp_path):
    """Return a function that makes a trainer of the how-to page: as it stands there, found by nnU-Net's finder."""
    from hws_nnunet.nnunetv2.host import find_trainer
    from hws_nnunet.registration import needs_registering

    if needs_registering():
        pytest.skip("nnUNet_extTrainer came with nnunetv2 2.8")
    text = Path(__file__).parents[2].joinpath("docs", "howto", "trainer.md").read_text(encoding="utf-8")
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        (tmp_path / f"my_trainers{i}.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))

    def trained(name):
        trainer = trainer_of(workspace, monkeypatch, find_trainer(name))
        trainer.initialize()
        training, _ = trainer.get_dataloaders()
        for _ in range(3):
            trainer.train_step(next(training))
        assert trainer.sampler.table.visits.sum() == 6
        return trainer

    return trained


def test_the_documented_trainer_of_ones_own(documented):
    trainer = documented("Mine")
    assert trainer.inference_allowed_mirroring_axes is None
    assert trainer.settings.ess == 0.3


def test_the_documented_network_of_monais(documented):
    pytest.importorskip("monai", reason="MONAI is not installed")
    assert "MedNeXt" in type(documented("MedNeXtTrainer").network).__name__
