"""Several processes that train one network, each with a table of its own: what keeps the tables equal."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from hws_nnunet.core import HardnessTable


class Ranks:
    """The processes of PyTorch's process group, as far as the sampler needs them.

    Every rank draws for itself, and takes in the answers of all in the order of their ranks. So tables that began
    equal stay equal bit for bit, and none has to be sent. Answers go over gloo, through the host's memory, whatever the
    network's gradients go over.

    Made by all ranks at the same time.

    Args:
        batch_size: of this rank; others may have other ones.
        values: how many there are of each sample.

    Attributes:
        rank: of this process.
    """

    def __init__(self, batch_size: int, values: int):
        self.rank = dist.get_rank()
        self._group: dist.ProcessGroup = dist.new_group(backend="gloo")  # type: ignore[assignment]  # all are in it
        self._sizes = [int(size) for size in self._gather(torch.tensor([batch_size]))]
        self._block = torch.zeros(1 + max(self._sizes), 1 + values, dtype=torch.float64)

    def _gather(self, value: Tensor) -> list[Tensor]:
        found = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        try:
            dist.all_gather(found, value, group=self._group)
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} waited in vain for the others: one has ended, or has answered fewer batches (a rank "
                "that leaves one out has to say so, with update([], []))"
            ) from error
        return found

    @property
    def bytes(self) -> int:
        """What each rank hands to each other in a step."""
        return self._block.numel() * self._block.element_size()

    def gather(self, cases: np.ndarray, values: np.ndarray, version: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the answers of all ranks to their batches of one step, rank by rank, and rank 0's version.

        In one round, or in several where a batch is larger than the largest that was announced.

        Args:
            cases: ``(B,)`` ids of this rank's batch; B may be 0.
            values: ``(B, values)``.
            version: of the table when the batch was drawn.

        Raises:
            RuntimeError: not all ranks answered.
        """
        block, room, most, begin = self._block, len(self._block) - 1, 1, 0
        rows: list[list[Tensor]] = [[] for _ in range(dist.get_world_size())]
        while begin < most:
            part = slice(begin, begin + room)
            size = len(cases[part])
            block[0, 0], block[0, 1] = len(cases), version
            block[1 : 1 + size, 0] = torch.as_tensor(cases[part])
            block[1 : 1 + size, 1:] = torch.as_tensor(values[part])
            blocks = self._gather(block)
            for own, other in zip(rows, blocks, strict=True):
                own.append(other[1 : 1 + max(int(other[0, 0]) - begin, 0)])
            most, begin = max(int(other[0, 0]) for other in blocks), begin + room
        together = torch.cat([part for own in rows for part in own])
        return together[:, 0].long().numpy(), together[:, 1:].numpy(), int(blocks[0][0, 1])

    def share_sweep(self, table: HardnessTable) -> None:
        """Have the ranks share out the warm-up pass: all take rank 0's order, and each begins at a place of its own."""
        order = torch.from_numpy(table.order.copy())
        dist.broadcast(order, 0, group=self._group)
        begin = len(order) * sum(self._sizes[: self.rank]) // sum(self._sizes)
        table.order[:] = np.roll(order.numpy(), -begin)

    def check_equal(self, table: HardnessTable) -> None:
        """Raise a ``RuntimeError`` that names the ranks whose table is not rank 0's."""
        found = self._gather(torch.frombuffer(bytearray(table.digest()[:8]), dtype=torch.int64))
        if differ := [rank for rank, other in enumerate(found) if not torch.equal(other, found[0])]:
            raise RuntimeError(
                f"the tables of rank(s) {', '.join(map(str, differ))} differ from rank 0's: the ranks did not take in "
                "the same losses, or did not begin with the same data set, settings and checkpoint"
            )
