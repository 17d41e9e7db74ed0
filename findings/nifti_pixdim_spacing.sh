#!/usr/bin/env bash
# SimpleITK 2.5.7 beside nibabel 5.4.2: voxel sizes of a NIfTI file whose only transform is an sform
#
# Guess:     nibabel's header.set_zooms is overruled by the affine when the file is saved; and where a file has an sform and
#            no qform, SimpleITK takes the voxel sizes from it.
# Behaviour: the file keeps both: the new pixdim, and an sform of the old sizes. nibabel's affine follows the sform, its
#            get_zooms the pixdim, and SimpleITK takes the sizes from pixdim (it prints a warning), only the directions from
#            the sform. A volume in millilitres differs by the product of the factors.
# Seen:      affine 2, 3, 4; get_zooms 1, 1, 1; SimpleITK 1, 1, 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 nibabel==5.4.2 SimpleITK==2.5.7
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import nibabel as nib
import numpy as np
import SimpleITK as sitk

image = nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
image.set_sform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
image.set_qform(None, 0)
image.header.set_zooms((1.0, 1.0, 1.0))
nib.save(image, "image.nii")

saved = nib.load("image.nii")
seen = {
    "affine": tuple(map(float, nib.affines.voxel_sizes(saved.affine))),
    "get_zooms": tuple(map(float, saved.header.get_zooms())),
    "SimpleITK": sitk.ReadImage("image.nii").GetSpacing(),
}
print(seen)
expected = {"affine": (2.0, 3.0, 4.0), "get_zooms": (1.0, 1.0, 1.0), "SimpleITK": (1.0, 1.0, 1.0)}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
