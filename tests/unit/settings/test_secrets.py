"""Secrets of a stack's file: where they may be, and where they are in clear."""

from typing import Any

import pytest
from pydantic import BaseModel

from slipway.settings import Settings
from slipway.settings.errors import models_in
from slipway.settings.secrets import PLACES, clear_secrets, misplaced_secrets
from slipway.settings.types import Secret
from tests.unit.settings.documents import GOOD_KEY, changed, good

SECURE = {"secure": "v1:abc"}


def places(model: type[BaseModel], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Where the settings' own types take a secret."""
    found: set[tuple[str, ...]] = set()
    for name, info in model.model_fields.items():
        many = "tuple" in str(info.annotation)
        path = (*above, name, "*") if many else (*above, name)
        if (
            info.annotation is Secret
            or Secret in getattr(info.annotation, "__args__", ())
            or "Secret" in str(info.annotation)
        ):
            found.add(path)
        for inner in models_in(info.annotation):
            found |= places(inner, path)
    return found


def test_the_places_are_those_of_the_settings() -> None:
    assert places(Settings) == set(PLACES)


@pytest.mark.parametrize(
    ("path", "value", "clear", "misplaced"),
    [
        ("gateway.keys.0.key", GOOD_KEY, ["gateway.keys[0].key"], []),
        ("gateway.keys.0.key", {"env": "K"}, [], []),
        ("gateway.keys.0.key", SECURE, [], []),
        ("engine.key", SECURE, ["gateway.keys[0].key"], []),
        ("model.source.token", "hf_x", ["gateway.keys[0].key", "model.source.token"], []),
        ("engine.environment.P", SECURE, ["gateway.keys[0].key"], ["engine.environment.P"]),
        ("hosts.0.address", SECURE, ["gateway.keys[0].key"], ["hosts[0].address"]),
        ("gateway", SECURE, [], ["gateway"]),
    ],
)
def test_found(path: str, value: Any, clear: list[str], misplaced: list[str]) -> None:
    document = changed(good(), path, value)
    assert sorted(clear_secrets(document)) == clear
    assert list(misplaced_secrets(document)) == misplaced


@pytest.mark.parametrize("raw", [None, [], "text", {"gateway": {"keys": "x"}}])
def test_what_is_no_stack_has_none(raw: object) -> None:
    assert list(clear_secrets(raw)) == []
    assert list(misplaced_secrets(raw)) == []
