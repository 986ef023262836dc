"""From runs to pages that people read."""

from featx.reports._report import Written, write_report

__all__ = ["Written", "write_report"]
