#!/usr/bin/env bash
# SimpleITK 2.5.7 beside nibabel 5.4.2: which transform of a NIfTI file says where the voxels are
#
# Guess:     where a file has both a qform and an sform, both libraries use the sform, whatever its code above 0.
# Behaviour: nibabel does. SimpleITK takes the sform of code 1 (scanner); beside a qform it ignores one of code 2, 3 or 4
#            (aligned, Talairach, MNI), and takes the qform. So one file lies in two places, without a word.
# Seen:      sform code 1: nibabel sform, SimpleITK sform
#            sform code 2: nibabel sform, SimpleITK qform    (3 and 4 the same)
#            sform code 2, qform code 0: nibabel sform, SimpleITK sform
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 nibabel==5.4.2 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import nibabel as nib
import numpy as np
import SimpleITK as sitk

SFORM, QFORM = np.diag([2.0, 3.0, 4.0, 1.0]), np.diag([2.0, 3.0, 4.0, 1.0])
SFORM[0, 3], QFORM[0, 3] = 10.0, 70.0  # the same grid, 60 mm apart
NAMES = {10.0: "sform", 70.0: "qform"}


def taken(qform_code, sform_code):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), SFORM)
    image.set_qform(QFORM, qform_code)
    image.set_sform(SFORM, sform_code)
    nib.save(image, "image.nii")
    by_nibabel = nib.load("image.nii").affine[0, 3]
    by_simpleitk = -sitk.ReadImage("image.nii").GetOrigin()[0]  # its x axis points the other way
    return NAMES[float(by_nibabel)], NAMES[by_simpleitk]


expected = {(1, 1): "sform", (1, 2): "qform", (1, 3): "qform", (1, 4): "qform", (2, 2): "qform", (0, 2): "sform"}
for codes, simpleitk in expected.items():
    seen = taken(*codes)
    print(f"qform code {codes[0]}, sform code {codes[1]}: nibabel {seen[0]}, SimpleITK {seen[1]}")
    if seen != ("sform", simpleitk):
        raise SystemExit(f"changed: expected nibabel sform, SimpleITK {simpleitk}")
PY
