#!/usr/bin/env bash
# MISeval 1.3.0: "AverageHausdorffDistance" (AHD)
#
# Guess:     an average over the surfaces, so that a single stray voxel hardly changes it; infinite for a missed structure.
# Behaviour: it is the maximum, the plain Hausdorff distance. For a missed structure it is a finite number that grows with
#            the structure's distance from the image's first voxel, and says nothing of the segmentation.
# Seen:      one stray voxel beside an otherwise perfect answer: 6.0
#            the same structure, missed, at voxel 0, 5, 10, 15 of each axis: 4.1, 12.7, 21.4, 30.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 miseval==1.3.0
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import miseval
import numpy as np

empty = np.zeros((20, 20, 20), np.uint8)
reference = empty.copy()
reference[5:10, 5:10, 5:10] = 1
predicted = reference.copy()
predicted[15, 7, 7] = 1  # six voxels away
stray = float(miseval.evaluate(reference, predicted, "AHD"))
print("one stray voxel:", stray)

missed = []
for first in (0, 5, 10, 15):
    structure = empty.copy()
    structure[first : first + 3, first : first + 3, first : first + 3] = 1
    missed.append(round(float(miseval.evaluate(structure, empty, "AHD")), 1))
print("missed at 0, 5, 10, 15:", missed)
expected = 6.0, [4.1, 12.7, 21.4, 30.0]
raise SystemExit(None if (stray, missed) == expected else f"changed: expected {expected}")
PY
