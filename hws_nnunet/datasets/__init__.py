"""Preparation of known data sets: readers of their layouts, writers of nnU-Net's raw formats.

A reader (``fetal.py``) turns a folder on disk into :class:`~hws_nnunet.datasets.cases.Collection`; a writer
(``raw_v2.py``) turns that into a raw data set. A new layout is a new reader, a new format a new writer.
"""

from hws_nnunet.datasets.cases import Case, Collection, DatasetError
from hws_nnunet.datasets.fetal import read_fetal
from hws_nnunet.datasets.phantom import make_phantom
from hws_nnunet.datasets.raw_v1 import check_task_target, write_raw_v1
from hws_nnunet.datasets.raw_v2 import check_target, write_raw_v2

__all__ = [
    "Case",
    "Collection",
    "DatasetError",
    "check_target",
    "check_task_target",
    "make_phantom",
    "read_fetal",
    "write_raw_v1",
    "write_raw_v2",
]
