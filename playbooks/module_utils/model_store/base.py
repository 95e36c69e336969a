"""What all sources of files have in common: each says what files there are, and brings more of them for a while."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .manifest import Files, StoreError, size_of

PATIENCE_S = 60
"""How long a source may say nothing."""


class FullError(Exception):
    """The disk became full."""


class ChangedError(StoreError):
    """A file at the source is another than when the delivery began; what has come of it is of no use."""


class Source:
    """What all sources have in common."""

    pinned = True
    """Whether the same record always means the same files, so that a whole folder need not ask."""
    is_told = False
    """Whether its files are known anyway, and may be others than in the round before."""

    def files(self) -> Files:
        """What there is.

        Raises:
            StoreError: the source does not say.
        """
        raise NotImplementedError

    def needs(self, names: list[str], folder: Path, size: Callable[[str], int]) -> int:
        """Bytes that bringing these files to `folder` will take there."""
        return sum(size(name) - (size_of(folder / name) or 0) for name in names)

    def called(self, name: str) -> str:
        """How messages call a file; where it can be looked at, if that says more than its name."""
        return name

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Bring more of these files, at most for so long; why no more came, where something can be said.

        Raises:
            StoreError: it does not work.
            ChangedError: it is another than before.
            FullError: the disk is full.
        """
        raise NotImplementedError


class Pushed(Source):
    """Files that the machine that runs the `up` sends by itself, between two rounds."""

    pinned = False
    is_told = True

    def __init__(self, files: Files) -> None:
        self._files = files

    def files(self) -> Files:
        """As that machine counted them."""
        return self._files

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:  # noqa: ARG002 -- as the others
        """Nothing: it is done from there."""
        return ""
