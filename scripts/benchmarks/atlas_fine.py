"""Structures drawn by hardness where images are many times larger than a patch: the atlas at its own resolution.

    python scripts/benchmarks/atlas_fine.py --data ATLAS [--quick] [--seeds N] [--arms ARM ...] [--out FOLDER]

The experiment of ``atlas.py`` with voxels of 0.8 mm: eight times as many, so that a patch shows an eighth of what it
shows there, and which structure it is centred on matters more. Writes ``atlas-fine.json``. A run takes about eight
minutes on one core.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from atlas import EXPERIMENT, prepare
from experiments import UNIFORM

FINE = dataclasses.replace(EXPERIMENT, name="atlas-fine", prepare=partial(prepare, coarser=1.0))

if __name__ == "__main__":
    FINE.main(__doc__, (UNIFORM, "ours", "ours, structure_beta 3"))
