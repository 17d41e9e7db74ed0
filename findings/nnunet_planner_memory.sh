#!/usr/bin/env bash
# nnU-Net 2.8.1: what more GPU memory does to a plan
#
# Guess:     planned for ten times the memory (-gpu_memory_target 80 in place of 8), the batch grows, so that it can be split
#            over several GPUs.
# Behaviour: with 60 cases of the size of a brain the patch grows first, beyond the median image, and the batch stays at 2
#            at 24 and at 80 GB; the plans of these two do not differ. A batch may hold 5 % of the data set's voxels: with
#            1,251 cases the batch is 2, 3 and 11.
# Seen:      60 cases: 2, 2, 2; 1,251 cases: 2, 3, 11; patches 128 x 128 x 128 at 8 GB and 160 x 192 x 160 above, of images of
#            140 x 171 x 137
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 timm==1.0.22 \
    dynamic-network-architectures==0.4.4 nnunetv2==2.8.1
cd "$work"
mkdir raw preprocessed results
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
PYTHONPATH="$work/lib" python3 -W ignore - > planning.log <<'PY'
import json
import os
import sys
from pathlib import Path

import nibabel
import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

seen = {}
for cases in (60, 1251):
    name = f"Dataset{cases % 1000:03d}_Brains"
    raw, planned = Path("raw", name), Path("preprocessed", name)
    for folder in (raw / "imagesTr", raw / "labelsTr", planned):
        folder.mkdir(parents=True)
    first = raw / "imagesTr" / "case0000_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), first)
    for case in range(cases):
        os.link(first, raw / "labelsTr" / f"case{case:04d}.nii.gz")
        if case:
            os.link(first, raw / "imagesTr" / f"case{case:04d}_0000.nii.gz")
    dataset = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "tumour": 1}, "numTraining": cases}
    dataset |= {"file_ending": ".nii.gz", "overwrite_image_reader_writer": "NibabelIO"}
    intensities = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 0.0)
    fingerprint = {"spacings": [[1.0, 1.0, 1.0]] * cases, "shapes_after_crop": [[140, 171, 137]] * cases}
    fingerprint |= {"foreground_intensity_properties_per_channel": {"0": intensities}}
    fingerprint |= {"median_relative_size_after_cropping": 1.0}
    for folder in (raw, planned):
        (folder / "dataset.json").write_text(json.dumps(dataset))
    (planned / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    for memory in (8, 24, 80):
        planner = ExperimentPlanner(name, gpu_memory_target_in_gb=memory, plans_name=f"plans{memory}")
        plan = planner.plan_experiment()["configurations"]["3d_fullres"]
        seen[cases, memory] = (plan["batch_size"], tuple(map(int, plan["patch_size"])))
print(seen, file=sys.stderr)
small, large = (128, 128, 128), (160, 192, 160)
expected = {(60, 8): (2, small), (60, 24): (2, large), (60, 80): (2, large)}
expected |= {(1251, 8): (2, small), (1251, 24): (3, large), (1251, 80): (11, large)}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
