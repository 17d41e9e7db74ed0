"""Counts the operations that a device is told of, on any machine: on a GPU each of them starts a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

FREE = frozenset({"view", "_unsafe_view", "slice", "select", "unsqueeze", "squeeze", "expand", "detach", "alias", "t"})
FREE |= {"empty", "empty_like", "new_empty", "empty_strided", "as_strided", "permute", "transpose", "unbind", "split"}
"""Views, and what makes room."""


class Operations(TorchDispatchMode):
    """Keeps the names of a block's operations, all but those of :data:`FREE`."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if name not in FREE:
            self.names.append(name)
        return function(*args, **(kwargs or {}))
