"""What our adapter needs to know of nnU-Net v2: its finder of trainers, its loggers."""

from __future__ import annotations

import os


def find_trainer(name: str) -> type:
    """Return the trainer class of a name, by nnU-Net's own finder.

    Raises:
        ValueError: it finds none.
    """
    import nnunetv2

    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
    except ImportError:  # before 2.8
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

        folder = os.path.join(nnunetv2.__path__[0], "training", "nnUNetTrainer")
        trainer = recursive_find_python_class(folder, name, "nnunetv2.training.nnUNetTrainer")
    else:
        try:
            trainer = find(name)
        except RuntimeError:
            trainer = None
    if trainer is None:
        raise ValueError(f"nnU-Net finds no trainer {name}: hws-nnunet register")
    return trainer


def log_beside(logger: object, values: dict[str, float], epoch: int) -> None:
    """Send values to the loggers that nnU-Net 2.7 and later keep beside their local one, such as Weights & Biases.

    The local logger takes nnU-Net's own names only.
    """
    for other in getattr(logger, "loggers", []):
        for name, value in values.items():
            other.log(name, value, epoch)
