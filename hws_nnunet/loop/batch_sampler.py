"""Hardness weighted sampling in any PyTorch loop: a batch sampler for ``torch.utils.data.DataLoader``."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from hws_nnunet.config import Settings, parse_settings
from hws_nnunet.core import DrawnCases, HardnessWeightedSampler
from hws_nnunet.loop.ranks import Ranks

_WITHOUT_MEANING = {
    "draw_by": "the loss is the one that you give",
    "structure_beta": "patches are yours",
    "case_weights": "give weights",
    "groups": "give groups",
    "group_column": "give groups",
    "tensorboard": "your loop logs",
}


class HardnessWeightedBatchSampler(Sampler[list[int]]):
    """Draws batches of a map-style data set by hardness; for ``DataLoader(dataset, batch_sampler=...)``.

    ::

        sampler = HardnessWeightedBatchSampler(len(dataset), batch_size=16, ess=0.3)
        loader = DataLoader(dataset, batch_sampler=sampler, num_workers=4)
        for batch in loader:
            losses = per_sample(criterion, output, target)
            losses.mean().backward()
            sampler.update(losses)

    A loader asks for batches ahead of the training: those that it has asked for and that are not answered yet are
    *out*. An answer without indices is for the oldest of them, so every batch has to be answered, in order; one that is
    not is to be skipped (:meth:`skip`), or give indices. A new pass over the loader forgets what is out, so that a
    ``break`` shifts nothing; the pass before it has ended then.

    Where PyTorch's process group is initialised, every rank makes one, of the same size and settings, draws for itself,
    and takes in the answers of all; all ranks have to answer equally often.

    Args:
        size: of the data set.
        batch_size: at least 1; of this rank.
        steps_per_epoch: batches of one pass over the loader; default: as many as uniform sampling needs to see all.
        seed: of the draws; default one of PyTorch's random numbers, so that ``torch.manual_seed`` is enough.
        weights: ``(size,)``, above 0, in any unit: how often samples are drawn where hardness says nothing.
        groups: ``(size,)``, name of each sample's group, over which hardness is pooled.
        settings: see :class:`~hws_nnunet.config.Settings`; or give them by name: ``ess=0.3, cap=None``.
        **options: settings by name.

    Attributes:
        sampler: the :class:`~hws_nnunet.core.HardnessWeightedSampler`, which tells hardness (``sampler.table``),
            probabilities and stalled samples.

    Raises:
        ValueError: for sizes that are no whole numbers from 1 on, weights or groups of another number of samples,
            weights that are not positive, settings given twice or without a meaning here.
        SettingsError: for settings that cannot be used.
    """

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
        steps_per_epoch = -(-size // (batch_size or 1)) if steps_per_epoch is None else steps_per_epoch
        for name, value in (("size", size), ("batch_size", batch_size), ("steps_per_epoch", steps_per_epoch)):
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} has to be a whole number, at least 1, given: {value!r}")
        if settings is not None and options:
            raise ValueError(f"settings are given as a whole, and {', '.join(options)} by name: give one of both")
        settings = parse_settings(options, "HardnessWeightedBatchSampler") if settings is None else settings
        if wrong := sorted(_WITHOUT_MEANING.keys() & settings.model_fields_set):
            told = "; ".join(f"{name} has no meaning outside of nnU-Net: {_WITHOUT_MEANING[name]}" for name in wrong)
            raise ValueError(told)
        self.batch_size, self.steps_per_epoch = int(batch_size), int(steps_per_epoch)
        seed = int(torch.randint(2**62, ())) if seed is None else seed
        self._ranks = Ranks(batch_size, 1) if dist.is_available() and dist.is_initialized() else None
        rank = 0 if self._ranks is None else self._ranks.rank
        self._rng = np.random.default_rng([seed, rank])
        names = [str(i) for i in range(size)]
        self.sampler = HardnessWeightedSampler(names, settings, prior=weights, groups=groups, rng=self._rng)
        self._share_sweep()
        self._out: deque[DrawnCases] = deque()
        self._passes, self._complete = 0, False

    def _share_sweep(self) -> None:
        if self._ranks is not None:
            self._ranks.share_sweep(self.sampler.table)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield batches of indices, each of ``batch_size``; what is out of an earlier pass is forgotten.

        Raises:
            RuntimeError: there are several ranks, and this was made before their process group.
        """
        if self._ranks is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise RuntimeError(
                "this batch sampler was made before PyTorch's process group, so that ranks would know nothing of each "
                "other: make it after init_process_group"
            )
        if self._complete and self._out:
            warnings.warn(
                f"{len(self._out)} of the last pass's {self.steps_per_epoch} batches were not answered: if these were "
                "not its last ones, answers went to other samples; skip such batches, or give update the indices",
                stacklevel=2,
            )
        self._out.clear()  # at once, not when the first batch is asked for
        self._passes, self._complete = self._passes + 1, False
        return self._batches(self._passes)

    def _batches(self, number: int) -> Iterator[list[int]]:
        for _ in range(self.steps_per_epoch):
            if number != self._passes:
                raise RuntimeError("another pass has begun since: one batch sampler serves one loop at a time")
            drawn = self._draw()
            self._out.append(drawn)
            yield drawn.ids.tolist()
        self._complete = True

    def _draw(self) -> DrawnCases:
        if self.sampler.weighs_cases:
            return self.sampler.draw_cases(self.batch_size, self._rng)
        size, replace = len(self.sampler), self.batch_size > len(self.sampler)
        ids = self._rng.choice(size, self.batch_size, replace=replace)
        return DrawnCases(ids, self.sampler.table.version)

    def update(self, losses: Tensor | np.ndarray | Sequence[float], indices: Sequence[int] | None = None) -> None:
        """Take in a batch's losses.

        Args:
            losses: ``(B,)``, in the batch's order. What is not finite counts as a visit and changes nothing else.
            indices: the batch's, ``(B,)``; default those of the oldest batch that is out.

        Raises:
            RuntimeError: no batch is out, or none with these indices.
            ValueError: not one loss for each sample; the batch stays out.
        """
        place = self._place(indices)
        drawn = self._out[place]
        losses = losses.detach().cpu().double().numpy() if isinstance(losses, Tensor) else np.asarray(losses, float)
        if losses.shape != (len(drawn.ids),):
            raise ValueError(f"losses of shape {losses.shape} given, expected one for each of {len(drawn.ids)} samples")
        cases, version = drawn.ids, drawn.version
        if self._ranks is not None:
            cases, values, version = self._ranks.gather(cases, losses[:, None], version)
            losses = values[:, 0]
        self.sampler.update(cases, losses, version=version)
        del self._out[place]

    def skip(self) -> None:
        """Say that the oldest batch that is out will not be answered.

        Raises:
            RuntimeError: no batch is out.
        """
        del self._out[self._place(None)]

    def _place(self, indices: Sequence[int] | None) -> int:
        if not self._out:
            raise RuntimeError("no batch is out: update answers each batch that the loader gave once")
        if indices is None:
            return 0
        wanted = [int(index) for index in indices]
        for place, drawn in enumerate(self._out):
            if drawn.ids.tolist() == wanted:
                return place
        raise RuntimeError(f"no batch with the indices {wanted[:8]} is out; {len(self._out)} others are")

    def importance_weights(self, losses: Tensor) -> Tensor:
        """Return weights for the samples' losses of the oldest batch that is out, ``(B,)`` in ``[0.1, 10]``.

        ``exp(beta (1 - smoothing) (new - tracked))``: a draw used the tracked loss; had it used the new one, smoothed
        as it will be, the sample's probability would be larger by this factor (Fidon et al., arXiv 2001.02658,
        section 3.3). 1 where nothing is tracked, and while draws are not weighted.

        Args:
            losses: ``(B,)``, new.
        """
        drawn, table = self._out[self._place(None)], self.sampler.table
        losses = losses.detach()
        if not table.weighted:
            return torch.ones_like(losses)
        gap = losses - torch.from_numpy(table.hardness[drawn.ids]).to(losses)
        return torch.exp(table.beta * (1 - self.sampler.settings.smoothing) * gap.nan_to_num(0.0)).clamp(0.1, 10.0)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs; what is out is not among it."""
        return {"sampler": self.sampler.state_dict(), "random": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; what is out is forgotten.

        Under several ranks each goes on with random numbers of its own.

        Raises:
            ValueError: for a data set of another size, a state of another version, or a damaged one; nothing is
                changed then.
        """
        try:
            saved, random = len(state["sampler"]["names"]), state["random"]
            type(self._rng.bit_generator)().state = random
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {error}"
            raise ValueError(f"this is no state of a batch sampler, or a damaged one: {told}") from error
        if saved != len(self.sampler):
            raise ValueError(f"the saved state is of {saved} samples, the data set has {len(self.sampler)}")
        self.sampler.load_state_dict(state["sampler"])
        if self._ranks is None:
            self._rng.bit_generator.state = random
        self._share_sweep()
        self._out.clear()
        self._passes += 1
