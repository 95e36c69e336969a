"""Of a group, one at a time is changed, and none after one has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pulumi.provider.experimental import provider as base

from provider.plugin import Refused
from provider.run import Failure, Outcome, Progress, Request
from tests.unit.provider.test_plugin import DONE, URN, Plugin, checked, project, state

__all__ = ["project"]
FAILED = Outcome(failure=Failure(kind="task", message="the engine does not start"))


class Slow:
    """In place of the runner: notes how many runs there are at the same time."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes, self.now, self.most = list(outcomes), 0, 0

    async def run(self, request: Request, listener: Callable[[Progress], None]) -> Outcome:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.05)
        self.now -= 1
        return self.outcomes.pop(0)


def changed(runner: Slow, *groups: str | None) -> list[object]:
    """One change for each of the groups, all asked for at once; what came of each."""
    subject, old = Plugin(), state()
    subject.provider._runner = runner  # type: ignore[assignment]
    news = [checked(triggers=[1], **({} if group is None else {"rolling": group})) for group in groups]

    async def all_of_them() -> list[object]:
        asked = [
            base.UpdateRequest(URN, f"host-{at}/chat", old, new, 0, [], preview=False) for at, new in enumerate(news)
        ]
        return await asyncio.gather(*map(subject.provider.update, asked), return_exceptions=True)

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("groups", "most"), [(("model chat",) * 3, 1), ((None,) * 3, 3), (("model chat", "model other"), 2)]
)
def test_one_of_a_group_at_a_time(groups: tuple[str | None, ...], most: int) -> None:
    runner = Slow(*[DONE] * len(groups))

    found = changed(runner, *groups)

    assert all(isinstance(each, base.UpdateResponse) for each in found)
    assert runner.most == most


def test_once_one_has_failed_the_others_are_left_as_they_are() -> None:
    runner = Slow(FAILED, DONE)

    first, second, other = changed(runner, "model chat", "model chat", "model other")

    assert isinstance(first, Refused)
    assert isinstance(other, base.UpdateResponse)
    assert isinstance(second, Refused)
    assert "layer nginx was left as it is: host-0/chat, of the same group (model chat), failed" in str(second)


def test_a_group_has_a_name() -> None:
    given = checked()
    given = {**{key: value for key, value in given.items() if key != "digest"}, "rolling": given["host"]}
    response = asyncio.run(Plugin().provider.check(base.CheckRequest(URN, {}, given, b"")))
    assert [failure.property for failure in response.failures or ()] == ["rolling"]
