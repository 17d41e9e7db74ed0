#!/usr/bin/env bash
# pymia 0.3.4: overlap measures where reference and prediction are both empty
#
# Guess:     measures of 0/0 are NaN, each with a warning.
# Behaviour: Dice is 1, surface Dice and volume similarity are minus infinity (with a warning). One case with a structure
#            that is rightly absent turns the mean surface Dice of a test set into minus infinity.
# Seen:      Dice 1.0, surface Dice -inf, volume similarity -inf
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 SimpleITK==2.5.7 pymia==0.3.4
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import numpy as np
import SimpleITK as sitk
import pymia.evaluation.evaluator as evaluator
import pymia.evaluation.metric as metric

measures = [metric.DiceCoefficient(), metric.SurfaceDiceOverlap(tolerance=1.0), metric.VolumeSimilarity()]
measuring = evaluator.SegmentationEvaluator(measures, {1: "lesion"})
empty = sitk.GetImageFromArray(np.zeros((10, 10, 10), np.uint8))
measuring.evaluate(empty, empty, "healthy")
seen = {result.metric: float(result.value) for result in measuring.results}
print(seen)
expected = {"DICE": 1.0, "SURFDICE": -np.inf, "VOLSMTY": -np.inf}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
