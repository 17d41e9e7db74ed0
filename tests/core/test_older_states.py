"""States that earlier versions saved: they load, and the training goes on as it would have gone on then."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core.columns import current_format
from tests.valid import fault_of

STATES = torch.load(Path(__file__).parent / "states" / "format_4.pt", weights_only=True)
"""Saved by format 4, with what it computed after some more updates."""


@pytest.mark.parametrize("name", ["plain", "known", "in_the_sweep"])
def test_format_4(name):
    saved = STATES[name]
    state = saved["state"]
    assert state["format"] == 4 < current_format()
    known = {"prior": STATES["prior"].numpy(), "groups": STATES["groups"]} if name == "known" else {}
    settings = Settings(ess=0.5)  # the default of then
    sampler = HardnessWeightedSampler(state["names"], settings, structures=state["structures"], **known)
    sampler.load_state_dict(state)
    assert fault_of(sampler) == ""
    assert np.isnan(sampler.table.other_loss).all(), "format 6 has it"
    assert sampler.table.visits.tolist() == state["visits"].tolist()
    assert sampler.table.structure_hardness == pytest.approx(state["structure_hardness"].numpy(), nan_ok=True)
    for cases, losses in saved["later"]:
        structures = np.stack([losses, np.array(losses) / 2], 1)
        sampler.update(cases, losses, structures=structures, version=max(0, sampler.table.version - 3))
    sampler.refresh()
    assert sampler.table.hardness == pytest.approx(saved["hardness"].numpy(), rel=1e-9)
    assert sampler.table.level == pytest.approx(saved["level"])
    assert sampler.table.beta_in_force == pytest.approx(saved["beta"], rel=1e-3)
    assert sampler.reliability == pytest.approx(saved["reliability"])
    assert sampler.smallest_effective_sample_size == pytest.approx(saved["bound"])
    assert list(sampler.stalled) == saved["stalled"]
    assert sampler.probabilities() == pytest.approx(saved["probabilities"].numpy(), rel=1e-3)
