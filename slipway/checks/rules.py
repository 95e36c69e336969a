"""The rules, in the order in which their findings are shown. To add one: a function here, in the list."""

from collections.abc import Callable, Iterator

from slipway.catalog import Catalog
from slipway.checks import compatibility, fit, flags, model
from slipway.checks.findings import Finding, Severity
from slipway.checks.subject import Subject, examine
from slipway.settings import Settings

Rule = Callable[[Subject], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    fit.fits,
    fit.idle_gpus,
    fit.concurrency,
    fit.gaps,
    compatibility.vendor,
    compatibility.driver,
    compatibility.dtype,
    compatibility.quantization,
    flags.owned,
    flags.known,
    flags.parsers,
    model.remote_code,
    model.licence,
    model.files,
)

_ORDER = list(Severity)


def findings(subject: Subject) -> list[Finding]:
    """What all rules say, the weighty first."""
    found = [finding for rule in RULES for finding in rule(subject)]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def check(settings: Settings, catalog: Catalog, source: str = "settings") -> list[Finding]:
    """`examine`, then `findings`.

    Raises:
        SettingsError: as `examine`.
    """
    return findings(examine(settings, catalog, source))
