"""Read on past what is not known: one unknown value must not hide what is wrong beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Never, TypeVar

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.rule import About, Violation

T = TypeVar("T")
N = TypeVar("N", bound=Node)


class Question(Node):
    """An item with the one question that it is asked, so that an unknown there leaves the other questions alone."""

    __slots__ = ("item", "question")

    def __init__(self, item: Node, question: Callable[[Any, About], Iterable[Violation]]) -> None:
        super().__init__(item.raw, item.path)
        self.item = item
        self.question = question

    def answers(self, about: About) -> Iterator[Violation]:
        """The violations that the question finds in the item."""
        yield from self.question(self.item, about)


def partition_known(items: Iterable[T], question: Callable[[T], bool]) -> tuple[list[T], UnknownValueError | None]:
    """The items for which the answer is yes, and the first unknown value that leaves it open for another; None without one."""
    found: list[T] = []
    first: UnknownValueError | None = None
    left = iter(items)
    while True:
        try:
            item = next(left)
            if question(item):
                found.append(item)
        except StopIteration:
            return found, first
        except UnknownValueError as unknown:
            # One that the items themselves raise ends them; the next turn then sees that nothing is left.
            first = first or unknown


def any_known(items: Iterable[T], question: Callable[[T], bool]) -> bool:
    """Whether the answer is yes for one of them.

    Raises:
        UnknownValueError: it is open for one, and yes for none.
    """
    found, unknown = partition_known(items, question)
    if not found and unknown is not None:
        raise unknown
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


def known_first(parts: Iterable[Iterable[T]]) -> Iterator[T]:
    """All of the parts, one after the other; what ended one of them is raised when the others have been told.

    Raises:
        UnknownValueError: a part, or the list of them, holds what is not known yet.
    """
    unknown: list[UnknownValueError] = []
    for part in unknown_as_item(parts):
        if isinstance(part, UnknownValueError):
            unknown.append(part)
            continue
        for each in unknown_as_item(part):
            if isinstance(each, UnknownValueError):
                unknown.append(each)
            else:
                yield each
    if unknown:
        raise unknown[0]


def unknown_as_item(part: Iterable[T]) -> Iterator[T | UnknownValueError]:
    """All of it; what is not known ends it, and stands in the place of what would have come."""
    try:
        yield from part
    except UnknownValueError as unknown:
        yield unknown


@contextmanager
def collected(unknown: list[UnknownValueError]) -> Iterator[None]:
    """An unknown value ends the block, and is put into `unknown` instead of being raised."""
    try:
        yield
    except UnknownValueError as error:
        unknown.append(error)


def raise_first(unknown: Iterable[UnknownValueError]) -> Iterator[Never]:
    """An empty iterator: to be told after all that is known.

    Raises:
        UnknownValueError: the first of `unknown`, if there is one.
    """
    for error in unknown:
        raise error
    yield from ()
