#!/usr/bin/env bash
# SimpleITK 2.5.7 beside nibabel 5.4.2: a four-dimensional NIfTI file that holds a single volume
#
# Guess:     SimpleITK gives an image of four dimensions, the last of size 1, as nibabel does.
# Behaviour: it drops the last axis, so that scripts written with one library take a file for a plain label map which, to
#            scripts written with the other, is a time series. With two volumes both see four dimensions.
# Seen:      1 volume: nibabel (4, 5, 6, 1), SimpleITK (4, 5, 6)
#            2 volumes: nibabel (4, 5, 6, 2), SimpleITK (4, 5, 6, 2)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 nibabel==5.4.2 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import nibabel as nib
import numpy as np
import SimpleITK as sitk

expected = {1: (4, 5, 6), 2: (4, 5, 6, 2)}
for volumes, simpleitk in expected.items():
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, volumes), np.uint8), np.eye(4)), "image.nii.gz")
    seen = nib.load("image.nii.gz").shape, sitk.ReadImage("image.nii.gz").GetSize()
    print(f"{volumes} volume(s): nibabel {seen[0]}, SimpleITK {seen[1]}")
    if seen != ((4, 5, 6, volumes), simpleitk):
        raise SystemExit(f"changed: expected {(4, 5, 6, volumes)} and {simpleitk}")
PY
