"""Where our adapter meets nnU-Net v2, over hosts of a few lines."""

import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")

from hws_nnunet.facts.versions import STATE
from hws_nnunet.nnunetv2 import host
from hws_nnunet.nnunetv2.trainer import HardnessWeightingMixin


class Logger:
    """Keeps what it gets, as one of Weights & Biases would."""

    def __init__(self):
        self.got = []

    def log(self, key, value, step):
        self.got.append((key, value, step))


class Several(Logger):
    """As nnU-Net 2.7 and later have: a local logger, which takes nnU-Net's own names alone, and others beside it."""

    def __init__(self, *others):
        super().__init__()
        self.loggers = list(others)


def test_values_reach_the_loggers_beside_the_hosts_own():
    one, other = Logger(), Logger()
    logger = Several(one, other)
    host.log_beside(logger, {"hardness/ess": 12.5, "hardness/beta": 3.0}, 7)
    assert one.got == other.got == [("hardness/ess", 12.5, 7), ("hardness/beta", 3.0, 7)]
    assert logger.got == []


def test_a_logger_without_others_gets_nothing():
    logger = Logger()  # as nnU-Net 2.6 has
    host.log_beside(logger, {"hardness/ess": 12.5}, 7)
    assert logger.got == []


class Host:
    def print_to_log_file(self, *words):
        print(*words)

    def run_training(self):
        pass

    def save_checkpoint(self, filename):
        torch.save({"network_weights": [1.0], STATE: {"version": 3}}, filename)

    def load_checkpoint(self, checkpoint_or_file, *, strict=True):
        """With other names than nnU-Net 2.8.1 has."""
        self.loaded = torch.load(checkpoint_or_file, weights_only=True), strict


class Trainer(HardnessWeightingMixin, Host):
    pass


@pytest.mark.parametrize("by_name", [False, True])
def test_checkpoints_are_loaded_whatever_the_host_calls_its_arguments(tmp_path, by_name):
    file, trainer = tmp_path / "checkpoint.pth", Trainer()
    Host().save_checkpoint(file)
    if by_name:
        trainer.load_checkpoint(checkpoint_or_file=file, strict=False)
    else:
        trainer.load_checkpoint(file, strict=False)
    assert trainer.loaded[1] is False
    assert trainer._saved_state == {"version": 3}
    assert trainer._saved_in == file
