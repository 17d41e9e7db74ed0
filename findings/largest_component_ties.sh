#!/usr/bin/env bash
# acvl-utils 0.2.6 (what nnU-Net's postprocessing calls) beside connected-components-3d 4.1.1: the largest of equals
#
# Guess:     "all but the largest component" leaves one component.
# Behaviour: acvl-utils leaves every component that is as large as the largest; connected-components-3d, with k=1, leaves one
#            of them. Where two kidneys come out equally large, one tool keeps both and the other drops one.
# Seen:      two components of 8 voxels and one of 1: acvl-utils leaves 2 components, connected-components-3d 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" \
    numpy==2.2.6 scipy==1.15.3 scikit-image==0.25.2 connected-components-3d==4.1.1
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" acvl-utils==0.2.6
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import cc3d
import numpy as np
from acvl_utils.morphology.morphology_helper import remove_all_but_largest_component
from scipy import ndimage

mask = np.zeros((12, 12, 12), np.uint8)
mask[1:3, 1:3, 1:3] = 1
mask[6:8, 6:8, 6:8] = 1
mask[10, 10, 10] = 1
seen = tuple(
    ndimage.label(np.asarray(kept) > 0)[1]
    for kept in (remove_all_but_largest_component(mask > 0), cc3d.largest_k(mask, k=1))
)
print(f"acvl-utils leaves {seen[0]} component(s), connected-components-3d {seen[1]}")
raise SystemExit(None if seen == (2, 1) else "changed: expected 2 and 1")
PY
