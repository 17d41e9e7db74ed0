#!/usr/bin/env bash
# acvl-utils 0.2.6: the bounding box of an empty mask
#
# Guess:     get_bbox_from_mask raises for a mask without a voxel, as NumPy does for the minimum of nothing.
# Behaviour: it returns the whole image. Its sibling get_bbox_from_mask_npwhere, the same but for speed, raises. So cropping
#            to an empty structure keeps everything, and the box of nothing equals that of a mask that is full.
# Seen:      get_bbox_from_mask: [[0, 4], [0, 5], [0, 6]]
#            get_bbox_from_mask_npwhere: ValueError: zero-size array to reduction operation minimum which has no identity
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 blosc2==4.14.1
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" acvl-utils==0.2.6
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask, get_bbox_from_mask_npwhere

empty = np.zeros((4, 5, 6), bool)
box = get_bbox_from_mask(empty)
print("get_bbox_from_mask:", box)
try:
    print("changed: get_bbox_from_mask_npwhere:", get_bbox_from_mask_npwhere(empty))
except ValueError as error:
    print("get_bbox_from_mask_npwhere: ValueError:", error)
    raise SystemExit(None if box == [[0, 4], [0, 5], [0, 6]] else "changed: another box")
raise SystemExit(1)
PY
