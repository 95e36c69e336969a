"""Decide by what is known before asking for what is not: one unknown in a list must not hide what is wrong beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.rule import About, Violation

T = TypeVar("T")
N = TypeVar("N", bound=Node)


class Asked(Node):
    """An item with the one question that it is asked, so that an unknown there leaves the other questions alone."""

    __slots__ = ("item", "question")

    def __init__(self, item: Node, question: Callable[[Any, About], Iterable[Violation]]) -> None:
        super().__init__(item.raw, item.path)
        self.item = item
        self.question = question

    def answers(self, about: About) -> Iterator[Violation]:
        """What is wrong with it."""
        yield from self.question(self.item, about)


def sure(items: Iterable[T], question: Callable[[T], bool]) -> tuple[list[T], UnknownValueError | None]:
    """Those for which the answer is yes; and, where it is open for others, the first thing that is not known."""
    found: list[T] = []
    doubt: UnknownValueError | None = None
    left = iter(items)
    while True:
        try:
            item = next(left)
            if question(item):
                found.append(item)
        except StopIteration:
            return found, doubt
        except UnknownValueError as unknown:
            # One that the items themselves raise ends them; the next turn then sees that nothing is left.
            doubt = doubt or unknown


def any_sure(items: Iterable[T], question: Callable[[T], bool]) -> bool:
    """Whether the answer is yes for one of them.

    Raises:
        UnknownValueError: it is open for one, and yes for none.
    """
    found, doubt = sure(items, question)
    if not found and doubt is not None:
        raise doubt
    return bool(found)


def each(node: Node, *keys: Key) -> Iterator[Node | UnknownValueError]:
    """The elements of the list there; in the place of a list that is not known, the error."""
    try:
        yield from node.each(*keys)
    except UnknownValueError as unknown:  # also of what holds it
        yield unknown


def texts(node: Node, *keys: Key) -> Iterator[Node]:
    """What may be a text or a list of texts, text by text. One that is not known is there as well."""
    found = node.node(*keys)
    if found.data is UNKNOWN or isinstance(found.data, str):
        yield found
    else:
        yield from found.each()


def same(one: Node, other: Node) -> bool:
    """Whether both are known, and the same: a name that is not known yet is no relation."""
    return one.data is not None and one.data is not UNKNOWN and one.data == other.data


def known(items: Iterable[N | UnknownValueError]) -> Iterator[N]:
    """The items that are there, and are not unknown as a whole."""
    for item in items:
        if not isinstance(item, UnknownValueError) and item.data is not UNKNOWN:
            yield item
