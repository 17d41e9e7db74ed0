#!/usr/bin/env bash
# SimpleITK 2.5.7 beside nibabel 5.4.2: a NIfTI-2 file
#
# Guess:     SimpleITK reads NIfTI-2, the version of 2011, as it reads NIfTI-1.
# Behaviour: it finds no reader for the file, though the ending is .nii and nibabel opens it without asking.
# Seen:      RuntimeError: ... Unable to determine ImageIO reader for "two.nii"
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 nibabel==5.4.2 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import nibabel as nib
import numpy as np
import SimpleITK as sitk

voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
nib.save(nib.Nifti1Image(voxels, np.eye(4)), "one.nii")
nib.save(nib.Nifti2Image(voxels, np.eye(4)), "two.nii")
for name in ("one.nii", "two.nii"):
    assert np.array_equal(nib.load(name).dataobj, voxels)
assert sitk.ReadImage("one.nii").GetSize() == (3, 4, 5)
try:
    sitk.ReadImage("two.nii")
except RuntimeError as error:
    print("RuntimeError:", str(error).splitlines()[-1])
    raise SystemExit(None if "Unable to determine ImageIO reader" in str(error) else "changed: another error")
raise SystemExit("changed: SimpleITK reads NIfTI-2")
PY
