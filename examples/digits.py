"""Hardness weighted sampling in a plain PyTorch loop: digits, of which one is rare in training.

    python examples/digits.py [--steps 1500]

Needs scikit-learn for the data (``pip install scikit-learn``). Trains a small network twice on the same images, in
batches that a DataLoader draws uniformly, and in batches drawn by hardness, and prints the accuracy on held-out images:
of all digits, and of the rare one.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hws_nnunet import HardnessWeightedBatchSampler, per_sample

RARE, KEPT, HELD_OUT, BATCH = 8, 6, 500, 32


def data() -> tuple[TensorDataset, torch.Tensor, torch.Tensor]:
    """Return a training set with few images of one digit, and held-out images with their digits."""
    digits = load_digits()
    images, numbers = torch.tensor(digits.images / 16).float().flatten(1), torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    training, held_out = order[HELD_OUT:], order[:HELD_OUT]
    rare = training[numbers[training] == RARE]
    training = torch.cat((training[numbers[training] != RARE], rare[:KEPT]))
    return TensorDataset(images[training], numbers[training]), images[held_out], numbers[held_out]


def train(dataset: TensorDataset, steps: int, sampler: HardnessWeightedBatchSampler | None) -> nn.Module:
    """Train a network, in batches by hardness where there is a sampler for them."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser, criterion = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9), nn.CrossEntropyLoss()
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)
    if sampler is not None:
        loader = DataLoader(sampler.indexed(dataset), batch_sampler=sampler)
    done = 0
    while done < steps:
        for images, numbers, *index in loader:
            losses = per_sample(criterion, network(images), numbers)
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
            if sampler is not None:
                sampler.update(losses, *index)
            done += 1
    return network


def print_accuracy(name: str, network: nn.Module, images: torch.Tensor, numbers: torch.Tensor) -> None:
    """Print the accuracy on held-out images: of all digits, and of the rare one."""
    right = network(images).argmax(1) == numbers
    of_rare = right[numbers == RARE].float().mean()
    print(f"{name:12} accuracy {right.float().mean():.3f}, of the rare {RARE} {of_rare:.3f}")


def print_draws(sampler: HardnessWeightedBatchSampler, dataset: TensorDataset) -> None:
    """Print what the sampler drew."""
    table = sampler.sampler.table
    visits = torch.from_numpy(table.visits / table.visits.mean())[dataset.tensors[1] == RARE].mean()
    print(f"by hardness, the {KEPT} images of the rare digit came {visits:.1f} times as often as the mean")
    print(f"effective sample size {sampler.sampler.effective_sample_size():.0f} of {len(dataset)} images")


def main() -> None:
    """Train twice, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    args = parser.parse_args()
    dataset, images, numbers = data()
    sampler = HardnessWeightedBatchSampler(len(dataset), BATCH, seed=0, ess=0.5)
    for name, which in (("uniform", None), ("by hardness", sampler)):
        print_accuracy(name, train(dataset, args.steps, which), images, numbers)
    print_draws(sampler, dataset)


if __name__ == "__main__":
    main()
