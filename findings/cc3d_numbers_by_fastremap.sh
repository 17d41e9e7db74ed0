#!/usr/bin/env bash
# connected-components-3d 3.29.0: the numbers that largest_k gives, without and with the package fastremap 1.21.0
#
# Guess:     with k=3, component 1 is the largest, and what else is installed changes nothing.
# Behaviour: without fastremap, which cc3d only uses where it is there, sizes ascend: number k is the largest. With it, the
#            numbers follow the components' places in the image. So "labels == 3" is the largest on one machine and another
#            component on the next, with the same version of cc3d. No number 1 is the largest but by chance.
# Seen:      sizes of 1, 2, 3: without [4, 5, 6], with [4, 6, 5]; of the image turned round: [4, 5, 6] and [5, 6, 4]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" numpy==2.2.6 connected-components-3d==3.29.0
python3 -m pip install --quiet --no-compile --no-deps --target "$work/more" fastremap==1.21.0
cd "$work"
cat > sizes.py <<'PY'
import cc3d
import numpy as np

mask = np.zeros((20, 20, 20), np.uint8)
mask[10, 10, :6] = 1  # neither the first nor the last in the image
mask[0, 0, :4] = mask[15, 15, :5] = mask[18, 18, :2] = 1
turned = np.ascontiguousarray(mask[::-1])
print([[int((cc3d.largest_k(m, k=3) == number).sum()) for number in (1, 2, 3)] for m in (mask, turned)])
PY
without=$(PYTHONPATH="$work/lib" python3 -s sizes.py)
with=$(PYTHONPATH="$work/lib:$work/more" python3 -s sizes.py)
echo "without fastremap: $without; with: $with"
[ "$without" = "[[4, 5, 6], [4, 5, 6]]" ] && [ "$with" = "[[4, 6, 5], [5, 6, 4]]" ] || { echo "changed"; exit 1; }
