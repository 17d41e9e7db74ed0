"""A plain PyTorch training on patches, for experiments on real images that two CPU cores can pay for.

What decides how much sampling matters is as in nnU-Net: Dice and cross-entropy, a third of the patches centred on a
voxel of a random structure, flips, rotation, scaling, noise and contrast, a polynomial learning rate, batches drawn
several steps ahead of their losses. Draws go by the soft Dice loss of the structures that a patch shows, as in the
trainers. AdamW in place of SGD: in 2,000 steps it gets as far as nnU-Net's in some times as many.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hws_nnunet.loop.batch_sampler import HardnessWeightedBatchSampler

LAG = 8
"""Batches between a draw and its losses."""

RATE = 2e-3
"""Learning rate at first."""

FOREGROUND = 0.33
"""Share of the patches that are centred on a structure."""


@dataclass(frozen=True)
class Example:
    """An image with its reference.

    Attributes:
        name: its own.
        group: ``rare`` or ``common``.
        image: ``(*shape)`` float32, of mean 0 and variance 1.
        labels: ``(*shape)`` uint8, 0 is the background.
    """

    name: str
    group: str
    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Plan:
    """How a network is trained: the patch's size (its length is the number of axes), and so on."""

    patch: tuple[int, ...]
    classes: int
    channels: tuple[int, ...]
    batch: int
    slices: bool = False
    """Whether patches are of single slices of the first axis."""


class UNet(nn.Module):
    """Two convolutions a stage, instance norm, strided convolutions down, transposed ones up."""

    def __init__(self, axes: int, channels: tuple[int, ...], classes: int):
        super().__init__()
        self.axes = axes
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if axes == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.down = nn.ModuleList(
            self._stage(before, here, stride=1 if i == 0 else 2)
            for i, (before, here) in enumerate(zip((1, *channels), channels, strict=False))
        )
        pairs = list(zip(channels[::-1], channels[-2::-1], strict=False))
        self.up = nn.ModuleList(up(below, here, 2, stride=2) for below, here in pairs)
        self.merge = nn.ModuleList(self._stage(2 * here, here) for _, here in pairs)
        self.head = conv(channels[0], classes, 1)

    def _stage(self, before: int, here: int, stride: int = 1) -> nn.Sequential:
        conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if self.axes == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        layers: list[nn.Module] = []
        for inputs, step in ((before, stride), (here, 1)):
            layers += [conv(inputs, here, 3, step, 1), norm(here, affine=True), nn.LeakyReLU(0.01, inplace=True)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``(B, classes, *shape)``; each side of the input is a multiple of 2 ** (stages - 1)."""
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


def losses_of(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each sample's Dice + cross-entropy and its ``dice_present``, ``(B,)`` each; the latter without gradient.

    Args:
        logits: ``(B, C, *shape)``.
        labels: ``(B, *shape)``, int64.
    """
    p = logits.softmax(1)
    axes = tuple(range(2, logits.ndim))
    truth = torch.zeros_like(p).scatter_(1, labels[:, None], 1.0)
    both, sizes, shown = (p * truth).sum(axes)[:, 1:], (p + truth).sum(axes)[:, 1:], truth.sum(axes)[:, 1:]
    dice = (2 * both + 1e-5) / (sizes + 1e-5)
    entropy = F.cross_entropy(logits, labels, reduction="none").flatten(1).mean(1)
    present = shown > 0
    dice_present = torch.where(present, 1 - dice, 0.0).sum(1) / present.sum(1)  # not a number where none is shown
    return entropy - dice.mean(1), dice_present.detach()


def halved() -> torch.autocast:
    """Return a context in which the network computes in bfloat16, as nnU-Net does in float16; twice as fast."""
    return torch.autocast("cpu", torch.bfloat16)


def fast(what: Tensor | UNet) -> Tensor | UNet:
    """Return a network or its input with channels last in memory."""
    axes = what.ndim - 2 if isinstance(what, Tensor) else what.axes
    return what.to(memory_format=torch.channels_last if axes == 2 else torch.channels_last_3d)


class Patches:
    """Cuts patches out of examples and changes them at random."""

    def __init__(self, examples: list[Example], plan: Plan, rng: np.random.Generator):
        self._examples, self._plan, self._rng = examples, plan, rng
        self._places = [
            [np.argwhere(example.labels == k) for k in range(1, plan.classes) if (example.labels == k).any()]
            for example in examples
        ]

    def batch(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Return images ``(B, 1, *patch)`` and labels ``(B, *patch)``; the last third shows structures for sure."""
        sure = len(ids) - max(1, round(FOREGROUND * len(ids)))
        pairs = [self._patch(case, centred=place >= sure) for place, case in enumerate(ids)]
        images = torch.from_numpy(np.stack([image for image, _ in pairs]))[:, None]
        return self._changed(images, torch.from_numpy(np.stack([labels for _, labels in pairs])))

    def _patch(self, case: int, *, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        example, rng, patch = self._examples[case], self._rng, self._plan.patch
        image, labels, at = example.image, example.labels, None
        if centred:
            places = self._places[case][rng.integers(len(self._places[case]))]
            at = places[rng.integers(len(places))]
        if self._plan.slices:
            index = rng.integers(len(image)) if at is None else at[0]
            image, labels, at = image[index], labels[index], None if at is None else at[1:]
        starts = []
        for axis, (size, side) in enumerate(zip(image.shape, patch, strict=True)):
            last = max(0, size - side)
            starts.append(int(rng.integers(last + 1)) if at is None else min(max(0, int(at[axis]) - side // 2), last))
        cut = tuple(slice(start, start + side) for start, side in zip(starts, patch, strict=True))
        missing = [(0, side - part) for side, part in zip(patch, image[cut].shape, strict=True)]
        return np.pad(image[cut], missing), np.pad(labels[cut], missing).astype(np.int64)

    def _changed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rng, axes = self._rng, len(self._plan.patch)
        theta = torch.zeros(len(images), axes, axes + 1)
        for i in range(len(images)):
            matrix = np.diag(rng.choice([-1.0, 1.0], axes))
            if rng.random() < 0.4:
                matrix = matrix / rng.uniform(0.8, 1.25)
                for first, second in [(0, 1)] if axes == 2 else [(0, 1), (0, 2), (1, 2)]:
                    angle, turn = rng.uniform(-0.3, 0.3), np.eye(axes)
                    turn[[first, second], [first, second]] = np.cos(angle)
                    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
                    matrix = matrix @ turn
            theta[i, :, :axes] = torch.from_numpy(matrix)
            if rng.random() < 0.3:
                images[i] = images[i] * rng.uniform(0.75, 1.25) + rng.normal(0, 0.1)
            if rng.random() < 0.15:
                images[i] += torch.from_numpy(rng.normal(0, rng.uniform(0, 0.3), images[i].shape)).float()
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, align_corners=False)
        moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)
        return images, moved[:, 0].long()


def segmented(network: nn.Module, image: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the labels that a network gives an image: overlapping windows, means of their probabilities."""
    volume = torch.from_numpy(image)
    batch = volume[:, None] if plan.slices else volume[None, None]
    missing = [max(0, side - size) for side, size in zip(plan.patch, batch.shape[2:], strict=True)]
    padding = [part for extra in missing[::-1] for part in (0, extra)]
    padded = F.pad(batch, padding)
    padded, total = fast(padded), torch.zeros(len(padded), plan.classes, *padded.shape[2:])
    starts = []
    for side, size in zip(plan.patch, padded.shape[2:], strict=True):
        count = 1 + -(-(size - side) // (3 * side // 4))
        starts.append([round(i * (size - side) / max(1, count - 1)) for i in range(count)])
    with torch.no_grad(), halved():
        for corner in product(*starts):
            cut = tuple(slice(start, start + side) for start, side in zip(corner, plan.patch, strict=True))
            total[(slice(None), slice(None), *cut)] += (
                network(padded[(slice(None), slice(None), *cut)]).float().softmax(1)
            )
    labels = total.argmax(1)[(slice(None), *(slice(size) for size in batch.shape[2:]))]
    return (labels if plan.slices else labels[0]).numpy()


def dice_of(network: nn.Module, example: Example, plan: Plan) -> float:
    """Return the mean Dice of the structures that the reference has."""
    predicted, values = segmented(network, example.image, plan), []
    for k in range(1, plan.classes):
        truth, ours = example.labels == k, predicted == k
        if truth.any():
            values.append(2 * (truth & ours).sum() / (truth.sum() + ours.sum()))
    return float(np.mean(values))


def train(
    training: list[Example],
    held_out: list[Example],
    plan: Plan,
    sampler: HardnessWeightedBatchSampler,
    *,
    steps: int,
    seed: int,
) -> dict:
    """Train one network and return the held-out Dice and what was drawn.

    Args:
        training: what is drawn from.
        held_out: what is segmented in the end.
        plan: the network's and its patches'.
        sampler: of as many batches as steps.
        steps: of the optimiser.
        seed: of the network, the patches and the draws.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = fast(UNet(len(plan.patch), plan.channels, plan.classes))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    patches = Patches(training, plan, np.random.default_rng([seed, 1]))
    waiting: deque[list[int]] = deque()
    batches = iter(sampler)
    visits, losses, telling = [], [], []
    for step in range(steps):
        while len(waiting) <= LAG and (batch := next(batches, None)) is not None:
            waiting.append(batch)
        ids = waiting.popleft()
        images, labels = patches.batch(ids)
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / steps) ** 0.9
        with halved():
            logits = network(fast(images))
        loss, hardness = losses_of(logits.float(), labels)
        optimizer.zero_grad()
        loss.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()
        sampler.update(hardness, ids)
        visits.append(ids)
        losses.append([round(value, 4) if value == value else None for value in hardness.tolist()])
        if (step + 1) % 100 == 0:
            of = sampler.sampler
            telling.append([step + 1, *(round(float(x), 4) for x in (of.effective_sample_size(), of.reliability))])
    return {
        "dice": {case.name: round(dice_of(network, case, plan), 5) for case in held_out},
        "visits": visits,
        "losses": losses,
        "ess_reliability": telling,
    }
