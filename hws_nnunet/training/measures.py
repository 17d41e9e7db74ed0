"""What is recorded of each sample beside a host's loss: that loss of the sample alone, and its Dice by structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hws_nnunet.training.losses import SampleLosses

Resolutions = Tensor | list[Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True)
class KnownLoss:
    """A host's loss that our own functions compute for all samples of a batch at once."""

    options: dict[str, object]
    """Of our function: weights and smoothing, as the host's loss has them."""

    dice: nn.Module
    """Its part that makes probabilities of logits, by an attribute ``apply_nonlin``."""


@dataclass(frozen=True)
class HostLosses:
    """What a host's adapter knows of losses."""

    per_sample: Callable[..., SampleLosses]
    """Our own function of full-resolution logits and target, with ``probabilities`` and a known loss's options."""

    known: Callable[[nn.Module], KnownLoss | None]
    """Tells what our own function has to be given to equal a host's loss; None where it cannot."""

    wrapper: type
    """The host's deep supervision: calls its ``loss`` with each resolution."""


@dataclass
class SampleMeasures:
    """Tells what is recorded of each sample: the host's loss of it alone, then its Dice.

    What our own function reproduces, it computes, for all samples at once. Any other loss of the host is called with
    one sample at a time, which takes about as long again as the host's own call. Which of the two is looked at in each
    step: a loss may change while a network trains.

    Args:
        host_loss: what the host trains with.
        losses: of that host.
    """

    host_loss: nn.Module
    losses: HostLosses

    def known(self) -> KnownLoss | None:
        """Return what our own function has to be given to equal the host's loss; None where it cannot."""
        return self.losses.known(self._at_one_resolution())

    def dice_of(self, output: Resolutions) -> nn.Module | None:
        """Return the host's module whose probabilities a call can be given; None where there is none.

        A compiled module has none: it would be compiled anew if its attributes changed.

        Args:
            output: of the network, a list where it has several resolutions.

        Raises:
            NotImplementedError: the loss takes several resolutions, and its part of one is not known.
        """
        if not isinstance(output, Tensor) and not isinstance(uncompiled(self.host_loss), self.losses.wrapper):
            raise NotImplementedError(
                f"the loss {name_of(self.host_loss)} takes the network's output at several resolutions at once, and "
                "hardness weighted sampling needs that of the full resolution: have "
                f"{self.losses.wrapper.__name__} call a loss of one resolution, or train without deep supervision"
            )
        known = self.known()
        if known is None or any(_compiled(module) for module in self.host_loss.modules()):
            return None
        return known.dice

    def __call__(self, logits: Tensor, target: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """Return ``(B, 2 + K)`` of full-resolution logits and target: ``dice_ce``, ``dice_present``, then structures.

        Raises:
            TypeError: the host's loss does not give one number for one sample.
            RuntimeError: it fails with one sample.
        """
        known = self.known()
        if known is not None:
            return self.losses.per_sample(logits, target, probabilities=probabilities, **known.options).stacked()
        loss = self._at_one_resolution()
        alone = [_loss_alone(loss, logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))]
        own = self.losses.per_sample(logits, target)
        return own._replace(loss=torch.stack(alone) if alone else own.loss).stacked()

    def _at_one_resolution(self) -> nn.Module:
        loss = uncompiled(self.host_loss)
        return uncompiled(loss.loss) if isinstance(loss, self.losses.wrapper) else loss


@contextmanager
def watched_probabilities(dice: nn.Module, logits: Tensor) -> Iterator[list[Tensor]]:
    """Yield a list that receives what the host's Dice makes of these very logits in the block, without gradient.

    Its other calls, of lower resolutions, are left alone, as is what it returns. Only float32 is kept.
    """
    original, found = dice.apply_nonlin, []

    def watched(values: Tensor) -> Tensor:
        probabilities = original(values)
        if values is logits and probabilities.dtype == torch.float32:
            found[:] = [probabilities.detach()]
        return probabilities

    dice.apply_nonlin = watched
    try:
        yield found
    finally:
        dice.apply_nonlin = original


def uncompiled(loss: nn.Module) -> nn.Module:
    """Return the module within one that ``torch.compile`` returned; any other as it is."""
    return getattr(loss, "_orig_mod", loss)


def matches(module: nn.Module, kinds: type | tuple[type, ...], **attributes: object) -> bool:
    """Tell whether a module is of exactly one of these classes, not one derived from it, with these attributes.

    An attribute that the module's class does not have in every version of the host counts as None.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if type(module) not in kinds or "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    return all(_same(getattr(module, name, None), value) for name, value in attributes.items())


def _same(found: object, expected: object) -> bool:
    return found is expected or (
        not isinstance(found, Tensor) and type(found) in (bool, int, float, str) and found == expected
    )


def name_of(loss: object) -> str:
    """Return the name of a loss's class, or of a function."""
    loss = uncompiled(loss)
    return getattr(loss, "__name__", type(loss).__name__)


def _compiled(module: nn.Module) -> bool:
    return uncompiled(module) is not module or getattr(module, "_compiled_call_impl", None) is not None


@torch.no_grad()
def _loss_alone(loss: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
    """Return a host's loss of one sample; copies, because a loss may write into what it is given."""
    try:
        value = loss(logits.clone(), target.clone())
    except Exception as error:
        raise RuntimeError(
            f"the loss {name_of(loss)} fails with one sample alone, of which hardness weighted sampling needs it: "
            f"logits of shape {tuple(logits.shape)}, target of shape {tuple(target.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"the loss {name_of(loss)} gives {given} for one sample, expected one number: hardness weighted sampling "
            "tracks each sample's loss"
        )
    return value.detach().float().reshape(())
