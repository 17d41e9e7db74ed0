"""How both versions of nnU-Net hand data to a training: a loader within one of batchgenerators' augmenters."""

from __future__ import annotations


def loader_of(augmenter: object) -> object:
    """Return the data loader that one of the host's augmenters holds, None where it holds none."""
    for name in ("generator", "data_loader"):
        if (loader := getattr(augmenter, name, None)) is not None:
            return loader
    return None


def stop(*augmenters: object) -> None:
    """End the workers of the host's augmenters, of those that have any."""
    for augmenter in augmenters:
        if hasattr(augmenter, "_finish"):
            augmenter._finish()
