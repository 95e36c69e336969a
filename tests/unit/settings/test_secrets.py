"""Secrets of a stack's file: where they may be, and where they are in clear."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, create_model

from slipway.settings.base import Section
from slipway.settings.front import Front
from slipway.settings.gateway import Gateway, Team
from slipway.settings.models import ModelSource, ProvidedModel, RoutedModel, ServedModel
from slipway.settings.pools import Pool
from slipway.settings.secrets import clear_secrets, misplaced_secrets, places, secret_places
from slipway.settings.types import HostName, Secret, StrongSecret
from slipway.targets.hosts.settings import Host
from tests.unit.settings.documents import GOOD_KEY, changed, good, many, with_changes

SECURE = {"secure": "v1:abc"}


class Inner(Section):
    key: Secret


class Other(Section):
    name: Literal["other"] = "other"
    word: Secret | None = None
    plain: str = ""


Either = Annotated[Annotated[Inner, Tag("a")] | Annotated[Other, Tag("b")], Discriminator(lambda value: "a")]
FORMS: dict[str, tuple[Any, set[tuple[str, ...]]]] = {
    "itself": (Secret, {("x",)}),
    "checked": (StrongSecret, {("x",)}),
    "optional": (Secret | None, {("x",)}),
    "optional and checked": (StrongSecret | None, {("x",)}),
    "annotated twice": (Annotated[StrongSecret, Field(description="d")], {("x",)}),
    "a map": (dict[str, Secret], {("x", "*")}),
    "any mapping": (Mapping[str, StrongSecret], {("x", "*")}),
    "an optional map": (dict[HostName, StrongSecret] | None, {("x", "*")}),
    "a tuple": (tuple[Secret, ...], {("x", "*")}),
    "a list": (list[Secret], {("x", "*")}),
    "a section": (Inner, {("x", "key")}),
    "an optional section": (Inner | None, {("x", "key")}),
    "sections in a map": (dict[str, Inner], {("x", "*", "key")}),
    "sections in an optional map": (dict[str, Inner] | None, {("x", "*", "key")}),
    "sections in a map that is prepared": (
        Annotated[dict[str, Either], BeforeValidator(lambda value: value)],
        {("x", "*", "key"), ("x", "*", "word")},
    ),
    "maps in a map": (dict[str, dict[str, Inner]], {("x", "*", "*", "key")}),
    "one of several sections": (Either, {("x", "key"), ("x", "word")}),
    "sections in a list": (Annotated[tuple[Inner, ...], AfterValidator(lambda value: value)], {("x", "*", "key")}),
    "no secret": (dict[str, str], set()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_field_is_found_in_whatever_form(form: str) -> None:
    annotation, expected = FORMS[form]
    section = create_model("section", __base__=Section, x=(annotation, ...), y=(int, 1))
    assert set(secret_places(section)) == expected


SECTIONS = (Host, Pool, ServedModel, ModelSource, ProvidedModel, RoutedModel, Team, Gateway, Front)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_new_secret_in_any_section_is_found(section: type[Section]) -> None:
    extended = create_model("extended", __base__=section, new_secret=(Secret | None, None))
    above = create_model("above", __base__=Section, sections=(dict[str, extended], ...))
    assert ("sections", "*", "new_secret") in secret_places(above)


def test_the_places_of_a_stack() -> None:
    assert set(places()) == {
        ("models", "*", "source", "token"),
        ("providers", "*", "key"),
        ("gateway", "teams", "*", "key"),
        ("gateway", "engine_key"),
        ("front", "floating", "secret"),
    }


CLEAR = "gateway.teams.a.key"


@pytest.mark.parametrize(
    ("path", "value", "clear", "misplaced"),
    [
        ("gateway.teams.a.key", GOOD_KEY, [CLEAR], []),
        ("gateway.teams.a.key", {"env": "K"}, [], []),
        ("gateway.teams.a.key", SECURE, [], []),
        ("gateway.engine_key", SECURE, [CLEAR], []),
        ("gateway.engine_key", GOOD_KEY, ["gateway.engine_key", CLEAR], []),
        ("models.m.source.token", "hf_x", [CLEAR, "models.m.source.token"], []),
        (("models", "m-1.5", "source", "token"), "hf_x", [CLEAR, 'models["m-1.5"].source.token'], []),
        ("providers.openai.key", "sk-x", [CLEAR, "providers.openai.key"], []),
        ("providers.openai.key", SECURE, [CLEAR], []),
        ("providers.openai.url", SECURE, [CLEAR], ["providers.openai.url"]),
        ("models.m.engine.environment.P", SECURE, [CLEAR], ["models.m.engine.environment.P"]),
        (("models", "m-1.5", "catalog"), SECURE, [CLEAR], ['models["m-1.5"].catalog']),
        ("front.extra_names", [SECURE], [CLEAR], ["front.extra_names[0]"]),
        ("pools.main.hosts.gpu-1.address", SECURE, [CLEAR], ["pools.main.hosts.gpu-1.address"]),
        ("gateway", SECURE, [], ["gateway"]),
    ],
)
def test_found(path: Any, value: Any, clear: list[str], misplaced: list[str]) -> None:
    document = changed(good(), path, value)
    assert sorted(clear_secrets(document)) == clear
    assert list(misplaced_secrets(document)) == misplaced


def test_a_stack_with_every_secret_encrypted_has_none_in_clear_and_none_misplaced() -> None:
    document = with_changes(
        many(),
        ("gateway.engine_key", SECURE),
        ("gateway.teams.assistant.key", SECURE),
        ("gateway.teams.legal.key", SECURE),
        ("providers.openai.key", SECURE),
        (("models", "qwen-1.5b", "source", "token"), SECURE),
    )
    assert list(clear_secrets(document)) == []
    assert list(misplaced_secrets(document)) == []
    assert len(list(clear_secrets(many()))) == 5


@pytest.mark.parametrize("raw", [None, [], "text", {"gateway": {"teams": "x"}}, {"models": {"m": []}}])
def test_what_is_no_stack_has_none(raw: object) -> None:
    assert list(clear_secrets(raw)) == []
    assert list(misplaced_secrets(raw)) == []
