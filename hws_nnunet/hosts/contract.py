"""What the shared part takes from a host's trainer, and what a host's adapter defines for it; nothing else of either.

The types are mypy's to check: at run time the mixin stands on ``object``, so that the host's own methods are found.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from hws_nnunet.loop.ranks import Ranks

HostClass: Any = object
"""Base of what is mixed into the hosts' classes: what it takes from them has no types."""


class HostTrainer:
    """A host's trainer, as far as the shared part uses it."""

    loss: nn.Module
    """Called with output and target of a batch, or a list of such by resolution."""

    def print_to_log_file(self, *words: object) -> None:
        """Write a line to the training's log."""

    def run_training(self) -> object:
        """Train; the mixin has to come before the class that has this."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Call ``torch.save``, in the thread that called it, on a dictionary that holds the network's weights."""


if TYPE_CHECKING:
    _Trainer = HostTrainer
else:
    _Trainer = object


class Adapter(_Trainer):
    """What a host's mixin says of its host; :data:`DEFINED` has to be, the rest may be.

    Besides, its hooks call the mixin: ``_weigh`` once the training cases are known, ``_attach`` with each loader of
    training data, ``_check_loader`` with the augmenters, ``_record_losses`` before a step, ``_restored_sampler`` around
    loading a checkpoint, and of ``_active()`` the epochs' begin and end, ``after_step`` and ``write_record``.
    """

    _weights: str
    """Key of the network's weights in the host's checkpoints."""
    _softmax: Callable
    """With which the host's losses make probabilities of classes."""
    _wrapper: type[nn.Module] | None = None
    """The host's class that sums a loss, its ``loss``, over resolutions."""
    _ignore_label: int | None = None
    """Of the host's class numbers."""

    def _structures(self) -> Mapping[str, Hashable]:
        """Return the foreground classes or regions, in the network's order: name, and what the host's data call it."""
        raise NotImplementedError

    def _made_by(self) -> dict[str, str]:
        """Return what the log tells of where it has changed since a checkpoint was saved: the host's version, ..."""
        return {}

    def _ranks(self, values: int) -> Ranks | None:
        """Return the processes that train together, None where there is one.

        Args:
            values: how many are recorded of each sample.
        """
        return None

    def _saves(self) -> bool:
        """Return whether ``save_checkpoint`` is to save something, in this process."""
        return True


DEFINED = ("_weights", "_softmax", "_structures")
TAKEN = ("print_to_log_file", "run_training", "save_checkpoint")
"""Methods of a host's trainer that are used."""


def check_adapter(cls: type) -> None:
    """Raise a ``TypeError`` that names what a trainer of ours lacks of its adapter, or of its host."""
    lacks = [name for name in DEFINED if getattr(cls, name, None) in (None, vars(Adapter).get(name))]
    hosts = [base for base in cls.__mro__ if not issubclass(base, Adapter)]
    lacks += [name for name in TAKEN if not any(name in vars(base) for base in hosts)]
    if lacks:
        raise TypeError(f"class {cls.__name__} lacks {', '.join(lacks)}: hws_nnunet/hosts/contract.py tells what it is")
