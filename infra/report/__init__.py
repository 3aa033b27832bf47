"""The report of a demonstration: a table for the terminal, JSON for programs, one HTML file for people.

Law: nothing is added to the facts here. The page is self-contained: no script, and nothing is loaded from elsewhere.
"""

from sealwave.infra.report.page import write_report
from sealwave.infra.report.table import summary_table

__all__ = ["summary_table", "write_report"]
