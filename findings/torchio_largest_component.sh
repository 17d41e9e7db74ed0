#!/usr/bin/env bash
# TorchIO 1.2.1: KeepLargestComponent on a label map with several labels
#
# Guess:     the largest component of each label stays.
# Behaviour: one component stays in all: that of the whole foreground. Labels that lie apart from it vanish from the map.
# Seen:      voxels of label 1 and 2: before 65 and 9, after 64 and 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 torch==2.13.0 torchio==1.2.1
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import torch
import torchio

labels = torch.zeros(1, 16, 16, 16, dtype=torch.uint8)
labels[0, 1:5, 1:5, 1:5] = 1
labels[0, 8, 8, 8] = 1
labels[0, 10:12, 10:12, 10:12] = 2
labels[0, 14, 14, 14] = 2
kept = torchio.KeepLargestComponent()(torchio.LabelMap(tensor=labels)).data
before, after = ([int((image == label).sum()) for label in (1, 2)] for image in (labels, kept))
print(f"voxels of label 1 and 2: before {before}, after {after}")
raise SystemExit(None if (before, after) == ([65, 9], [64, 0]) else "changed: expected [64, 0] after")
PY
