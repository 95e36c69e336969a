"""A file that is read again when it has changed, and whose last good content stays in use when it is damaged."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")

log = logging.getLogger("slipway.gateway")


class Watched(Generic[Content]):
    """The content of a file, as `parse` understands it.

    Args:
        path: the file.
        parse: makes the content of the file's text; raises ValueError, with a message that holds no secret, where it
            cannot.
        empty: the content as long as no good file was read.

    Attributes:
        content: what is in use.
        digest: SHA-256 of the file's bytes that are in use, in hex; None before the first.
        refused: why the file that lies there now is not in use; None when it is.
    """

    def __init__(self, path: Path, parse: Callable[[str], Content], empty: Content) -> None:
        self._path = path
        self._parse = parse
        self._version: tuple[int, int, int] | None = None
        self.content = empty
        self.digest: str | None = None
        self.refused: str | None = "it was not read yet"

    def refresh(self) -> bool:
        """Read the file if it is another one than the last time; says whether the content is another one now."""
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version == self._version:
                return False
            data = self._path.read_bytes()
            self._version = version
            self.content = self._parse(data.decode())
        except (OSError, ValueError) as error:
            reason = error.strerror or "unreadable" if isinstance(error, OSError) else str(error)
            if reason != self.refused:
                log.error("%s is not taken up: %s; what was read before stays in use", self._path, reason)  # noqa: TRY400
            self.refused = reason
            return False
        self.digest, self.refused = hashlib.sha256(data).hexdigest(), None
        log.warning("%s is in use, SHA-256 %s", self._path, self.digest)
        return True
