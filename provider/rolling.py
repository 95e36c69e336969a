"""Changes one thing of a group after the other, so that the others go on serving."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator


class Stopped(Exception):  # noqa: N818 -- not an error of the plugin
    """One of the group has failed in this command; its name is the argument."""


class Rolling:
    """Who of each group may be changed now. The plugin lives for one command, and so does what is known here."""

    def __init__(self) -> None:
        """Nobody is being changed."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failed: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def turn(self, group: str, name: str) -> AsyncIterator[None]:
        """Waits until no other of `group` is being changed; an empty group waits for nobody.

        Raises:
            Stopped: another of the group has failed before.
        """
        if not group:
            yield
            return
        async with self._turns[group]:
            if group in self._failed:
                raise Stopped(self._failed[group])
            try:
                yield
            except BaseException:
                self._failed[group] = name
                raise
