"""The engine's own flags: those that Slipway sets, those that the engine does not have, and the names of parsers."""

import difflib
from collections.abc import Iterator

from slipway.deployment.types import Served
from slipway.engines.names import Names, names_of
from slipway.findings import Finding, Severity
from slipway.settings.models import Task

AUTO = "enable-auto-tool-choice"
TOOLS, REASONING = "tool-call-parser", "reasoning-parser"
_PLUGINS = {TOOLS: "tool-parser-plugin", REASONING: "reasoning-parser-plugin"}
"""Flags that bring parsers of the user's own, whose names nobody knows here."""


def owned(served: Served) -> Iterator[Finding]:
    """Flags and variables that contradict what Slipway sets from the settings."""
    for path, message in served.adapter.refusals(served):
        yield Finding(id="flags.owned", severity=Severity.ERROR, where=served.at(path), message=message)


def known(served: Served) -> Iterator[Finding]:
    """Flags that the engine's release does not have; it takes an abbreviation, and `no-` before one that is a switch."""
    engine = served.settings.engine
    has = names_of(served)
    if has is None:
        return
    for flag in engine.flags:
        plain = flag.removeprefix("no-")
        if any(name.startswith(plain) for name in has.flags):
            continue
        near = difflib.get_close_matches(plain, has.flags, n=1)
        yield Finding(
            id="flags.unknown",
            severity=Severity.WARNING,
            where=served.at(f"engine.flags.{flag}"),
            message=f"{engine.engine} {has.release} has no such flag; the engine would not start: "
            + (f"did you mean {near[0]}?" if near else "remove it, or look it up in the engine's documentation"),
        )


def parsers(served: Served) -> Iterator[Finding]:
    """Whether tool calls and reasoning are read in the format in which the model writes them."""
    flags, model = served.settings.engine.flags, served.entry
    has = names_of(served)
    tools = None if model is None else model.parsers.tool_call
    reasoning = None if model is None else model.parsers.reasoning
    # An engine that can takes those that the catalogue knows, unless the stack says otherwise.
    fills_in = getattr(served.settings.engine, "parsers", False) and served.settings.task is Task.CHAT
    if (
        flags.get(AUTO) is True
        and not flags.get(TOOLS)
        and not (fills_in and has is not None and tools in has.tool_parsers)
    ):
        yield Finding(
            id="flags.parser-missing",
            severity=Severity.ERROR,
            where=served.at(f"engine.flags.{AUTO}"),
            message=f"needs {TOOLS}; the engine would not start: add {TOOLS}: {tools or 'with the name of one'}",
        )
    if has is not None:
        yield from _parser(served, has, TOOLS, tools)
        yield from _parser(served, has, REASONING, reasoning)
    lacking = [
        f"{flag}: {name}" for flag, name in ((TOOLS, tools), (REASONING, reasoning)) if name and flag not in flags
    ]
    if (
        model is not None
        and has is not None
        and served.settings.task.generates
        and lacking
        and not (flags.get(AUTO) or fills_in)
    ):
        yield Finding(
            id="flags.parsers",
            severity=Severity.NOTE,
            where=served.at("engine.flags"),
            message=f"what {model.id} writes for tools or thinks reaches clients as plain text: for their own fields "
            + ("leave parsers on, or add " if hasattr(served.settings.engine, "parsers") else "add ")
            + ", ".join([f"{AUTO}: true", *lacking] if tools else lacking),
        )


def _parser(served: Served, names: Names, flag: str, fits: str | None) -> Iterator[Finding]:
    engine = served.settings.engine
    has = names.tool_parsers if flag == TOOLS else names.reasoning_parsers
    given = engine.flags.get(flag)
    if given is None or _PLUGINS[flag] in engine.flags:
        return
    where, given = served.at(f"engine.flags.{flag}"), str(given)
    if given not in has:
        near = difflib.get_close_matches(given, has, n=3)
        yield Finding(
            id="flags.parser-unknown",
            severity=Severity.ERROR,
            where=where,
            message=f"{engine.engine} {names.release} has no parser {given!r}; the engine would not start: use "
            f"{fits or ', '.join(near) or 'one of ' + ', '.join(sorted(has))}",
        )
    elif fits is not None and has[given] != has.get(fits):
        yield Finding(
            id="flags.parser",
            severity=Severity.WARNING,
            where=where,
            message=f"{given} reads another format than the model writes; what it writes would reach clients as plain text: "
            f"use {fits}",
        )
