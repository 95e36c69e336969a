"""Checks of a stack before anything is touched: does the model fit, and does everything go together.

They compute and never ask a host. `examine` looks the settings' names up and computes the deployment, `findings` judges
it, and `check` does both. A rule is a function from a `Subject` to its findings, listed in `slipway.checks.rules`.
"""

from slipway.checks.findings import Finding, Severity
from slipway.checks.rules import check, findings
from slipway.checks.subject import Subject, catalog_of, examine

__all__ = ["Finding", "Severity", "Subject", "catalog_of", "check", "examine", "findings"]
