"""The rules, in the order in which their findings are shown. To add one: a function here, in the list."""

import datetime as dt
from collections.abc import Callable, Iterator

from slipway.checks import compatibility, drivers, fit, flags, missing, model
from slipway.deployment.types import Deployment, Served
from slipway.findings import Finding, Severity

Rule = Callable[[Served], Iterator[Finding]]
"""What one rule says of one model that is served here."""

RULES: tuple[Rule, ...] = (
    fit.fits,
    fit.idle_gpus,
    fit.over_hosts,
    fit.concurrency,
    fit.gaps,
    compatibility.vendor,
    compatibility.release,
    compatibility.dtype,
    compatibility.quantization,
    flags.owned,
    flags.known,
    flags.parsers,
    model.remote_code,
    model.licence,
)

_ORDER = list(Severity)


def findings(deployment: Deployment, today: dt.date | None = None) -> list[Finding]:
    """What all rules say of all models and pools, the weighty first; what several have in common is said once.

    Args:
        deployment: the stack's.
        today: the day on which support that ends is looked at; by default this one.
    """
    found = [finding for rule in RULES for served in deployment.served.values() for finding in rule(served)]
    found += drivers.drivers(deployment, today or dt.datetime.now(dt.UTC).date())
    found += missing.missing(deployment)
    found += model.files(deployment)
    return sorted(dict.fromkeys(found), key=lambda finding: _ORDER.index(finding.severity))
