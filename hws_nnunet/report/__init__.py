"""The robustness report: how segmentations fare on the worst cases and subgroups, not only on average.

``read`` takes results from files or label maps, ``stats`` computes, ``page`` says it in sections and plots, and
``write.py`` makes a folder of Markdown, HTML and CSV of it. Its import needs the extra ``report``.
"""

from hws_nnunet.extras import REPORT, check_installed

check_installed("the report", REPORT, "report")

from hws_nnunet.report.read.readers import read_results  # noqa: E402
from hws_nnunet.report.read.results import ResultError, ResultSet  # noqa: E402
from hws_nnunet.report.stats.comparison import compare  # noqa: E402
from hws_nnunet.report.stats.statistics import cvar, describe  # noqa: E402
from hws_nnunet.report.write import write_report  # noqa: E402

__all__ = [
    "ResultError",
    "ResultSet",
    "compare",
    "cvar",
    "describe",
    "read_results",
    "write_report",
]
