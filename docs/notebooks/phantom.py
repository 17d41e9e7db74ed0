# %% [markdown]
# # From made-up brains to a report
#
# Eighteen made-up brains train a small network, two of them of a rare kind, once drawn uniformly and once by
# hardness; then `hws-nnunet report`
# compares both on twelve held-out ones. It takes 15 seconds of a CPU core, and shows the steps, not a gain: after
# so few steps of one seed
# either may be ahead. `jupytext --to ipynb phantom.py` makes a notebook of this file.

# %%
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hws_nnunet import HardnessWeightedBatchSampler, per_sample
from hws_nnunet.datasets.phantom import make_case

torch.set_num_threads(1)

# %% [markdown]
# ## The data
#
# An image and its labels, six structures; the rare kind has another anatomy and contrast.


# %%
def brains(count, rare, seed):
    """Return so many made-up brains, the first of which are rare: images (N, 1, 24, 24, 24), labels (N, 24, 24, 24)."""
    made = [make_case(np.random.default_rng([seed, i]), rare=i < rare, shape=(24, 24, 24)) for i in range(count)]
    images, labels = (np.stack(part) for part in zip(*made, strict=True))
    return TensorDataset(torch.tensor(images).float()[:, None], torch.tensor(labels).long())


training, held_out = brains(18, 2, seed=0), brains(12, 6, seed=1)
CLASSES = int(training.tensors[1].max()) + 1
print(len(training), "training cases,", len(held_out), "held out,", CLASSES - 1, "structures")

# %% [markdown]
# ## Train, twice
#
# With `beta=0` draws are uniform. Each batch brings its samples' indices, so that their losses find them.


# %%
def train(**settings):
    """Train for 150 steps with these settings; return the network and what drew its batches."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv3d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv3d(12, CLASSES, 1)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    sampler = HardnessWeightedBatchSampler(len(training), 2, steps_per_epoch=150, seed=0, **settings)
    for image, label, index in DataLoader(sampler.indexed(training), batch_sampler=sampler):
        losses = per_sample(nn.CrossEntropyLoss(), network(image), label)
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
        sampler.update(losses, index)
    return network, sampler


networks = {}
networks["uniform"], _ = train(beta=0.0)
networks["hws"], sampler = train()
visits = sampler.sampler.table.visits
print(f"drawn: the two rare cases {visits[:2].mean():.1f} times, the others {visits[2:].mean():.1f} times")
print(f"effective sample size now: {sampler.sampler.effective_sample_size():.1f} of {len(training)} cases")

# %% [markdown]
# After 150 steps the sampler does not trust the differences between losses yet, and draws are about uniform: that
# is its safeguard against noise.
# The [tutorial](../tutorials/fetal.html) trains for longer.
#
# ## Report
#
# A table with a row for each case and structure is all that the report needs. `hws-nnunet report` writes a page
# with figures; here are its
# words in the terminal.

# %%
folder = Path(tempfile.mkdtemp())
with open(folder / "results.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["set", "case", "subgroup", "label", "Dice"])
    for name, network in networks.items():
        for case, (image, label) in enumerate(held_out):
            with torch.no_grad():
                found = network(image[None]).argmax(1)[0]
            for k in range(1, CLASSES):
                both, sizes = ((found == k) & (label == k)).sum(), (found == k).sum() + (label == k).sum()
                group = "rare" if case < 6 else "common"
                rows.writerow([name, f"case{case:02d}", group, k, f"{2 * float(both) / max(int(sizes), 1):.4f}"])
command = [
    sys.executable,
    "-m",
    "hws_nnunet.commands.main",
    "report",
    folder / "results.csv",
    "--out",
    folder / "report",
]
print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
