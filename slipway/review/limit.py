"""One comment within a service's limit: what matters least is cut first, and the comment says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 65_000
"""Bytes. GitHub takes 65,536 characters."""
_LAST = "\n_The rest is left out: a comment has no room for it. `slipway review` prints all of it._\n"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Lines that belong together; of `items` the last ones may be cut."""

    head: str = ""
    items: tuple[str, ...] = ()
    tail: str = ""
    rank: int = 0
    """Blocks of the highest rank are cut first."""
    row: bool = False
    """Whether the items are rows of a table, where a sentence would end it."""

    def text(self, shown: int) -> str:
        """With only the first `shown` items."""
        left = len(self.items) - shown
        word = "entry is" if left == 1 else "entries are"
        cut = (
            f"{'' if self.row else '- '}… {left} more {word} left out here; `slipway review` prints all of them"
            if left
            else ""
        )
        lines = [self.head, *self.items[:shown], "\n" * self.row + cut if cut else "", self.tail]
        return "".join(f"{line}\n" for line in lines if line)


def fitted(blocks: Sequence[Block], limit: int = LIMIT) -> str:
    """All blocks as one text of at most `limit` bytes."""
    shown = [len(block.items) for block in blocks]
    sizes = [_size(block.text(count)) for block, count in zip(blocks, shown, strict=True)]
    # The last one of the highest rank goes first.
    for number in sorted(range(len(blocks)), key=lambda each: (blocks[each].rank, each), reverse=True):
        block = blocks[number]
        while sum(sizes) > limit and shown[number]:
            shown[number] -= 1
            sizes[number] = _size(block.text(shown[number]))
    text = "".join(block.text(count) for block, count in zip(blocks, shown, strict=True))
    return text if _size(text) <= limit else _torn(text, limit - _size(_LAST)) + _LAST


def _torn(text: str, limit: int) -> str:
    """Its first lines: only headings are left by then, and there are too many of them."""
    kept, size = [], 0
    for line in text.splitlines(keepends=True):
        size += _size(line)
        if size > limit:
            break
        kept.append(line)
    return "".join(kept)


def _size(text: str) -> int:
    return len(text.encode())
