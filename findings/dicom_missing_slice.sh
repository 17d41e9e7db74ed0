#!/usr/bin/env bash
# SimpleITK 2.5.7 and dicom2nifti 2.6.2: a DICOM series in which one slice is missing
#
# Guess:     SimpleITK takes the distance of the first two slices for all; dicom2nifti raises an error that names the gap, or
#            fills it.
# Behaviour: SimpleITK spreads the gap over all slices (it prints a warning): slices 1 mm apart become 1.2 mm apart, so every
#            slice but the first and the last moves, and volumes grow by a fifth. dicom2nifti logs the gap, writes nothing, and
#            its convert_directory returns as if all had gone well.
# Seen:      complete: spacing 1.0, 1 file; one of 7 slices missing: spacing 1.2, 0 files
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" \
    numpy==2.2.6 scipy==1.15.3 SimpleITK==2.5.7 pydicom==3.0.2 dicom2nifti==2.6.2
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - 2>/dev/null <<'PY'
import os

import dicom2nifti
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_series(folder, heights):
    os.makedirs(folder)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, height in enumerate(heights, 1):
        slice_ = Dataset()
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
        slice_.Modality, slice_.PatientID, slice_.PatientName = "CT", "made-up", "made-up"
        slice_.InstanceNumber, slice_.SeriesNumber = number, 1
        slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, height], [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing, slice_.SliceThickness = [2.0, 2.0], 1.0
        slice_.Rows = slice_.Columns = 6
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 12, 11, 0
        slice_.RescaleIntercept, slice_.RescaleSlope = -1024, 1
        slice_.PixelData = np.full((6, 6), 1000 + number, np.uint16).tobytes()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.save_as(f"{folder}/{number:03d}.dcm", enforce_file_format=True)


def read(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    spacing = round(reader.Execute().GetSpacing()[2], 6)
    os.makedirs(f"{folder}-nifti")
    dicom2nifti.convert_directory(folder, f"{folder}-nifti")
    return spacing, len(os.listdir(f"{folder}-nifti"))


write_series("complete", range(7))
write_series("gap", [0, 1, 2, 4, 5, 6])
seen = read("complete"), read("gap")
print("complete: spacing {}, {} file(s) of dicom2nifti".format(*seen[0]))
print("one of 7 slices missing: spacing {}, {} file(s) of dicom2nifti".format(*seen[1]))
if seen != ((1.0, 1), (1.2, 0)):
    print("changed: expected 1.0 and 1 file, 1.2 and 0 files")
    raise SystemExit(1)
PY
