"""Ask the rules, and sort what they say: violations, what an exception covers, what could not be known yet."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.configuration import Configuration
from policies.node import Secret, UnknownValueError
from policies.registry import rules_for
from policies.resources import Resource, Stack
from policies.rule import About, Level, PolicyException, Rule, Scope, Violation


@dataclass(frozen=True, kw_only=True)
class Found:
    """A violation with all that belongs to it."""

    rule: Rule
    level: Level
    resource: Resource
    violation: Violation
    exception: PolicyException | None = None
    """The one that covers it, in force: then it is told and does nothing."""

    @property
    def line(self) -> str:
        """As a person reads it; the resource's name apart."""
        return self.rule.line(self.violation)


@dataclass(frozen=True, kw_only=True)
class Open:
    """What a rule could not be asked about, since a value is not known yet."""

    rule: Rule
    resource: Resource
    where: str

    @property
    def line(self) -> str:
        """As a person reads it; the resource's name apart."""
        return f"{self.where}: not known yet, so the rule could not be asked here; it is asked again at `up`"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer of all rules that were asked."""

    violations: tuple[Found, ...] = ()
    excepted: tuple[Found, ...] = ()
    open: tuple[Open, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Judgement]) -> Judgement:
        """All of them in one."""
        each = list(parts)
        return cls(
            violations=tuple(found for part in each for found in part.violations),
            excepted=tuple(found for part in each for found in part.excepted),
            open=tuple(unknown for part in each for unknown in part.open),
        )


NOTHING = Judgement()
"""The answer where there was nothing to say."""


def judge_resource(
    resource: Resource, stack: Stack, configuration: Configuration, today: dt.date | None = None
) -> Judgement:
    """What the rules about single resources say of this one."""
    return _judged(rules_for(resource.type, Scope.RESOURCE), resource, stack, configuration, today or _today())


def judge_relations(stack: Stack, configuration: Configuration, today: dt.date | None = None) -> Judgement:
    """What the rules about a whole stack say."""
    day = today or _today()
    return Judgement.of(
        _judged(rules_for(resource.type, Scope.STACK), resource, stack, configuration, day)
        for resource in stack.resources
    )


def judge(stack: Stack, configuration: Configuration, today: dt.date | None = None) -> Judgement:
    """What all rules say of a stack whose resources are all there."""
    alone = [judge_resource(resource, stack, configuration, today) for resource in stack.resources]
    return Judgement.of([*alone, judge_relations(stack, configuration, today)])


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


def _judged(
    rules: Iterable[Rule], resource: Resource, stack: Stack, configuration: Configuration, today: dt.date
) -> Judgement:
    violations: list[Found] = []
    excepted: list[Found] = []
    open_: dict[tuple[str, str], Open] = {}
    for rule in rules:
        level = configuration.level(rule)
        if level is Level.DISABLED:
            continue
        about = About(
            resource=resource,
            stack=stack,
            parameters=configuration.parameters(rule),
            today=today,
            exceptions=configuration.exceptions,
        )
        for answer in _answers(rule, about):
            if isinstance(answer, UnknownValueError):
                open_.setdefault((rule.id, answer.path), Open(rule=rule, resource=resource, where=answer.path))
                continue
            exception = configuration.exception(rule, resource, answer, today)
            shown = _without_secrets(answer, resource)
            found = Found(rule=rule, level=level, resource=resource, violation=shown, exception=exception)
            (violations if exception is None else excepted).append(found)
    return Judgement(violations=tuple(violations), excepted=tuple(excepted), open=tuple(open_.values()))


def _without_secrets(found: Violation, resource: Resource) -> Violation:
    """A rule may put what it read into its words; what Pulumi keeps secret is taken out of them here, for every rule."""
    secrets = {text for text in _secret_texts(resource.inputs.raw, secret=False) if len(text) >= _SHORTEST_SECRET}
    if not secrets:
        return found

    def hidden(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        # A rule may show a part only, such as a word of a script; names of programs and releases are no secrets.
        return _WORD.sub(lambda word: "[secret]" if any(word[0] in secret for secret in secrets) else word[0], text)

    mend = None if found.mend is None else hidden(found.mend)
    return replace(found, value=hidden(found.value), what=hidden(found.what), mend=mend)


_WORD = re.compile(r"(?=[^\s\d]*\d)(?=[^\sA-Za-z]*[A-Za-z])[\w./@+=-]{8,}")
"""A word that could be a key, or hold one: letters and digits, and not short."""
_SHORTEST_SECRET = 4
"""Characters; a shorter one would be found in words that have nothing to do with it, and guards nothing."""


def _secret_texts(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_texts(value.value, secret=True)
    elif isinstance(value, str):
        if secret:
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secret_texts(inner, secret=secret)
    elif isinstance(value, list):
        for inner in value:
            yield from _secret_texts(inner, secret=secret)


def _answers(rule: Rule, about: About) -> Iterator[Violation | UnknownValueError]:
    """What the rule says of each item; an unknown ends only the item that it is in."""
    items = iter(rule.items(about.resource))
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except UnknownValueError as unknown:
            yield unknown
            return
        except Exception as error:  # noqa: BLE001 -- as below
            yield _fallen(error, "")
            return
        if isinstance(item, UnknownValueError):
            yield item
            continue
        try:
            yield from rule.check(item, about)
        except UnknownValueError as unknown:
            yield unknown
        except Exception as error:  # noqa: BLE001 -- a rule that falls over must neither let pass nor hide the others
            yield _fallen(error, item.path)


def _fallen(error: Exception, where: str) -> Violation:
    what = f"the rule could not judge what stands here ({type(error).__name__})"
    return Violation(where=where, value="", what=what, mend="correct the value's form, or report the rule as broken")
