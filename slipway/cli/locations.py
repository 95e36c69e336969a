"""Where in a stack's file the things stand that a check speaks of."""

import re
from pathlib import Path

from policies.judge import Found, Open
from policies.resources import PLATFORM
from slipway.checks import Finding
from slipway.settings.errors import PREFIX
from slipway.settings.lines import Line, keys_of, line_of
from slipway.settings.load import stack_file

_SECTION = ("config", PREFIX)


def of_finding(finding: Finding, stack: str, root: Path) -> Line:
    """The line of the setting that it names."""
    return of_setting(finding.where.removeprefix(PREFIX).lstrip("."), stack, root)


def of_problem(problem: str, stack: str, root: Path) -> Line:
    """The line of the setting that a refusal names."""
    where = problem.partition(": ")[0] if problem.startswith(PREFIX) else ""
    return of_setting(where.removeprefix(PREFIX).lstrip("."), stack, root)


def of_judged(found: Found | Open, stack: str, root: Path) -> Line:
    """The line of the setting that the property follows from, as far as its name tells."""
    where = found.violation.where if isinstance(found, Found) else found.where
    if found.resource.type != PLATFORM:
        return of_setting("", stack, root)
    # Properties are in camelCase, settings in snake_case; the names are the same.
    return of_setting(re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", where), stack, root)


def of_setting(path: str, stack: str, root: Path) -> Line:
    """The line of the setting at `path`, such as `hosts[0].port`."""
    return line_of(stack_file(stack, root), (*_SECTION, *keys_of(path)))
