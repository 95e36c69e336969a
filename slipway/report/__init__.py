"""A plan as one page of HTML that needs nothing else: no network, no script, no font of its own.

It shows and does not compute: every figure on the page is one of the plan's.
"""

from slipway.report.file import ReportError
from slipway.report.page import render, write

__all__ = ["ReportError", "render", "write"]
