"""From runs to pages that people read."""

from featx.reports.report import write_report

__all__ = ["write_report"]
