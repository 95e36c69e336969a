"""Keys that a container is given, and those that everybody knows."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, Secret
from policies.readers.engines.keys import is_placeholder, key_in
from policies.readers.kubernetes.pods import Container, Pod


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"env": [{"name": "KEY", "value": "k"}]}, "k"),
        ({"env": [{"name": "KEY", "value": Secret("k")}]}, "k"),
        ({"env": [{"name": "KEY", "value": UNKNOWN}]}, True),
        ({"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, True),
        ({"env": [{"name": "KEY"}]}, None),
        ({"env": [{"name": "KEY", "value": ""}], "envFrom": [{"secretRef": {"name": "s"}}]}, ""),
        ({"env": [{"name": "OTHER", "value": "k"}]}, None),
        ({"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]}, True),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, None),
    ],
)
def test_the_key_that_a_container_is_given(more: dict[str, Any], key: object) -> None:
    assert key_in(Container({"name": "it", **more}, "", Pod({}, "", Node(None))), "KEY") == key


@pytest.mark.parametrize(
    ("key", "known"),
    [(" EMPTY ", True), ("", True), ("sk-1234", True), ("sk-9f31c7", False), (True, False), (None, False)],
)
def test_keys_that_everybody_knows(key: object, known: bool) -> None:
    assert is_placeholder(key) is known
