"""NIfTI files, opened and read with errors that name the file, and without trust in the sizes that they promise."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import nibabel as nib
import numpy as np

_MOST_PACKED = 1040  # of a gzip file's size: its format cannot hold more than 1,032 bytes a byte
_SPARE = 1 << 20


class ImageFileError(ValueError):
    """An image file that cannot be used; the message names it."""


def open_image(path: str | Path) -> nib.Nifti1Image:
    """Return an image, its voxels not read yet.

    Raises:
        FileNotFoundError: there is no such file.
        ImageFileError: it is not a NIfTI image, is truncated or damaged, or promises more voxels than it can hold.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        image, held = nib.load(path), path.stat().st_size
    except Exception as error:  # nibabel, zlib and numpy each raise their own
        raise _damaged(path, error) from error
    if not isinstance(image, nib.Nifti1Image):  # CIFTI's files have the same ending
        raise ImageFileError(f"{path} is not a NIfTI image, but {type(image).__name__}")
    promised = _end(image)
    if promised > held * (_MOST_PACKED if path.suffix == ".gz" else 1) + _SPARE:
        raise ImageFileError(
            f"{path} is truncated or damaged: its header promises {promised:,} bytes for voxels of shape "
            f"{tuple(image.shape)}, the file has {held:,}"
        )
    return image


def read_voxels(image: nib.Nifti1Image) -> np.ndarray:
    """Return an image's voxels, scaled as its header says.

    Raises:
        ImageFileError: the file is truncated or damaged, or they do not fit into memory.
    """
    try:
        name = str(image.get_filename() or "")
        return np.asanyarray((_unpacked(image, name) if name.endswith(".gz") else image).dataobj)
    except MemoryError as error:
        raise ImageFileError(f"{image.get_filename()} does not fit into memory: shape {image.shape}") from error
    except Exception as error:
        raise _damaged(image.get_filename(), error) from error


def _unpacked(image: nib.Nifti1Image, name: str) -> nib.Nifti1Image:
    """Return an image that is read to its file's end, where a checksum stands; nibabel alone stops before."""
    with gzip.open(name) as file:
        return type(image).from_bytes(file.read(_end(image) + _SPARE))


def _end(image: nib.Nifti1Image) -> int:
    """Return where the voxels end in the unpacked file, in bytes; they begin behind the extensions of the header."""
    return int(getattr(image.dataobj, "offset", 0)) + math.prod(image.shape) * image.get_data_dtype().itemsize


def scaling(image: nib.Nifti1Image) -> tuple[float, float]:
    """Return the slope and the intercept by which a file's stored values become voxels; 1 and 0 without."""
    return float(getattr(image.dataobj, "slope", 1)), float(getattr(image.dataobj, "inter", 0))


def _damaged(path: str | Path | None, error: Exception) -> ImageFileError:
    if isinstance(error, PermissionError):
        return ImageFileError(f"{path} cannot be read: {error.strerror}")
    return ImageFileError(f"{path} is truncated or damaged: {str(error) or type(error).__name__}")
