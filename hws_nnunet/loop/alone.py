"""One sample of a batch alone, and a loss of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

Resolutions = Tensor | Sequence[Tensor]
"""What a loss is called with: a tensor, or one for each resolution, the full one first."""


def loss_alone(loss: Callable, output: Resolutions, target: Resolutions) -> Tensor:
    """Return a loss of one sample, a scalar; arguments are batches of that sample.

    Raises:
        TypeError: the loss does not give one number.
        RuntimeError: it fails.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    try:
        value = loss(output, target)
    except Exception as error:
        raise RuntimeError(
            f"the loss {name} fails with one sample alone, of which it is to be tracked: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"the loss {name} gives {given} for one sample, expected one number")
    return value.reshape(())


def sample_of(value: Resolutions, index: int) -> Resolutions:
    """Return one sample of a batch, as a batch; a copy, because a loss may write into what it is given."""
    if isinstance(value, Tensor):
        return value[index : index + 1].clone()
    return [part[index : index + 1].clone() for part in value]
