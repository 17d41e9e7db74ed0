#!/usr/bin/env bash
# SimpleITK 2.5.7: a label map resampled onto its own grid with sitkLabelGaussian
#
# Guess:     nothing changes, as with the other interpolators for labels.
# Behaviour: small structures vanish: single voxels, and even a block of 2 x 2 x 2 inside another structure.
#            sitkNearestNeighbor and sitkLabelLinear leave the map as it is.
# Seen:      voxels of labels 1 to 4: before 207, 1, 1, 8; after 208, 0, 0, 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" numpy==2.2.6 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import numpy as np
import SimpleITK as sitk

labels = np.zeros((12, 12, 12), np.uint8)
labels[3:9, 3:9, 3:9] = 1
labels[4, 4, 4] = 2
labels[10, 10, 10] = 3
labels[5:7, 5:7, 5:7] = 4
image = sitk.GetImageFromArray(labels)


def sizes(interpolator):
    resampled = sitk.Resample(image, image, sitk.Transform(), interpolator)
    return np.bincount(sitk.GetArrayFromImage(resampled).ravel(), minlength=5)[1:].tolist()


seen = {name: sizes(getattr(sitk, f"sitk{name}")) for name in ("NearestNeighbor", "LabelLinear", "LabelGaussian")}
print(seen)
before = [207, 1, 1, 8]
expected = {"NearestNeighbor": before, "LabelLinear": before, "LabelGaussian": [208, 0, 0, 0]}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
