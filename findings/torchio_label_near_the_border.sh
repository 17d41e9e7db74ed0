#!/usr/bin/env bash
# TorchIO 1.2.1: patches centred on labels, where a structure lies near the image's border
#
# Guess:     each label gets its share of patches; patches near the border are moved inside, or an error names the label.
# Behaviour: a label all of whose voxels lie within half a patch of the border gets no patch at all, without a word; its
#            share goes to the others. Only where no label at all is left an error is raised.
# Seen:      asked 1/3, 1/3, 1/3 of 600 patches; label 2, a voxel from the border, was the centre of 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 torch==2.13.0 torchio==1.2.1
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
from collections import Counter

import torch
import torchio

labels = torch.zeros(1, 20, 20, 20)
labels[0, 9:12, 9:12, 9:12] = 1
labels[0, 1:3, 1:3, 1:3] = 2
subject = torchio.Subject(image=torchio.ScalarImage(tensor=torch.rand(1, 20, 20, 20)), labels=torchio.LabelMap(tensor=labels))
sampler = torchio.LabelSampler(8, "labels", label_probabilities={0: 1, 1: 1, 2: 1})
torch.manual_seed(0)
centres = Counter(int(patch["labels"].data[0, 4, 4, 4]) for patch in sampler(subject, 600))
print(dict(centres))
holds = centres[2] == 0 and centres[0] > 200 and centres[1] > 200 and sum(centres.values()) == 600
raise SystemExit(None if holds else "changed: each of three labels was asked for equally often")
PY
