#!/usr/bin/env bash
# nnU-Net 2.8.1: cases that are added to a data set later
#
# Guess:     two cases are added to a data set of ten, and nnUNetv2_plan_and_preprocess runs again: now a fold trains on and
#            validates all twelve, or the log says that two are missing.
# Behaviour: the folds of the ten stay. Planning and preprocessing see twelve, splits_final.json keeps what it had, and the
#            two are in neither part of any fold, of which the log says nothing.
# Seen:      10 preprocessed: 8 in training, 2 in validation; 12 preprocessed: 8 in training, 2 in validation, silent
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 timm==1.0.22 \
    dynamic-network-architectures==0.4.4 nnunetv2==2.8.1
cd "$work"
mkdir raw preprocessed results
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
cat > images.py <<'PY'
import json
import sys
from pathlib import Path

import nibabel
import numpy as np

folder, cases, rng = Path("raw", "Dataset007_Balls"), int(sys.argv[1]), np.random.default_rng(0)
for name in ("imagesTr", "labelsTr"):
    (folder / name).mkdir(parents=True, exist_ok=True)
far = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(32) - 15.5] * 3)), axis=0)
for case in range(cases):
    labels = (far < 8 + case / 4).astype(np.uint8)
    image = (labels + rng.normal(0, 0.1, labels.shape)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / f"case{case:02d}_0000.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / "labelsTr" / f"case{case:02d}.nii.gz")
about = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "ball": 1}, "numTraining": cases}
about |= {"file_ending": ".nii.gz", "overwrite_image_reader_writer": "NibabelIO"}
(folder / "dataset.json").write_text(json.dumps(about))
PY
cat > split.py <<'PY'
import sys
from pathlib import Path

import torch
from nnunetv2.run.run_training import get_trainer_from_args

if __name__ == "__main__":
    trainer = get_trainer_from_args("7", "3d_fullres", 0, device=torch.device("cpu"))
    training, validation = trainer.do_split()
    folder = Path("preprocessed", "Dataset007_Balls", "nnUNetPlans_3d_fullres")
    print(len(list(folder.glob("case??.pkl"))), len(training), len(validation), file=sys.stderr)
PY
export PYTHONPATH="$work/lib" nnUNet_def_n_proc=1
for cases in 10 12; do
    python3 -W ignore images.py $cases
    python3 -W ignore -c 'from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry
if __name__ == "__main__":
    plan_and_preprocess_entry()' -d 7 -c 3d_fullres -npfp 1 -np 1 --verify_dataset_integrity > planning.log 2>&1
    python3 -W ignore split.py > said$cases 2> seen$cases
    tail -n 1 seen$cases
done
grep -i -E "case1[01]|warning|missing" said12 && { echo "changed: the log tells of the cases"; exit 1; }
[ "$(tail -qn 1 seen10 seen12 | tr '\n' ';')" = "10 8 2;12 8 2;" ] || { echo "changed: expected 10 8 2 and 12 8 2"; exit 1; }
