#!/usr/bin/env bash
# seg-metrics 1.2.8: surface distances of a structure that the prediction lacks
#
# Guess:     the Hausdorff distance of a missed structure is NaN, infinite or an error.
# Behaviour: it is 0, the best there is, as are the 95th percentile and the mean surface distance, while Dice is 0. The other
#            label of the same image, which has voxels in both, gets 1.8e19. A paint-over of an absent structure gets 0, too.
# Seen:      missed and painted: Dice 0, hd 0, hd95 0, msd 0; background: Dice 0.98, hd 1.8e19
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==1.26.4 seg-metrics==1.2.8
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import numpy as np
from seg_metrics import seg_metrics

lesion = np.zeros((10, 12, 14), np.uint8)
lesion[2:6, 2:6, 2:6] = 1
nothing = np.zeros_like(lesion)
names = ["dice", "hd", "hd95", "msd"]
seen = {}
for what, truth, prediction in (("missed", lesion, nothing), ("painted", nothing, lesion)):
    (values,) = seg_metrics.write_metrics(
        labels=[0, 1], gdth_img=truth, pred_img=prediction, csv_file=None, metrics=names, spacing=[1.0, 1.0, 1.0]
    )
    background, structure = zip(*(values[name] for name in names))
    print(what, dict(zip(names, structure)), "background", dict(zip(names, background)))
    seen[what] = ([float(value) for value in structure], round(background[0], 2), float(f"{background[1]:.1e}"))
expected = {what: ([0.0, 0.0, 0.0, 0.0], 0.98, 1.8e19) for what in ("missed", "painted")}
raise SystemExit(None if seen == expected else f"changed: expected {expected}, seen {seen}")
PY
