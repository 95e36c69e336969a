"""`slipway policies`: the rules of the pack, for the person who is refused by one or has to choose."""

import difflib
import json
import textwrap
from typing import Any

from cli.errors import UserError
from policies.registry import by_id, rules
from policies.rule import Rule

_WIDTH = 100


def show_rules(*, as_json: bool) -> None:
    """Print all rules, group by group."""
    if as_json:
        print(json.dumps([data(rule) for rule in rules()], indent=2))
        return
    widths = [max(len(str(getattr(rule, name))) for rule in rules()) for name in ("id", "level", "severity")]
    group = None
    for rule in rules():
        if rule.group is not group:
            print(f"{'' if group is None else chr(10)}{rule.group}")
            group = rule.group
        row = (rule.id, str(rule.level), str(rule.severity))
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + f"  {rule.title}")


def explain_rule(name: str, *, as_json: bool) -> None:
    """Print one rule.

    Raises:
        UserError: there is no such rule.
    """
    rule = by_id().get(name)
    if rule is None:
        near = difflib.get_close_matches(name, by_id(), n=3, cutoff=0.4)
        hint = f"the nearest: {', '.join(near)}" if near else "`slipway policies list` shows them all"
        raise UserError(f"there is no rule {name!r}; {hint}")
    if as_json:
        print(json.dumps(data(rule), indent=2))
        return
    print(f"{rule.id}: {rule.title}.\n")
    rows = {
        "group": str(rule.group),
        "level": f"{rule.level}, unless policies/config/STACK.json says another",
        "severity": str(rule.severity),
        "why": f"{rule.reason}.",
        "mend": f"{rule.mend}.",
        "remediation": "at level remediate the pack does it itself" if rule.remediate else "",
        "looks at": ", ".join(rule.types),
        "source": f"{rule.source}; {rule.url}",
    }
    for label, text in rows.items():
        if text:
            indented = textwrap.fill(text, _WIDTH, initial_indent=f"{label:12} ", subsequent_indent=" " * 13)
            print(indented)
    for parameter, schema in rule.parameters.items():
        said = f"{parameter} (default {json.dumps(schema['default'])}): {schema['description']}"
        print(textwrap.fill(said, _WIDTH, initial_indent=f"{'parameter':12} ", subsequent_indent=" " * 13))


def data(rule: Rule) -> dict[str, Any]:
    """A rule as plain data."""
    return {
        "id": rule.id,
        "title": rule.title,
        "group": str(rule.group),
        "level": str(rule.level),
        "severity": str(rule.severity),
        "scope": str(rule.scope),
        "reason": rule.reason,
        "mend": rule.mend,
        "remediates": rule.remediate is not None,
        "source": rule.source,
        "url": rule.url,
        "types": list(rule.types),
        "parameters": {name: dict(schema) for name, schema in rule.parameters.items()},
    }
