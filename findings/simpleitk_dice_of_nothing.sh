#!/usr/bin/env bash
# SimpleITK 2.5.7: Dice of two empty label maps
#
# Guess:     LabelOverlapMeasuresImageFilter gives 0 for two label maps without a label, over all labels as for one label.
# Behaviour: for one label Dice is 0 (a perfect answer scored as the worst; the filter only prints that it lacks the label);
#            over all labels it is infinite. Neither is NaN, so isnan finds no such case.
# Seen:      label 1: 0.0; all labels: inf
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import math

import numpy as np
import SimpleITK as sitk

sitk.ProcessObject.SetGlobalWarningDisplay(False)
empty = sitk.GetImageFromArray(np.zeros((10, 10, 10), np.uint8))
overlap = sitk.LabelOverlapMeasuresImageFilter()
overlap.Execute(empty, empty)
seen = overlap.GetDiceCoefficient(1), overlap.GetDiceCoefficient()
print(f"label 1: {seen[0]}; all labels: {seen[1]}")
raise SystemExit(None if seen == (0.0, math.inf) else "changed: expected 0 and infinity")
PY
