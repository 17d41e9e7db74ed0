#!/usr/bin/env bash
# seg-metrics 1.2.8: distances of a structure that the prediction misses altogether
#
# Guess:     HD95 of a missed structure is infinite or NaN, as there is no surface to measure to.
# Behaviour: HD, HD95 and the mean surface distance are 0, the best value there is, beside a Dice of 0. An invented structure
#            gets the same. So a method that misses a structure everywhere has the best mean HD95.
# Seen:      missed: dice 0, hd 0, hd95 0, msd 0; shifted by one voxel: dice 0.8, hd95 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 SimpleITK==2.5.7 seg-metrics==1.2.8
cd "$work"
PYTHONPATH="$work/lib" python3 - 2>/dev/null <<'PY'
import numpy as np
import seg_metrics.seg_metrics as sg

empty = np.zeros((12, 12, 12), np.uint8)
reference = empty.copy()
reference[3:8, 3:8, 3:8] = 1


def measure(truth, predicted):
    names = ["dice", "hd", "hd95", "msd"]
    (found,) = sg.write_metrics(labels=[1], gdth_img=truth, pred_img=predicted, metrics=names)
    return {name: float(found[name][0]) for name in names}


missed, invented = measure(reference, empty), measure(empty, reference)
shifted = measure(reference, np.roll(reference, 1, axis=0))
print("missed:", missed)
print("invented:", invented)
print("shifted by one voxel:", shifted)
best = {"dice": 0.0, "hd": 0.0, "hd95": 0.0, "msd": 0.0}
if missed != best or invented != best or (shifted["dice"], shifted["hd95"]) != (0.8, 1.0):
    print("changed: expected distances of 0 for missed and invented structures")
    raise SystemExit(1)
PY
