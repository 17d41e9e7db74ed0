#!/usr/bin/env bash
# MONAI 1.6.1: weighted sampling over two processes
#
# Guess:     a sample of weight 100 beside nine of weight 1 makes up 92 % of what both processes draw together.
# Behaviour: each process draws by the weights of its own half of the samples alone, so that it makes up about 48 %, and the
#            nine others come with shares from 0.5 % to 10 % though their weights are equal.
# Seen:      0.48; equal weights of the heavy one's half 0.005, of the other half 0.1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 monai==1.6.1
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
from collections import Counter

import torch
from monai.data import DistributedWeightedRandomSampler

weights, draws = [100.0] + [1.0] * 9, 5000
seen = Counter()
for rank in range(2):
    seen.update(
        DistributedWeightedRandomSampler(
            range(10),
            weights=weights,
            num_samples_per_rank=draws,
            num_replicas=2,
            rank=rank,
            shuffle=False,
            generator=torch.Generator().manual_seed(rank),
        )
    )
shares = [seen[index] / (2 * draws) for index in range(10)]
print([round(share, 3) for share in shares])
holds = 0.45 < shares[0] < 0.5 and max(shares[2::2]) < 0.01 and min(shares[1::2]) > 0.08
raise SystemExit(None if holds else f"changed: the weights ask for {weights[0] / sum(weights):.3f}")
PY
