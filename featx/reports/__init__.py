"""From runs to pages that people read."""

from featx.reports._files import Written
from featx.reports._report import Report, report
from featx.reports._report_data import Missing

__all__ = ["Missing", "Report", "Written", "report"]
