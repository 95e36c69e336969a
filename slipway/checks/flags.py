"""The engine's own flags: those that Slipway sets, those that the engine does not have, and the names of parsers."""

import difflib
from collections.abc import Iterator, Mapping

from slipway.checks.findings import Finding, Severity, key, located
from slipway.checks.names import names
from slipway.checks.subject import Subject
from slipway.engines import adapter
from slipway.settings import SettingsError

AUTO = "enable-auto-tool-choice"
TOOLS, REASONING = "tool-call-parser", "reasoning-parser"
_PLUGINS = {TOOLS: "tool-parser-plugin", REASONING: "reasoning-parser-plugin"}
"""Flags that bring parsers of the user's own, whose names nobody knows here."""


def owned(subject: Subject) -> Iterator[Finding]:
    """Flags and variables that contradict what Slipway sets from the settings."""
    settings = subject.settings
    try:
        adapter(settings.engine.name).flags(settings)
    except SettingsError as error:
        for where, message in map(located, error.problems):
            yield Finding(id="flags.owned", severity=Severity.ERROR, where=where, message=message)


def known(subject: Subject) -> Iterator[Finding]:
    """Flags that the engine's release does not have; it takes an abbreviation, and `no-` before one that is a switch."""
    engine = subject.settings.engine
    has = names(engine.name)
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
            where=key(f"engine.flags.{flag}"),
            message=f"{engine.name} {has.release} has no such flag; the engine would not start: "
            + (f"did you mean {near[0]}?" if near else "remove it, or look it up in the engine's documentation"),
        )


def parsers(subject: Subject) -> Iterator[Finding]:
    """Whether tool calls and reasoning are read in the format in which the model writes them."""
    flags, model = subject.settings.engine.flags, subject.model
    has = names(subject.settings.engine.name)
    tools = None if model is None else model.parsers.tool_call
    reasoning = None if model is None else model.parsers.reasoning
    if flags.get(AUTO) is True and not flags.get(TOOLS):
        yield Finding(
            id="flags.parser-missing",
            severity=Severity.ERROR,
            where=key(f"engine.flags.{AUTO}"),
            message=f"needs {TOOLS}; the engine would not start: add {TOOLS}: {tools or 'with the name of one'}",
        )
    if has is not None:
        yield from _parser(subject, TOOLS, has.tool_parsers, tools)
        yield from _parser(subject, REASONING, has.reasoning_parsers, reasoning)
    lacking = [
        f"{flag}: {name}" for flag, name in ((TOOLS, tools), (REASONING, reasoning)) if name and flag not in flags
    ]
    if model is not None and lacking and not flags.get(AUTO):
        yield Finding(
            id="flags.parsers",
            severity=Severity.NOTE,
            where=key("engine.flags"),
            message=f"what {model.id} writes for tools or thinks reaches clients as plain text: for their own fields add "
            + ", ".join([f"{AUTO}: true", *lacking] if tools else lacking),
        )


def _parser(subject: Subject, flag: str, has: Mapping[str, str], fits: str | None) -> Iterator[Finding]:
    engine = subject.settings.engine
    given = engine.flags.get(flag)
    if given is None or _PLUGINS[flag] in engine.flags:
        return
    where, given = key(f"engine.flags.{flag}"), str(given)
    if given not in has:
        near = difflib.get_close_matches(given, has, n=3)
        yield Finding(
            id="flags.parser-unknown",
            severity=Severity.ERROR,
            where=where,
            message=f"{engine.name} {adapter(engine.name).release} has no parser {given!r}; the engine would not start: use "
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
