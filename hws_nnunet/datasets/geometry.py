"""Where a NIfTI file's voxels lie: as SimpleITK sees it, by which nnU-Net reads unless told otherwise, and nibabel.

Headers tell voxel sizes, a qform and an sform, which disagree in many public data sets; readers choose differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_TOLERANCE = 1e-3  # millimetres, of voxel sizes and of each entry of an affine


@dataclass(frozen=True)
class Geometry:
    """A file's grid.

    Attributes:
        name: the file.
        shape: three numbers.
        sizes: of the voxels along the axes, in millimetres, by the header; those that all readers take.
        affine: nibabel's: the sform, or where there is none the qform.
        itk: SimpleITK's ``(3, 4)`` of axes times sizes, and origin; None where it cannot read it, or is not installed.
    """

    name: str
    shape: tuple[int, ...]
    sizes: tuple[float, ...]
    affine: np.ndarray
    itk: np.ndarray | None


def geometry(image: nib.Nifti1Image) -> Geometry:
    """Return an image's grid; a fourth axis of one volume does not count.

    Raises:
        ValueError: it is not three-dimensional, or a voxel has no size; the message names the file.
    """
    name = str(image.get_filename() or "the image")
    shape = tuple(image.shape)
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        raise ValueError(f"{name} has shape {shape}, expected three dimensions")
    return Geometry(name, shape[:3], voxel_sizes(image), image.affine, _itk(name))


def voxel_sizes(image: nib.Nifti1Image) -> tuple[float, ...]:
    """Return the sizes of an image's voxels along its first three axes or less, in millimetres, by its header.

    Raises:
        ValueError: one is not above 0; the message names the file.
    """
    scale = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    sizes = tuple(scale * float(size) for size in image.header.get_zooms()[:3])
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        raise ValueError(f"{image.get_filename()} has voxels of {_shown(sizes)} mm, expected sizes above 0")
    return sizes


def _itk(name: str) -> np.ndarray | None:
    try:
        import SimpleITK
    except ImportError:  # only nnU-Net brings it along
        return None
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(name)
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # what disagrees is told in our own words
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # axes that are not orthonormal, for instance
        return None
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    n = reader.GetDimension()
    if n < 3:
        return None
    axes = np.reshape(reader.GetDirection(), (n, n))[:3, :3] * np.array(reader.GetSpacing()[:3])
    return np.column_stack([axes, reader.GetOrigin()[:3]])


def same_grid(one: Geometry, other: Geometry) -> tuple[str, list[str]]:
    """Return what keeps two files from lying on one grid, nothing where a reader sees them on one, and oddities.

    Args:
        one: the reference; its voxel sizes count.
        other: a prediction.
    """
    if one.shape != other.shape:
        return f"shapes {one.shape} and {other.shape} differ", []
    by_affine = _difference(one.affine[:3], other.affine[:3])
    by_itk = None if one.itk is None or other.itk is None else _difference(one.itk, other.itk)
    seen = by_affine if by_itk is None else min(by_affine, by_itk)
    if not seen <= _TOLERANCE:  # NaN is not a grid either
        return f"affines differ by up to {seen:.4g} mm (allowed: {_TOLERANCE:g})", []
    oddities = []
    if _difference(one.sizes, other.sizes) > _TOLERANCE:
        oddities.append(
            f"{other.name} has voxels of {_shown(other.sizes)} mm, its reference {_shown(one.sizes)}, which count"
        )
    own = nib.affines.voxel_sizes(one.affine)
    if _difference(own, one.sizes) > _TOLERANCE:
        oddities.append(
            f"{one.name} has voxels of {_shown(one.sizes)} mm, but {_shown(own)} by its affine: the former are taken"
        )
    if by_itk is not None and (by_itk <= _TOLERANCE) != (by_affine <= _TOLERANCE):
        reader = "nibabel" if by_affine <= _TOLERANCE else "SimpleITK"
        oddities.append(f"{other.name} lies on its reference's grid by {reader} alone")
    return "", oddities


def trainable(image: Geometry, label: Geometry) -> str | None:
    """Return why nnU-Net would not train on an image and a label, None where it would: it asks for one grid."""
    if image.shape != label.shape:
        return f"shapes {image.shape} and {label.shape} differ"
    if _difference(image.sizes, label.sizes) > _TOLERANCE:
        return f"voxel sizes {_shown(image.sizes)} and {_shown(label.sizes)} mm differ, by which nnU-Net goes"
    if image.itk is None or label.itk is None:
        difference = _difference(image.affine[:3], label.affine[:3])
    else:
        difference = _difference(image.itk, label.itk)
    return (
        None if difference <= _TOLERANCE else f"affines differ by up to {difference:.4g} mm (allowed: {_TOLERANCE:g})"
    )


def _difference(one: np.ndarray | Sequence[float], other: np.ndarray | Sequence[float]) -> float:
    return float(np.abs(np.subtract(one, other)).max())


def _shown(sizes: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)
