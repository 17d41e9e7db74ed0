"""Losses and activations that are not finite or explode, through the loss recorder of the trainers; no nnU-Net."""

import numpy as np
import torch
from torch import nn

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core import DrawnCases
from hws_nnunet.hosts.recorder import LossRecorder
from hws_nnunet.hosts.weighting import Weighting
from tests.faults.rows import LONG_AND_SHORT, Counted
from tests.valid import fault_of

CASES, BATCH, CLASSES, SHAPE = 12, 2, 3, (16, 16)
POISONED = range(15, 20)
"""Steps whose images are spoiled."""

POISONS = {
    "one voxel of each image is NaN": lambda x: x.index_fill(-1, torch.tensor([3]), torch.nan),
    "one voxel of each image is infinite": lambda x: x.index_fill(-1, torch.tensor([3]), torch.inf),
    "images, and so activations, are a million times too large": lambda x: 1e6 * x,
    "images are so large that activations overflow": lambda x: 1e38 * x,
}


class DiceAndCrossEntropy(nn.Module):
    """As nnU-Net adds them, in short."""

    def forward(self, output, target):
        p = output.softmax(1)[:, 1:]
        here = nn.functional.one_hot(target[:, 0].long(), CLASSES).movedim(-1, 1)[:, 1:].float()
        dice = (2 * (p * here).sum((2, 3)) + 1e-5) / ((p + here).sum((2, 3)) + 1e-5)
        return nn.functional.cross_entropy(output, target[:, 0].long()) - dice.mean()


def train(poison, draw_by, steps):
    """Train; steps whose gradients are not finite are left out, as nnU-Net's gradient scaler does on a GPU.

    Args:
        poison: of the images of some steps.
        draw_by: the recorder's; None trains without it.
        steps: how many.

    Returns:
        the bytes of each step's loss and of the weights at the end; what was wrong with the table.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, CLASSES, (CASES, 1, *SHAPE)))
    images = labels.float() + 0.3 * torch.randn(labels.shape)
    network = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, CLASSES, 3, padding=1))
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    loss, weighting, wrong = DiceAndCrossEntropy(), None, ""
    if draw_by is not None:
        loss = LossRecorder(loss, alone=draw_by == "dice_ce")
        names = [f"case{i}" for i in range(CASES)]
        weighting = Weighting(names, Settings(draw_by=draw_by), lambda line: None, structures=["a", "b"])
    seen = []
    for step in range(steps):
        cases = np.arange(BATCH * step, BATCH * (step + 1)) % CASES
        batch = images[cases]
        if poison is not None and step in POISONED:
            batch = poison(batch)
        optimizer.zero_grad()
        value = loss(network(batch), labels[cases])
        value.backward()
        if all(parameter.grad.isfinite().all() for parameter in network.parameters()):
            nn.utils.clip_grad_norm_(network.parameters(), 12)
            optimizer.step()
        seen.append(value.detach().numpy().tobytes())
        if weighting is not None:
            weighting.after_step(loss, DrawnCases(cases, weighting.sampler.table.version))
            wrong = wrong or fault_of(weighting.sampler)
    if weighting is not None:
        weighting.end_epoch(0)
        drawn = weighting.sampler.draw_cases(BATCH, rng).ids
        wrong = wrong or ("" if drawn.min() >= 0 and drawn.max() < CASES else f"cases {drawn} were drawn")
    seen += [parameter.detach().numpy().tobytes() for parameter in network.parameters()]
    return seen, wrong


@LONG_AND_SHORT
def test_numbers(long, told):
    """Spoil some steps of trainings with the recorder and without."""
    rows = []
    for name, poison in POISONS.items():
        counted, steps = Counted(), 400 if long else 24
        expected, _ = train(poison, None, steps)
        for draw_by in ("dice_present", "dice_ce"):
            seen, wrong = train(poison, draw_by, steps)
            same = [a == b for a, b in zip(seen, expected, strict=True)]
            counted.add(wrong or ("" if all(same) else "other losses or weights"), times=steps)
        rows.append(
            counted.row(
                f"{name}, for {len(POISONED)} steps; drawn by either measure",
                "After each step the table is valid; losses and weights are bit for bit those without the sampler.",
            )
        )
    told(*rows, explosion(long))


def explosion(long):
    """Have the losses of some steps be ten thousand times too large, and see how long draws remember it."""
    rng, counted, answer = np.random.default_rng(0), Counted(), {}
    truth = rng.normal(0.5, 0.1, 40)
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(40)], rng=rng)

    def tilt():
        return float(sampler.probabilities() @ (truth - truth.mean()))

    before, most = 0.0, 60_000 if long else 100
    for step in range(-3000 if long else -200, most):
        drawn = sampler.draw_cases(BATCH, rng)
        losses = truth[drawn.ids] + rng.normal(0, 0.1, BATCH)
        sampler.update(drawn.ids, losses * (1e4 if step in range(5) else 1), version=drawn.version)
        counted.add(fault_of(sampler) if step % 10 == 0 or step < 20 else "")
        if step == -1:
            before = tilt()
        if step > 5 and step % 100 == 0 and tilt() > before / 2:
            answer["steps"] = step
            break
    told = f"after {answer['steps']:,} steps" if answer else f"later than after {most:,} steps"
    return counted.row(
        "losses of 5 steps ten thousand times too large, of 40 cases whose losses scatter",
        f"The table is valid; draws fall back to uniform ones, and tilt half as much as before {told} again.",
    )
