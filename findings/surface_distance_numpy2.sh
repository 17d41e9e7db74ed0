#!/usr/bin/env bash
# surface-distance 0.1 beside NumPy 2: cases with an empty mask
#
# Guess:     a package of 2021 works with NumPy 2 or fails at its first call.
# Behaviour: it measures every pair of masks, until one mask of a pair is empty: then it raises, as only that branch uses a
#            name that NumPy 2 removed. So a run over a test set ends at the first missed structure, the case that was to be
#            found. (Under NumPy 1 the same call gives HD95 inf.)
# Seen:      shifted by one voxel: HD95 1.0; missed: AttributeError: `np.Inf` was removed in the NumPy 2.0 release
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" numpy==2.2.6 scipy==1.15.3 surface-distance==0.1
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import numpy as np
import surface_distance

reference = np.zeros((12, 12, 12), bool)
reference[3:8, 3:8, 3:8] = True


def hd95(predicted):
    distances = surface_distance.compute_surface_distances(reference, predicted, spacing_mm=(1.0, 1.0, 1.0))
    return float(surface_distance.compute_robust_hausdorff(distances, 95))


print("shifted by one voxel: HD95", hd95(np.roll(reference, 1, axis=0)))
try:
    print("changed: missed: HD95", hd95(np.zeros_like(reference)))
except AttributeError as error:
    print("missed: AttributeError:", error)
    raise SystemExit(None if "np.Inf" in str(error) else "changed: another error")
raise SystemExit(1)
PY
