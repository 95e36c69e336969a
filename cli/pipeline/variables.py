"""`python -m cli.pipeline.variables STACK`: shell exports of what SLIPWAY_SECRETS has for the variables that a stack names.

One secret of the code-review service holds the lines NAME=VALUE of all stacks. A stack gets the variables that its file takes
secrets from, and no other: not a PATH, and not the keys of the stack beside it. Names that were dropped are said, values never.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable

from slipway.paths import ROOT
from slipway.settings.errors import SettingsError
from slipway.settings.load import read_raw, secret_variables
from slipway.settings.types import is_environment_variable


def named(stack: str) -> list[str]:
    """The variables that `stack` takes secrets from; none where its file can't be read, which the preview says."""
    try:
        return [name for name in secret_variables(read_raw(stack, ROOT)) if is_environment_variable(name)]
    except SettingsError:
        return []


def chosen(text: str, wanted: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Of the lines NAME=VALUE in `text` those that are `wanted`, and what the others are called."""
    names = set(wanted)
    found: dict[str, str] = {}
    dropped = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, sign, value = line.partition("=")
        name = name.strip()
        if sign and name in names:
            found[name] = value.strip()
        else:
            # What has another form may be a value's second line.
            dropped.append(name if sign and is_environment_variable(name) else f"line {number}, which is no NAME=VALUE")
    return found, dropped


def main(stack: str) -> None:
    """Print them."""
    found, dropped = chosen(os.environ.get("SLIPWAY_SECRETS", ""), named(stack))
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in found.items()))
    if dropped:
        print(f"SLIPWAY_SECRETS: stack {stack} names no such variable: {', '.join(dropped)}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
