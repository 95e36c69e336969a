"""Ask the rules, and sort what they say: violations, what an exception covers, what could not be known yet."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from policies.configuration import Configuration
from policies.node import Node, Secret, UnknownValueError
from policies.readers.scripts.shell import decoded
from policies.readers.secrets.texts import in_clear
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
        """The whole message, without the resource's name."""
        return self.rule.line(self.violation)


@dataclass(frozen=True, kw_only=True)
class Open:
    """What a rule could not be asked about, since a value is not known yet."""

    rule: Rule
    resource: Resource
    where: str

    @property
    def line(self) -> str:
        """The whole message, without the resource's name."""
        return f"{self.where}: not known yet, so the rule could not be asked here; it is asked again at `up`"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer of all rules that were asked."""

    violations: tuple[Found, ...] = ()
    excepted: tuple[Found, ...] = ()
    open: tuple[Open, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Judgement]) -> Judgement:
        """One judgement that holds what all the parts say."""
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
    without_secrets = _Hider(resource)
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
            shown = without_secrets(answer, rule)
            found = Found(rule=rule, level=level, resource=resource, violation=shown, exception=exception)
            (violations if exception is None else excepted).append(found)
    return Judgement(violations=tuple(violations), excepted=tuple(excepted), open=tuple(open_.values()))


class _Hider:
    """Takes secrets out of what rules say of one resource, for every rule: a rule may put what it read into its words.

    Secrets are what Pulumi keeps secret, and what stands in clear though it is one. The first violation gathers them.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    @cached_property
    def _kept(self) -> dict[str, set[str]]:
        """What Pulumi keeps secret, by the path of the secret."""
        kept: dict[str, set[str]] = {}
        for path, text in _secret_texts(self._resource.inputs):
            kept.setdefault(path, set()).add(text)
        return kept

    @cached_property
    def _secrets(self) -> list[str]:
        """All that is kept secret, the longest first."""
        return _forms(text for texts in self._kept.values() for text in texts)

    @cached_property
    def _clear(self) -> list[str]:
        """All that stands in clear, the longest first."""
        return _forms(in_clear(self._resource))

    def __call__(self, found: Violation, rule: Rule) -> Violation:
        """The violation without any secret in its words."""
        # The rule's own words give nothing away.
        words = self._words(found.where) - set(_ANY_WORD.findall(f"{rule.title} {rule.reason} {rule.mend}"))
        hidden = self._hidden

        def said(text: str) -> str:
            return _ANY_WORD.sub(lambda word: "[secret]" if word[0] in words else word[0], hidden(text))

        mend = None if found.mend is None else said(found.mend)
        return replace(found, value=hidden(found.value), what=said(found.what), mend=mend)

    def _words(self, where: str) -> set[str]:
        """The words of the secret in which a violation is; the keys of a document are no secrets."""
        texts = {text for path, texts in self._kept.items() if _within(where, path) for text in texts}
        return {
            word
            for text in texts
            for word in _ANY_WORD.findall(_values(decoded(text)))
            if len(word) >= _SHORTEST_SECRET
        }

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        for secret in self._clear:
            # A weak one may be part of a word that has nothing to do with it.
            if secret in text:
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", "[secret]", text)
        if _CUT in text:
            *parts, last = text.split(_CUT)
            text = _CUT.join([*map(self._uncut, parts), last])
        # A rule may show a part only, such as a word of a script; names of programs and releases are no secrets.
        return _WORD.sub(
            lambda word: "[secret]" if any(word[0] in secret for secret in self._secrets) else word[0], text
        )

    def _uncut(self, text: str) -> str:
        """A text that was cut off, without the beginning of a secret at its end."""
        for secret in (*self._secrets, *self._clear):
            for length in range(min(len(secret), len(text)), _SHORTEST_SECRET - 1, -1):
                if text.endswith(secret[:length]):
                    return f"{text[:-length]}[secret]"
        return text


def _forms(secrets: Iterable[str]) -> list[str]:
    """Secrets as they are and as JSON shows them, the longest first; the shortest guard nothing."""
    found = {form for secret in secrets for form in (secret, json.dumps(secret, ensure_ascii=False)[1:-1])}
    return sorted((form for form in found if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)


def _within(where: str, path: str) -> bool:
    return where == path or (where.startswith(path) and where[len(path)] in ".[") or not path


def _values(text: str) -> str:
    """All that stands in a document besides its keys; of another text all."""
    document = Node(text).document()
    if not isinstance(document.data, dict | list):
        return text
    return "\n".join(str(node.data) for node in document.walk() if not isinstance(node.data, dict | list))


_WORD = re.compile(r"(?=[^\s\d]*\d)(?=[^\sA-Za-z]*[A-Za-z])[\w./@+=-]{8,}")
"""A word that could be a key, or hold one: letters and digits, and not short."""
_ANY_WORD = re.compile(r"[\w./@+=-]*[\w@+=-]")
_CUT = "\u2026"
"""Stands where a message cuts a value off."""
_SHORTEST_SECRET = 4
"""Characters; a shorter one would be found in words that have nothing to do with it, and guards nothing."""


def _secret_texts(node: Node) -> Iterator[tuple[str, str]]:
    """Each text that Pulumi keeps secret, after the path of the secret that it is in."""
    for place in node.walk():
        if isinstance(place.raw, Secret):
            yield from ((place.path, text) for text in _texts(place.raw))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _texts(value.value)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


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
