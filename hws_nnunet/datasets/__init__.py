"""Preparation of known data sets: readers of their layouts, writers of nnU-Net's raw formats.

A reader (``fetal.py``, ``feta.py``, ``brats.py``) turns a folder on disk into
:class:`~hws_nnunet.datasets.cases.Collection`; the writer (``raw.py``) turns that into a raw data set.
A new layout is a new reader.
"""

from typing import TYPE_CHECKING

from hws_nnunet._lazy import lazy

if TYPE_CHECKING:
    from hws_nnunet.datasets.brats import read_brats
    from hws_nnunet.datasets.cases import Case, Collection, DatasetError, Reading
    from hws_nnunet.datasets.feta import read_feta
    from hws_nnunet.datasets.fetal import read_fetal
    from hws_nnunet.datasets.fetal_brain import read_fetal_brain
    from hws_nnunet.datasets.phantom import make_phantom
    from hws_nnunet.datasets.raw import check_target, write_raw

__all__ = [
    "Case",
    "Collection",
    "DatasetError",
    "Reading",
    "check_target",
    "make_phantom",
    "read_brats",
    "read_feta",
    "read_fetal",
    "read_fetal_brain",
    "write_raw",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "read_brats": "hws_nnunet.datasets.brats",
        **dict.fromkeys(("Case", "Collection", "DatasetError", "Reading"), "hws_nnunet.datasets.cases"),
        "read_feta": "hws_nnunet.datasets.feta",
        "read_fetal": "hws_nnunet.datasets.fetal",
        "read_fetal_brain": "hws_nnunet.datasets.fetal_brain",
        "make_phantom": "hws_nnunet.datasets.phantom",
        **dict.fromkeys(("check_target", "write_raw"), "hws_nnunet.datasets.raw"),
    },
)
