#!/usr/bin/env bash
# highdicom 0.28.2: the volume of a DICOM segmentation
#
# Guess:     get_volume gives as many slices as the images that were segmented have, empty ones as zeros, as
#            get_pixels_by_source_instance does.
# Behaviour: frames without the segment are not stored, and the volume spans only what is stored: a structure in slices 2 and
#            4 of six comes back as three slices, and these run from the top down, against the order of the images. Its index
#            is not the CT's; the volume's own affine is right.
# Seen:      by source instance (6, 6, 5), slices 2 and 4; volume (3, 6, 5), first slice at z = 4 mm, next at 3 mm
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 pydicom==3.0.2 highdicom==0.28.2
cd "$work"
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import highdicom
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()


def ct_slice(number):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
    image.Modality, image.PatientID, image.PatientName = "CT", "made-up", "made-up"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = ""
    image.StudyID = image.AccessionNumber = image.ReferringPhysicianName = image.PositionReferenceIndicator = ""
    image.InstanceNumber, image.SeriesNumber = number + 1, 1
    image.ImagePositionPatient, image.ImageOrientationPatient = [0.0, 0.0, float(number)], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [2.0, 2.0], 1.0
    image.Rows, image.Columns = 6, 5
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = np.zeros((6, 5), np.uint16).tobytes()
    return image


images = [ct_slice(number) for number in range(6)]
mask = np.zeros((6, 6, 5), np.uint8)
mask[2, 2, 2] = mask[4, 2, 2] = 1
segment = highdicom.seg.SegmentDescription(
    segment_number=1,
    segment_label="lesion",
    segmented_property_category=codes.cid7150.Tissue,
    segmented_property_type=codes.cid7166.ConnectiveTissue,
    algorithm_type="MANUAL",
)
segmentation = highdicom.seg.Segmentation(
    source_images=images,
    pixel_array=mask,
    segmentation_type="BINARY",
    segment_descriptions=[segment],
    series_instance_uid=generate_uid(),
    series_number=2,
    sop_instance_uid=generate_uid(),
    instance_number=1,
    manufacturer="made-up",
    manufacturer_model_name="made-up",
    software_versions="1",
    device_serial_number="1",
)
pixels = segmentation.get_pixels_by_source_instance([image.SOPInstanceUID for image in images])
volume = segmentation.get_volume()
first, step = float(volume.affine[2, 3]), float(volume.affine[2, 0])
seen = pixels.shape[:3], np.flatnonzero(pixels.any(axis=(1, 2, 3))).tolist(), volume.array.shape[:3], first, first + step
print("by source instance {}, slices {}; volume {}, first slice at z = {:g} mm, next at {:g} mm".format(*seen))
expected = (6, 6, 5), [2, 4], (3, 6, 5), 4.0, 3.0
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
