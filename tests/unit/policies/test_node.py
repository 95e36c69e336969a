"""Plain data with unknowns and secrets: an unknown is never taken for a value, a secret never shown."""

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, Secret, UnknownValueError

DATA: dict[str, Any] = {
    "plain": {"list": [1, {"deep": "x"}, UNKNOWN], "zero": 0, "off": False, "null": None},
    "unknown": UNKNOWN,
    "secret": Secret({"key": "s3same", "later": UNKNOWN}),
    "json": '{"a": [1, 2]}',
    "yaml": "model_list:\n  - model_name: m\n",
    "broken": "a: [",
    "app.kubernetes.io/name": "x",
}
NODE = Node(DATA)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("plain", "zero"), 0),
        (("plain", "off"), False),
        (("plain", "list", 1, "deep"), "x"),
        (("plain", "list", 0, "no", "such"), None),
        (("plain", "list", 9), None),
        (("secret", "key"), "s3same"),
        (("nothing", "here"), None),
    ],
)
def test_get(keys: tuple[str | int, ...], value: Any) -> None:
    assert NODE.get(*keys) == value


def test_a_default_stands_for_nothing_and_for_null_alone() -> None:
    assert NODE.get("plain", "null", default=7) == 7
    assert NODE.get("plain", "zero", default=7) == 0
    assert NODE.get("plain", "off", default=True) is False


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        (("unknown",), "unknown"),
        (("unknown", "below"), "unknown"),
        (("plain",), "plain.list[2]"),
        (("plain", "list"), "plain.list[2]"),
        (("secret",), "secret.later"),
    ],
)
def test_what_is_unknown_says_where(keys: tuple[str | int, ...], path: str) -> None:
    with pytest.raises(UnknownValueError) as raised:
        NODE.get(*keys)
    assert raised.value.path == path


def test_each_gives_elements_alone() -> None:
    nodes = list(NODE.each("plain", "list"))
    assert [node.path for node in nodes] == ["plain.list[0]", "plain.list[1]", "plain.list[2]"]
    assert nodes[2].data is UNKNOWN
    assert [node.path for node in NODE.each("plain")] == ["plain"]
    assert list(NODE.each("json")) == []
    with pytest.raises(UnknownValueError):
        list(NODE.each("unknown"))


@pytest.mark.parametrize("text", ["2026-02-31: 1", "[!!int '']", "!!bool x", "!!timestamp x", "[" * 100_000, "a: b: c"])
def test_what_is_no_document_is_none(text: str) -> None:
    assert Node({"it": text}).document("it").data is None


def test_documents_are_read() -> None:
    assert NODE.document("json").get("a", 1) == 2
    assert NODE.document("yaml").get("model_list", 0, "model_name") == "m"
    assert NODE.document("broken").data is None
    assert NODE.document("plain").path == "plain"
    with pytest.raises(UnknownValueError):
        NODE.document("unknown")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (("secret",), "[secret]"),
        (("secret", "key"), "[secret]"),
        (("unknown",), "[unknown]"),
        (("plain", "off"), "false"),
        (("nothing",), "not set"),
        (("json",), '"{\\"a\\": [1, 2]}"'),
    ],
)
def test_shown(keys: tuple[str | int, ...], shown: str) -> None:
    assert NODE.show(*keys) == shown


def test_a_secret_is_shown_nowhere() -> None:
    for text in (repr(NODE), NODE.show(), str(Secret("s3same")), repr(NODE.node("secret", "key"))):
        assert "s3same" not in text


def test_long_values_are_cut() -> None:
    assert len(Node({"a": "x" * 500}).show("a")) == 80


def test_paths_of_keys_that_are_no_words() -> None:
    assert NODE.at("app.kubernetes.io/name") == '["app.kubernetes.io/name"]'
    assert Node({}, "labels").at("app.kubernetes.io/name", "x") == 'labels["app.kubernetes.io/name"].x'


def test_walk_does_not_enter_secrets() -> None:
    assert "secret.key" not in {node.path for node in NODE.walk()}
    assert "plain.list[1].deep" in {node.path for node in NODE.walk()}
