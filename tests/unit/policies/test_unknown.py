"""What is known decides before what is not is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.unknown import any_known, each, known, partition_known, texts


def is_yes(node: Node) -> bool:
    return bool(node.get() == "yes")


def ending() -> Iterator[Node]:
    yield Node("no")
    raise UnknownValueError("end")


def test_those_that_are_sure_and_the_first_doubt() -> None:
    found, unknown = partition_known(Node(["yes", UNKNOWN, "no", UNKNOWN, "yes"], "a").each(), is_yes)
    assert [node.path for node in found] == ["a[0]", "a[4]"]
    assert unknown is not None
    assert unknown.path == "a[1]"
    assert partition_known(Node(["no"]).each(), is_yes) == ([], None)


def test_a_doubt_counts_only_where_nothing_is_sure() -> None:
    assert any_known(Node([UNKNOWN, "yes"]).each(), is_yes)
    assert not any_known(Node(["no"]).each(), is_yes)
    for items, path in ((Node(["no", UNKNOWN], "a").each(), "a[1]"), (ending(), "end")):
        with pytest.raises(UnknownValueError) as error:
            any_known(items, is_yes)
        assert error.value.path == path


def test_a_text_is_a_list_of_one() -> None:
    for data, found in (("a", ["a"]), (["a", UNKNOWN], ["a", UNKNOWN]), (UNKNOWN, [UNKNOWN]), (None, [])):
        assert [node.data for node in texts(Node({"of": data}), "of")] == found


def test_what_is_known_of_a_list() -> None:
    nodes = [*each(Node(["a", UNKNOWN])), *each(Node(UNKNOWN))]
    assert [node.data for node in known(nodes)] == ["a"]
