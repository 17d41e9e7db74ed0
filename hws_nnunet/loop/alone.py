"""One sample of a batch alone, and a loss of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from torch import Tensor

Resolutions = Tensor | Sequence[Tensor]
"""What nnU-Net calls a loss with: a tensor, or one for each resolution, the full one first."""
Batch = Tensor | Sequence[Any] | Mapping[str, Any]
"""What any loss is called with: a tensor ``(B, ...)``, or a list, tuple or mapping of such."""


def loss_alone(loss: Callable, output: Batch, target: Batch) -> Tensor:
    """Return a loss of one sample, a scalar; arguments are batches of that sample.

    Raises:
        TypeError: the loss does not give one number.
        RuntimeError: it fails.
    """
    name = name_of(loss)
    try:
        value = loss(output, target)
    except Exception as error:
        raise RuntimeError(
            f"the loss {name} fails with one sample alone, of which it is to be tracked: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"the loss {name} gives {kind} for one sample, expected one number")
    return value.reshape(())


def name_of(loss: Callable) -> str:
    """Return what a loss is called in messages."""
    return getattr(loss, "__name__", type(loss).__name__)


def sample_of(value: Batch, index: int) -> Any:
    """Return one sample of a batch, as a batch; a copy, because a loss may write into what it is given."""
    return changed(value, lambda tensor: tensor[index : index + 1].clone())


def changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch with each of its tensors changed; lists, tuples and mappings keep their types.

    Raises:
        TypeError: for something else than these, and None.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        parts = {key: changed(part, change) for key, part in value.items()}
        if not isinstance(value, MutableMapping):
            return parts
        whole = copy.copy(value)
        for key, part in parts.items():
            whole[key] = part
        return whole
    if isinstance(value, (list, tuple)):
        members = [changed(part, change) for part in value]
        return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
    if value is None:
        return None
    raise TypeError(
        f"a loss is called with a tensor, or a list, tuple or mapping of tensors, each (B, ...), given: "
        f"{type(value).__name__}"
    )


def tensors_of(value: Batch) -> Iterator[Tensor]:
    """Yield a batch's tensors."""
    tensors: list[Tensor] = []
    changed(value, lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
    yield from tensors


def samples_in(name: str, value: Batch) -> int:
    """Return how many samples a batch has.

    Args:
        name: of what it is, for messages.
        value: the batch.

    Raises:
        TypeError: for something else than tensors, lists, tuples and mappings.
        ValueError: its tensors are none, have no samples, or other numbers of them.
    """
    sizes = sorted({len(tensor) if tensor.ndim else 0 for tensor in tensors_of(value)})
    if len(sizes) != 1 or not sizes[0]:
        raise ValueError(
            f"{name} has {' or '.join(map(str, sizes)) or 'no'} samples in its tensors, expected one number"
        )
    return sizes[0]
