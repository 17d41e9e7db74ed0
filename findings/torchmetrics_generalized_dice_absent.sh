#!/usr/bin/env bash
# torchmetrics 1.9.0: Dice by class where some samples lack a class
#
# Guess:     a class that a sample rightly lacks is left out of that class's mean, as DiceScore and MeanIoU do.
# Behaviour: GeneralizedDiceScore(per_class=True) counts it as 0. A perfect prediction of two samples, of which one lacks
#            the class, gets 0.5 for it, while the same metric without per_class says 1.
# Seen:      generalized Dice by class [1.0, 0.5], without per_class 1.0; Dice by class [1.0, 1.0]; IoU by class [1.0, 1.0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 torchmetrics==1.9.0
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import torch
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

labels = torch.zeros(2, 8, 8, dtype=torch.long)
labels[:, 2:4, 2:4] = 1
labels[0, 5:7, 5:7] = 2
given = {"num_classes": 3, "include_background": False, "input_format": "index"}
seen = {
    "generalized Dice by class": GeneralizedDiceScore(per_class=True, **given)(labels, labels).tolist(),
    "generalized Dice": GeneralizedDiceScore(per_class=False, **given)(labels, labels).item(),
    "Dice by class": DiceScore(average="none", **given)(labels, labels).tolist(),
    "IoU by class": MeanIoU(per_class=True, **given)(labels, labels).tolist(),
}
seen = {name: [round(x, 4) for x in value] if isinstance(value, list) else round(value, 4) for name, value in seen.items()}
print(seen)
expected = {
    "generalized Dice by class": [1.0, 0.5],
    "generalized Dice": 1.0,
    "Dice by class": [1.0, 1.0],
    "IoU by class": [1.0, 1.0],
}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
