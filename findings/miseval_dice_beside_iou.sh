#!/usr/bin/env bash
# MISeval 1.3.0: Dice beside intersection over union, where both masks are empty
#
# Guess:     Dice is 0 for two empty masks; in any case it equals 2 IoU / (1 + IoU), whatever the masks.
# Behaviour: for two empty masks Dice is 1 and IoU is 0. So the two measures of one package rank methods differently as soon
#            as some cases rightly lack a structure.
# Seen:      both empty: Dice 1.0, IoU 0.0; else Dice 0.8, IoU 0.667
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 miseval==1.3.0
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import miseval
import numpy as np

empty = np.zeros((12, 12, 12), np.uint8)
mask = empty.copy()
mask[3:8, 3:8, 3:8] = 1
pairs = {"both empty": (empty, empty), "shifted by one voxel": (mask, np.roll(mask, 1, axis=0))}
seen = {
    name: tuple(round(float(miseval.evaluate(*pair, metric)), 3) for metric in ("DSC", "IoU"))
    for name, pair in pairs.items()
}
print("(Dice, IoU):", seen)
expected = {"both empty": (1.0, 0.0), "shifted by one voxel": (0.8, 0.667)}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
