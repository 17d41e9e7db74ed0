"""The robustness report: how segmentations fare on the worst cases and subgroups, not only on average.

Results (:mod:`~hws_nnunet.evaluation.results`) come from files (``readers.py``) or from label maps
(``segmentations.py``); ``report.py`` turns them into Markdown, HTML and CSV.
"""

from hws_nnunet.evaluation.comparison import compare
from hws_nnunet.evaluation.readers import read_results
from hws_nnunet.evaluation.report import write_report
from hws_nnunet.evaluation.results import ResultError, ResultSet
from hws_nnunet.evaluation.statistics import cvar, describe

__all__ = [
    "ResultError",
    "ResultSet",
    "compare",
    "cvar",
    "describe",
    "read_results",
    "write_report",
]
