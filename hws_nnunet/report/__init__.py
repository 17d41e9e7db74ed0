"""The robustness report: how segmentations fare on the worst cases and subgroups, not only on average.

``read`` takes results from files or label maps, ``stats`` computes, ``page`` says it in sections and figures, and
``write.py`` makes a folder of Markdown, HTML and CSV of it.
"""

from hws_nnunet.report.read.readers import read_results
from hws_nnunet.report.read.results import ResultError, ResultSet
from hws_nnunet.report.stats.comparison import compare
from hws_nnunet.report.stats.statistics import cvar, describe
from hws_nnunet.report.write import write_report

__all__ = [
    "ResultError",
    "ResultSet",
    "compare",
    "cvar",
    "describe",
    "read_results",
    "write_report",
]
