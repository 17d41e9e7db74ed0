"""Saved states with tensors for arrays: so ``torch.load(weights_only=True)`` reads them, which runs no code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def with_tensors(value: Any) -> Any:
    """Return a state of nested dictionaries in which each array has become a tensor that shares its memory."""
    if isinstance(value, dict):
        return {key: with_tensors(one) for key, one in value.items()}
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
