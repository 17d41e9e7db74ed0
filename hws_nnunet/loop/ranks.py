"""Several processes that train one network, each with a table of its own: what keeps the tables equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from hws_nnunet.core import HardnessTable, HardnessWeightedSampler


class Ranks:
    """The processes of PyTorch's process group, as far as the sampler needs them.

    Every rank draws for itself, and takes in the answers of all in the order of their ranks. So tables that began
    equal stay equal bit for bit, and none has to be sent. Answers go over gloo, through the host's memory, whatever the
    network's gradients go over.

    Made by all ranks at the same time. Without a process group there is one rank, and nothing is sent.

    Args:
        batch_size: of this rank; others may have other ones.
        values: how many there are of each sample.
        alone: whether this process trains by itself, also where there is a process group.

    Attributes:
        rank: of this process.
        count: how many ranks there are.
    """

    def __init__(self, batch_size: int, values: int, *, alone: bool = False):
        together = not alone and dist.is_available() and dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
        self._group: Any = dist.new_group(backend="gloo") if together else None  # all are in it
        self._sizes = [int(size) for size in self._gather(torch.tensor([batch_size]))]
        self._block = torch.zeros(1 + max(self._sizes), 1 + values, dtype=torch.float64)

    def _gather(self, value: Tensor) -> list[Tensor]:
        if self.count == 1:
            return [value]
        values = [torch.empty_like(value) for _ in range(self.count)]
        try:
            dist.all_gather(values, value, group=self._group)
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} waited in vain for the others: one has ended, or has answered fewer batches (a rank "
                "that leaves one out has to say so, with update([], []))"
            ) from error
        return values

    @property
    def bytes(self) -> int:
        """What each rank hands to each other in a step."""
        return self._block.numel() * self._block.element_size()

    def update(
        self,
        sampler: HardnessWeightedSampler,
        cases: np.ndarray,
        losses: np.ndarray,
        *,
        other_losses: np.ndarray | None = None,
        structures: np.ndarray | None = None,
        version: int | None = None,
    ) -> np.ndarray:
        """Update this rank's sampler with the answers of all ranks to their batches of one step, rank by rank.

        Args:
            sampler: as every rank has one.
            cases: ``(B,)`` ids of this rank's batch; B may be 0.
            losses: ``(B,)``, as the rest for :meth:`~hws_nnunet.core.HardnessWeightedSampler.update`.
            other_losses: ``(B,)``.
            structures: ``(B, number of structures)``.
            version: of the table when the batch was drawn; rank 0's goes into the table.

        Returns:
            the losses of all ranks.

        Raises:
            RuntimeError: not all ranks answered.
        """
        if self.count > 1:
            columns = [losses] if other_losses is None else [losses, other_losses]
            values = np.column_stack(columns if structures is None else [*columns, structures])
            cases, values, version = self._gather_answers(cases, values, version)
            losses = values[:, 0]
            other_losses = None if other_losses is None else values[:, 1]
            structures = None if structures is None else values[:, len(columns) :]
        sampler.update(cases, losses, other_losses=other_losses, structures=structures, version=version)
        return losses

    def _gather_answers(
        self, cases: np.ndarray, values: np.ndarray, version: int | None
    ) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Return all ranks' cases and ``(B, values)``, rank by rank, and rank 0's version.

        In one round, or in several where a batch is larger than the largest that was announced.
        """
        block, room, most, begin = self._block, len(self._block) - 1, 1, 0
        rows: list[list[Tensor]] = [[] for _ in range(self.count)]
        while begin < most:
            part = slice(begin, begin + room)
            size = len(cases[part])
            block[0, 0], block[0, 1] = len(cases), -1 if version is None else version
            block[1 : 1 + size, 0] = torch.as_tensor(cases[part])
            block[1 : 1 + size, 1:] = torch.as_tensor(values[part])
            blocks = self._gather(block)
            for own, other in zip(rows, blocks, strict=True):
                own.append(other[1 : 1 + max(int(other[0, 0]) - begin, 0)])
            most, begin = max(int(other[0, 0]) for other in blocks), begin + room
        together = torch.cat([part for own in rows for part in own])
        version = int(blocks[0][0, 1])
        return together[:, 0].long().numpy(), together[:, 1:].numpy(), version if version >= 0 else None

    def share_sweep(self, table: HardnessTable) -> None:
        """Have the ranks share out the warm-up pass: all take rank 0's order, and each begins at a place of its own."""
        order = self._gather(torch.from_numpy(table.order.copy()))[0]
        begin = len(order) * sum(self._sizes[: self.rank]) // sum(self._sizes)
        table.order[:] = np.roll(order.numpy(), -begin)

    def check_equal(self, table: HardnessTable) -> None:
        """Raise a ``RuntimeError`` that names the ranks whose table is not rank 0's."""
        digests = self._gather(torch.frombuffer(bytearray(table.digest()[:8]), dtype=torch.int64))
        if differ := [rank for rank, other in enumerate(digests) if not torch.equal(other, digests[0])]:
            raise RuntimeError(
                f"rank 0's table differs from that of {', '.join(f'rank {rank}' for rank in differ)}: the ranks "
                "did not take in the same losses, or did not begin with the same data set, settings and checkpoint"
            )
