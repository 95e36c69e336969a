"""Where in a stack's file the things stand that a check speaks of."""

import re
from pathlib import Path

from policies.judge import Found, Open
from policies.resources import PLATFORM, Resource
from slipway.findings import Finding
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
    return _line(_settings_of(keys_of(where), found.resource), stack, root)


def of_setting(path: str, stack: str, root: Path) -> Line:
    """The line of the setting at `path`, such as `pools.gpu.tier`."""
    return _line(keys_of(path), stack, root)


def _line(keys: tuple[str | int, ...], stack: str, root: Path) -> Line:
    return line_of(stack_file(stack, root), (*_SECTION, *keys))


def _settings_of(keys: tuple[str | int, ...], platform: Resource) -> tuple[str | int, ...]:
    """The settings' keys of a property of the platform: its lists are maps by name there, its camelCase snake_case."""
    plain = [re.sub(r"(?<=[a-z0-9])([A-Z])", lambda at: f"_{at[1].lower()}", str(key)) for key in keys]
    if len(keys) < 2 or not isinstance(keys[1], int):
        return tuple(plain)
    entry = platform.inputs.node(*keys[:2])
    name = str(entry.get("name"))
    above: dict[str, tuple[str, ...]] = {
        "machines": ("pools", str(entry.get("pool")), _target(platform, entry.get("pool")), name),
        "teams": ("gateway", "teams", name),
        "gateways": ("gateway",),
    }
    return (*above.get(plain[0], (plain[0], name)), *plain[2:])


def _target(platform: Resource, pool: object) -> str:
    """The key below which a pool says where its machines come from."""
    return next((str(each.get("target")) for each in platform.inputs.each("pools") if each.get("name") == pool), "")
