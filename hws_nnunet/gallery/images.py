"""Images and label maps, turned so that the axes run to the patient's right, front and top."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.datasets.checks import label_values
from hws_nnunet.datasets.geometry import voxel_sizes
from hws_nnunet.datasets.images import ImageFileError, open_image, read_voxels
from hws_nnunet.messages import number

NIFTI = (".nii.gz", ".nii")
FLAT = (".png", ".bmp", ".tif", ".tiff")
"""File endings of 2D pictures."""


@dataclass(frozen=True)
class Grid:
    """How a file's voxels lie: its shape, three numbers, and its affine; None for a picture without one.

    ``sizes`` are the voxels' along the file's axes in millimetres, by its header, from which the affine may differ.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray | None
    sizes: tuple[float, ...] | None = None

    @property
    def orientation(self) -> np.ndarray | None:
        """nibabel's orientation towards right, front and top; None where the file tells none."""
        if self.affine is None or not np.isfinite(self.affine).all():
            return None
        axes = nib.io_orientation(self.affine)
        return None if np.isnan(axes).any() else axes

    @property
    def file_spacing(self) -> np.ndarray:
        """Voxel size along the file's axes in millimetres; 1 where the file tells none."""
        if self.orientation is None:
            return np.ones(3)
        return nib.affines.voxel_sizes(self.affine) if self.sizes is None else np.array(self.sizes)

    def turn(self, voxels: np.ndarray) -> np.ndarray:
        """Return an array in the file's order, turned to right, front and top."""
        return voxels if self.orientation is None else nib.apply_orientation(voxels, self.orientation)

    def turn_sizes(self, sizes: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return one number an axis of the file, in the order of the turned axes."""
        turned = np.asarray(sizes, dtype=float)
        if self.orientation is not None:
            turned = turned[np.argsort(self.orientation[:, 0])]
        return turned

    def file_voxel(self, voxel: Sequence[int]) -> tuple[int, ...]:
        """Return where a voxel of the turned array lies in the file."""
        if self.orientation is None:
            return tuple(int(v) for v in voxel)
        place = np.asarray(voxel)[self.orientation[:, 0].astype(int)]
        place = np.where(self.orientation[:, 1] > 0, place, np.array(self.shape) - 1 - place)
        return tuple(int(v) for v in place)

    def file_slice(self, voxel: Sequence[int], axis: int) -> int:
        """Return which slice across a turned axis a voxel lies in, counted as in the file."""
        place = axis if self.orientation is None else int(np.flatnonzero(self.orientation[:, 0] == axis)[0])
        return self.file_voxel(voxel)[place]


@dataclass(frozen=True)
class Pictured:
    """A case's voxels, all on one grid of shape ``(x, y, z)``, turned to right, front and top.

    Attributes:
        image: of one channel, float32; what is not finite is the smallest value.
        reference: label values.
        prediction: label values, or None.
        grid: of the image's file.
        spacing: of the turned axes, ``(3,)``, in millimetres.
        notes: oddities that a reader should know.
    """

    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray | None
    grid: Grid
    spacing: np.ndarray
    notes: list[str] = field(default_factory=list)


def read_grid(file: Path) -> Grid:
    """Return how a file's voxels lie, without reading them where the format allows that.

    Raises:
        ValueError: for a format that cannot be read, or an image that is neither 2D nor 3D.
    """
    if file.name.lower().endswith(FLAT):
        return Grid((*_read_flat(file).shape[:2], 1), None)
    if not file.name.lower().endswith(NIFTI):
        raise ValueError(f"{file} cannot be read: expected one of {', '.join(NIFTI + FLAT)}")
    image = open_image(file)
    if len(image.shape) < 2 or any(size != 1 for size in image.shape[3:]):
        raise ValueError(f"{file} has shape {image.shape}: expected 2 or 3 dimensions")
    sizes = (*voxel_sizes(image), 1.0)[:3]
    return Grid(_three(image.shape), image.affine, sizes)


def read_case(images: Sequence[Path], label: Path, prediction: Path | None, *, channel: int = 0) -> Pictured:
    """Read a case; its files have been checked with :func:`read_grid` to have one shape.

    Args:
        images: one file a channel, or one picture in colour.
        label: the reference.
        prediction: a label map, or None.
        channel: which one to show.

    Raises:
        ValueError: for labels that are not whole numbers, a file that cannot be read, or a channel that it has not.
    """
    grid = read_grid(images[0])
    voxels = _read_channel(images, channel)
    strange = int((~np.isfinite(voxels)).sum())
    image = _finite(voxels)
    notes = [f"{strange} voxels of the image are not finite"] if strange else []
    maps = {"reference": label, "prediction": prediction}
    for name, file in maps.items():
        other = None if file is None else read_grid(file).affine
        if grid.affine is not None and other is not None and not np.allclose(grid.affine, other, atol=1e-2):
            notes.append(f"the {name}'s affine differs from the image's; drawn voxel on voxel, as nnU-Net trains")
    return Pictured(
        image=grid.turn(image),
        reference=grid.turn(_read_labels(label)),
        prediction=None if prediction is None else grid.turn(_read_labels(prediction)),
        grid=grid,
        spacing=grid.turn_sizes(grid.file_spacing),
        notes=notes,
    )


def read_channels(images: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield each channel of a case in the file's order of axes, three of them, as float32.

    Voxels that are not finite get the lowest value.

    Args:
        images: one file a channel, or one picture in colour.

    Raises:
        ImageFileError: a file cannot be read.
    """
    for file in images:
        if file.name.lower().endswith(NIFTI):
            yield _finite(_read_nifti(file, read_voxels))
        else:
            voxels = _read_flat(file)
            yield from (_finite(voxels[..., i, None]) for i in range(voxels.shape[2]))


def _finite(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, dtype=np.float32)
    finite = np.isfinite(image)
    return image if finite.all() else np.where(finite, image, image[finite].min() if finite.any() else 0)


def _read_channel(images: Sequence[Path], channel: int) -> np.ndarray:
    """Return one channel; NIfTI files have one each, a picture has all of its colours."""
    before = 0
    for file in images:
        if file.name.lower().endswith(NIFTI):
            if before == channel:
                return _read_nifti(file, read_voxels)
            before += 1
            continue
        voxels = _read_flat(file)
        if channel < before + voxels.shape[2]:
            return voxels[..., channel - before, None]
        before += voxels.shape[2]
    raise ValueError(f"{images[0]} has {number(before, 'channel')}, number {channel} was asked for, from 0 on")


def _read_labels(file: Path) -> np.ndarray:
    if not file.name.lower().endswith(NIFTI):
        return _read_flat(file).astype(np.int64)[..., :1]
    return _read_nifti(file, label_values)


def _read_nifti(file: Path, read: Callable[[nib.Nifti1Image], np.ndarray]) -> np.ndarray:
    image = open_image(file)
    try:
        return read(image).reshape(_three(image.shape))
    except ImageFileError:
        raise
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _read_flat(file: Path) -> np.ndarray:
    """Return a picture as ``(columns, rows from below, channels)``: the axes that the other images have."""
    from PIL import Image, UnidentifiedImageError  # matplotlib needs it, too

    try:
        voxels = np.asarray(Image.open(file))
    except (Image.DecompressionBombError, OSError, SyntaxError, UnidentifiedImageError, ValueError) as error:
        raise ImageFileError(f"{file} is truncated or damaged: {error}") from error
    return np.atleast_3d(voxels).transpose(1, 0, 2)[:, ::-1]


def _three(shape: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = [*shape, 1, 1][:3]
    return x, y, z


def box_of(mask: np.ndarray) -> np.ndarray:
    """Return the box that holds a mask, ``(3, 2)``; the whole image where it is empty."""
    if not mask.any():
        return np.array([[0, size] for size in mask.shape])
    sides = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([[side[0], side[-1] + 1] for side in sides])
