"""Hardness weighted sampling in any PyTorch loop: a batch sampler for ``torch.utils.data.DataLoader``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import BatchSampler

from hws_nnunet.config import Settings, parse_settings
from hws_nnunet.core import HardnessWeightedSampler
from hws_nnunet.core.shares import batch_shares
from hws_nnunet.loop.answers import checked_answers
from hws_nnunet.loop.indexed import Indexed
from hws_nnunet.loop.learnt import Learnt
from hws_nnunet.loop.ranks import Ranks

_WITHOUT_MEANING = {
    "draw_by": "the loss is the one that you give",
    "structure_beta": "patches are yours",
    "case_weights": "give weights",
    "groups": "give groups",
    "group_column": "give groups",
    "tensorboard": "your loop logs",
}
_BLIND = 100  # losses in a row of which none is finite, after which that is told, once


class HardnessWeightedBatchSampler(BatchSampler):  # by its type alone, which ignite asks for
    """Draws batches of a map-style data set by hardness; for ``DataLoader(..., batch_sampler=...)``.

    ::

        sampler = HardnessWeightedBatchSampler(len(dataset), batch_size=16, ess=0.3)
        loader = DataLoader(sampler.indexed(dataset), batch_sampler=sampler, num_workers=4)
        for image, label, index in loader:
            losses = per_sample(criterion, network(image), label)
            losses.mean().backward()
            sampler.update(losses, index)

    A loss belongs to the sample whose index came with it: batches may be reordered, split, left out, repeated, or asked
    for ahead, by workers and by whatever wraps the loader.

    Where PyTorch's process group is initialised, every rank makes one, of the same size and settings, draws for itself,
    and takes in the answers of all; all ranks have to call :meth:`update` equally often.

    Args:
        size: of the data set.
        batch_size: at least 1; of this rank.
        steps_per_epoch: batches of one pass over the loader; default: as many as uniform sampling needs to see all.
        seed: of the draws; default one of PyTorch's random numbers, so that ``torch.manual_seed`` is enough.
        weights: ``(size,)``, above 0, in any unit: how often samples are drawn where hardness says nothing; no sample
            comes twice in a batch, so that high weights have less effect (:meth:`shares`).
        groups: ``(size,)``, name of each sample's group, over which hardness is pooled.
        settings: see :class:`~hws_nnunet.config.Settings`; or give them by name: ``ess=0.3, cap=None``.
        **options: settings by name.

    Attributes:
        sampler: the :class:`~hws_nnunet.core.HardnessWeightedSampler`, which tells hardness (``sampler.table``),
            probabilities and stalled samples.
        learnt: has ``state_dict()`` and ``load_state_dict()``, for checkpoints.

    Raises:
        ValueError: for sizes that are not whole numbers from 1 on, weights or groups of another number of samples,
            weights that are not positive, settings given twice or without a meaning here.
        SettingsError: for settings that cannot be used.
    """

    sampler: HardnessWeightedSampler  # type: ignore[assignment]

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        steps_per_epoch: int | None = None,
        seed: int | None = None,
        weights: Sequence[float] | None = None,
        groups: Sequence[str] | None = None,
        settings: Settings | None = None,
        **options: object,
    ):
        _check_whole(size=size, batch_size=batch_size)
        steps_per_epoch = -(-size // batch_size) if steps_per_epoch is None else steps_per_epoch
        _check_whole(steps_per_epoch=steps_per_epoch)
        tables = {"case_weights": weights, "groups": groups}
        settings = _settings(settings, options, [name for name, values in tables.items() if values is not None])
        self.batch_size, self.steps_per_epoch = int(batch_size), int(steps_per_epoch)
        seed = int(torch.randint(2**62, ())) if seed is None else seed
        self._ranks = Ranks(batch_size, 1)
        self._rng = np.random.default_rng([seed, self._ranks.rank])
        self.sampler = HardnessWeightedSampler(range(size), settings, prior=weights, groups=groups, rng=self._rng)
        self.learnt = Learnt(self.sampler, self._rng, self._ranks)
        self._drawn_at = np.full(size, -1, dtype=np.int64)  # the table's version, by sample; -1: never
        self._blind = 0.0

    def indexed(self, dataset: Any, *, key: str = "index") -> Indexed:
        """Return the data set, each sample with its index, under this key in mappings; see :class:`Indexed`."""
        return Indexed(dataset, len(self.sampler), key)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield batches of indices, each of ``batch_size``.

        Raises:
            RuntimeError: there are several ranks, and this was made before their process group.
        """
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > self._ranks.count:
            raise RuntimeError(
                "this batch sampler was made before PyTorch's process group, so that ranks would know nothing of each "
                "other: make it after init_process_group"
            )
        return (self._draw() for _ in range(self.steps_per_epoch))

    def _draw(self) -> list[int]:
        if self.sampler.weighs_cases:
            ids, version = self.sampler.draw_cases(self.batch_size, self._rng)
        else:
            size, version = len(self.sampler), self.sampler.table.version
            ids = self._rng.choice(size, self.batch_size, replace=self.batch_size > size)
        self._drawn_at[ids] = version
        return ids.tolist()

    def update(
        self,
        losses: Tensor | np.ndarray | Sequence[float],
        indices: Tensor | np.ndarray | Sequence[int] | None = None,
    ) -> None:
        """Take in samples' losses: a batch's, or a part of one; both empty where a rank has nothing to answer.

        Args:
            losses: ``(B,)``. What is not finite counts as a visit and changes nothing else.
            indices: ``(B,)``, as they came with the batch; they have to be given.

        Raises:
            TypeError: no indices, or some that are not whole numbers.
            ValueError: not one index for each loss, or one that the data set has not.
            RuntimeError: a sample that was never drawn; ranks that did not all answer.
        """
        ids, values = checked_answers(losses, indices, len(self.sampler))
        drawn_at = self._drawn_at[ids]
        if self._ranks.count == 1 and (drawn_at < 0).any():
            raise RuntimeError(f"sample {ids[drawn_at < 0][0]} was never drawn: these are not its indices")
        values = self._ranks.update(self.sampler, ids, values, version=int(drawn_at.min()) if len(ids) else None)
        self._blind = 0.0 if np.isfinite(values).any() else self._blind + len(values)
        if self._blind >= _BLIND:
            self._blind = -math.inf
            told = f"none of the last {_BLIND} losses was finite: nothing is learnt of any sample"
            warnings.warn(told, stacklevel=2)

    def shares(self) -> np.ndarray:
        """Return each sample's share of all that is drawn, ``(size,)``, as weights and hardness are now."""
        p = self.sampler.probabilities()
        return p if self.sampler.settings.with_replacement else batch_shares(p, self.batch_size)

    def importance_weights(self, losses: Tensor, indices: Tensor | Sequence[int]) -> Tensor:
        """Return weights ``(B,)`` in ``[0.1, 10]`` for samples' new losses ``(B,)``, before these are taken in.

        ``exp(beta (1 - smoothing) (new - tracked))``: by as much the sample's probability would be larger, had its draw
        used the new loss (Fidon et al., arXiv 2001.02658, section 3.3). 1 while draws are not weighted.
        """
        ids, _ = checked_answers(losses, indices, len(self.sampler))
        losses, table = losses.detach(), self.sampler.table
        if not table.weighted:
            return torch.ones_like(losses)
        gap = losses - torch.from_numpy(table.hardness[ids]).to(losses)
        rate = table.beta_in_force * (1 - self.sampler.settings.smoothing)
        return torch.exp(rate * gap.nan_to_num(0.0)).clamp(0.1, 10.0)

    def __getattr__(self, name: str) -> NoReturn:
        of_state = name in ("state_dict", "load_state_dict")
        told = ": loaders would put an older state over a newer one; use sampler.learnt's" if of_state else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{told}")


def _check_whole(**sizes: object) -> None:
    for name, value in sizes.items():
        if not isinstance(value, Integral) or int(value) < 1:
            raise ValueError(f"{name} has to be a whole number, at least 1, given: {value!r}")


def _settings(settings: Settings | None, options: dict[str, object], beside: Sequence[str]) -> Settings:
    """Return the settings that are given, as a whole or by name, or raise a ``ValueError``."""
    if settings is not None and options:
        raise ValueError(f"settings are given as a whole, and {', '.join(options)} by name: give one of both")
    if settings is None:
        settings = parse_settings(options, "HardnessWeightedBatchSampler", beside=beside)
    if wrong := sorted(_WITHOUT_MEANING.keys() & settings.model_fields_set):
        told = "; ".join(f"{name} has no meaning outside of nnU-Net: {_WITHOUT_MEANING[name]}" for name in wrong)
        raise ValueError(told)
    return settings
