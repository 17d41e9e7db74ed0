"""Hardness weighted sampling with MONAI: its UNet, DiceCELoss and transforms, on made-up brains of which two are rare.

    python examples/monai_unet.py [--steps 100]

Needs MONAI (``pip install monai``). Trains a small UNet twice from scratch, in batches drawn uniformly and by hardness,
and prints who was drawn and how well the brains of both groups are segmented in training; a hundred steps show that it
runs, not what it gains.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import Compose, EnsureTyped, NormalizeIntensityd, RandCropByPosNegLabeld, RandFlipd
from torch.utils.data import DataLoader, Dataset

from hws_nnunet import HardnessWeightedBatchSampler, per_sample
from hws_nnunet.datasets.phantom import LABELS, make_case

CASES, RARE, PATCH = 12, 2, (32, 32, 32)
PREPARED = Compose([EnsureTyped(["image", "label"]), NormalizeIntensityd("image")])
AUGMENTED = Compose(
    [
        RandCropByPosNegLabeld(["image", "label"], "label", PATCH, num_samples=1),
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
    ]
)


class Brains(Dataset):
    """Made-up brains in memory, rare ones first; gives a random patch of one."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        made = [make_case(rng, rare=i < RARE) for i in range(CASES)]
        self.whole = [PREPARED({"image": image[None], "label": label[None]}) for image, label in made]

    def __len__(self) -> int:
        return CASES

    def __getitem__(self, index: int) -> dict:
        return AUGMENTED(self.whole[index])[0]


def train(brains: Brains, steps: int, sampler: HardnessWeightedBatchSampler | None) -> UNet:
    """Train a network, in batches by hardness where there is a sampler for them."""
    torch.manual_seed(0)
    network = UNet(3, 1, len(LABELS), channels=(8, 16, 32), strides=(2, 2), norm="instance")
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    criterion = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    loader = DataLoader(brains, batch_size=2, shuffle=True) if sampler is None else None
    loader = loader or DataLoader(sampler.indexed(brains), batch_sampler=sampler)
    done = 0
    while done < steps:
        for batch in loader:
            losses = per_sample(criterion, network(batch["image"]), batch["label"])
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
            if sampler is not None:
                sampler.update(losses, batch["index"])
            done += 1
    return network


@torch.no_grad()
def dice(network: UNet, case: dict) -> float:
    """Return the mean Dice of a whole brain's structures."""
    found = sliding_window_inference(case["image"][None], PATCH, 4, network.eval()).argmax(1)[0]
    label = case["label"][0]
    scores = [
        2 * ((found == k) & (label == k)).sum() / ((found == k).sum() + (label == k).sum())
        for k in LABELS.values()
        if k
    ]
    return float(torch.stack(scores).mean())


def main() -> None:
    """Train twice, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    brains = Brains()
    sampler = HardnessWeightedBatchSampler(len(brains), 2, seed=0, ess=0.5)
    for name, which in (("uniform", None), ("by hardness", sampler)):
        network = train(brains, args.steps, which)
        scores = [dice(network, case) for case in brains.whole]
        print(f"{name:12} Dice of rare brains {np.mean(scores[:RARE]):.3f}, of the others {np.mean(scores[RARE:]):.3f}")
    table = sampler.sampler.table
    for i in np.argsort(-table.hardness)[:4]:
        kind = "rare" if i < RARE else "common"
        print(f"brain {i} ({kind}): hardness {table.hardness[i]:.3f}, drawn {table.visits[i]} times")
    print(f"effective sample size {sampler.sampler.effective_sample_size():.1f} of {len(brains)} brains")


if __name__ == "__main__":
    main()
