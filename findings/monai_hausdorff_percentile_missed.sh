#!/usr/bin/env bash
# MONAI 1.6.1: the Hausdorff distance of a structure that the prediction lacks, with and without a percentile
#
# Guess:     infinite (or NaN) in both; a percentile does not change what becomes of it in a mean.
# Behaviour: without a percentile it is infinite, and the mean over the test set with it. With percentile=95 it is NaN,
#            which the mean leaves out: a case that fails altogether improves the mean.
# Seen:      case by case inf, 2.0 and nan, 2.0; means inf of 2 cases and 2.0 of 1 case
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 scipy==1.15.3 torch==2.13.0 monai==1.6.1
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import torch
from monai.metrics import HausdorffDistanceMetric

truth = torch.zeros(1, 1, 12, 12, 12)
truth[..., 2:5, 2:5, 2:5] = 1
seen = {}
for percentile in (None, 95):
    metric = HausdorffDistanceMetric(include_background=True, percentile=percentile, get_not_nans=True)
    cases = [metric(prediction, truth).item() for prediction in (torch.zeros_like(truth), truth.roll(2, dims=2))]
    mean, count = metric.aggregate()
    seen[percentile] = [*map(str, cases), str(mean.item()), int(count.item())]
print(seen)
expected = {None: ["inf", "2.0", "inf", 2], 95: ["nan", "2.0", "2.0", 1]}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
