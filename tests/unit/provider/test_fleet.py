"""Hosts that may be missing, with runs that are only played."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pulumi.provider.experimental import provider as base

from provider import quorum
from provider.inputs import Inputs
from provider.plugin import Refused
from provider.run import Failure, FailureKind, Outcome
from provider.values import fields, is_unknown, plain, wrap
from tests.unit.provider.test_plugin import URN, Keeper, Plugin, checked, project, state, wrap_all

__all__ = ["project"]
GROUP = "pools.gpu.may_be_missing"
AWAY = Outcome(failure=Failure(kind="unreachable", message="gpu-1 (10.0.0.5): layer x: does not answer.\n  Mend it."))
COUNTED = f"urn:pulumi:test::trial::{quorum.TYPE}::gpu"


def given(name: str = "gpu-1", **absence: Any) -> Any:
    return checked(host={"name": name}, absence={"group": GROUP, "most": 1, **absence})


def failed(kind: FailureKind) -> Outcome:
    return Outcome(failure=Failure(kind=kind, message="why"))


def create(subject: Plugin, inputs: Any) -> Any:
    request = base.CreateRequest(URN, inputs, 0, preview=False)
    return asyncio.run(subject.provider.create(request)).properties


def values(properties: Any, *keys: str) -> list[Any]:
    return [plain(properties.get(key)) for key in keys]


def test_a_host_that_may_be_missing_is_left_out_and_due_again() -> None:
    subject = Plugin(AWAY)

    made = create(subject, given())

    assert values(made, "missing", "digest", "changed") == [
        "gpu-1 (10.0.0.5): layer x: does not answer. Mend it.",
        "",
        None,
    ]
    (said,) = subject.lasting
    assert said[0] == "warning"
    assert f"It is left out: {GROUP} lets 1 be missing, and the next `pulumi up` takes it in." in said[1]
    answer = asyncio.run(subject.provider.diff(base.DiffRequest(URN, "x", made, given(), [])))
    assert (answer.changes, answer.diffs) == (True, ["digest", "missing"])


def test_the_layers_above_are_not_tried() -> None:
    subject = Plugin(AWAY)
    create(subject, given())

    made = create(subject, given())

    assert len(subject.player.requests) == 1
    assert values(made, "digest") == [""]
    assert len(subject.lasting) == 1


def test_what_serves_is_kept_as_it_was_where_its_host_is_missing() -> None:
    subject, old = Plugin(AWAY), {**state(results={"url": "x"}, changed=4, generation=3, managed=7), **given()}
    request = base.UpdateRequest(URN, "x", old, {**given(), "triggers": wrap([1])}, 0, [], preview=False)

    made = asyncio.run(subject.provider.update(request)).properties

    assert values(made, "results", "changed", "generation", "managed", "digest") == [{"url": "x"}, 4, 3, 7, ""]


@pytest.mark.parametrize(
    ("kind", "refused", "tolerated"),
    [
        ("access", False, True),
        ("task", False, False),
        ("task", True, True),
        ("timeout", True, True),
        ("internal", True, False),
    ],
)
def test_which_failures_make_a_host_missing(kind: FailureKind, refused: bool, tolerated: bool) -> None:
    subject = Plugin(failed(kind))
    if tolerated:
        assert values(create(subject, given(refused=refused)), "missing") == ["why"]
    else:
        with pytest.raises(Refused, match="why"):
            create(subject, given(refused=refused))


def test_a_host_that_may_not_be_missing_fails_as_ever() -> None:
    with pytest.raises(Refused, match="does not answer"):
        create(Plugin(AWAY), given(most=0, others=["gpu-2"]))


def test_one_too_many_is_refused_with_all_names() -> None:
    subject = Plugin(AWAY, AWAY)
    create(subject, given())
    with pytest.raises(Refused) as error:
        create(subject, given("gpu-2"))
    assert f"{GROUP} lets 1 be missing, and 2 are" in str(error.value)
    assert "\n  gpu-1: " in str(error.value)
    assert "\n  gpu-2: " in str(error.value)


def test_a_part_of_a_replica_waits_for_the_host_of_another_part() -> None:
    subject = Plugin(AWAY)
    create(subject, given())

    made = create(subject, given("gpu-2", most=0, others=["gpu-1"]))

    assert values(made, "missing")[0].startswith("gpu-1, which is missing, has a part of it: ")
    assert len(subject.player.requests) == 1


def test_a_refresh_passes_over_a_host_that_is_away() -> None:
    subject = Plugin(AWAY)
    old = {**state(), **given(), "digest": checked()["digest"]}

    answer = asyncio.run(subject.provider.read(base.ReadRequest(URN, "x", old, given())))

    assert answer.properties == old
    assert "It was not looked at" in subject.lasting[0][1]


class Silent(Keeper):
    async def silence(self, parsed: Inputs) -> Failure | None:
        return AWAY.failure


@pytest.mark.parametrize("refused", [True, False])
def test_a_first_layer_without_changes_is_run_where_its_host_has_gone_silent(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Plugin(AWAY)
    keeper = Silent(subject.keeper.prepared)
    subject.provider._fleet._records = keeper
    subject.provider._records = keeper  # type: ignore[assignment]
    old, new = {**state(), **given(refused=refused)}, given(refused=refused)
    old["digest"] = new["digest"]

    answer = asyncio.run(subject.provider.diff(base.DiffRequest(URN, "x", old, new, [])))

    assert answer.changes is refused
    monkeypatch.setenv("SLIPWAY_LOOK_ONLY", "1")
    assert asyncio.run(subject.provider.diff(base.DiffRequest(URN, "x", old, new, []))).changes is False
    made = asyncio.run(subject.provider.update(base.UpdateRequest(URN, "x", old, new, 0, [], preview=False))).properties
    assert bool(plain(made.get("missing"))) is refused
    # What a preview can't know: with it the routes of the front are shown as a change.
    shown = asyncio.run(subject.provider.update(base.UpdateRequest(URN, "x", old, new, 0, [], preview=True))).properties
    assert is_unknown(shown.get("missing")) is refused


def test_nothing_is_removed_where_nothing_was_ever_applied() -> None:
    subject = Plugin(AWAY)
    made = create(subject, given())

    asyncio.run(subject.provider.delete(base.DeleteRequest(URN, "x", made, 0)))

    assert len(subject.player.requests) == 1


def test_what_a_first_apply_left_behind_is_removed() -> None:
    """The host was lost in the middle of the role."""
    lost = replace(AWAY, touched=True, changed=2)
    subject = Plugin(lost, Outcome(ok=1))
    made = create(subject, given())
    assert values(made, "digest", "changed") == ["", 2]
    again = base.UpdateRequest(URN, "x", made, given(), 0, [], preview=False)
    made = asyncio.run(subject.provider.update(again)).properties

    asyncio.run(subject.provider.delete(base.DeleteRequest(URN, "x", made, 0)))

    assert subject.player.requests[-1].mode == "remove"


def test_one_machine_under_two_addresses_is_refused() -> None:
    seen = Outcome(ok=1, results={"identity": "the SSH host key SHA256:abc"})
    subject = Plugin(seen, seen, seen)
    create(subject, given())
    with pytest.raises(Refused) as error:
        create(subject, checked(host={"name": "gpu-2", "address": "10.0.0.6"}))
    assert "gpu-2 (10.0.0.6) is the machine that gpu-1 is: both show the SSH host key SHA256:abc." in str(error.value)
    create(subject, checked(host={"name": "renamed", "address": "10.0.0.5"}))


def test_one_machine_is_known_again_from_the_state() -> None:
    subject = Plugin(Outcome(ok=1, results={"identity": "k"}))
    old = {**state(results={"identity": "k"}), **given()}
    asyncio.run(subject.provider.diff(base.DiffRequest(URN, "x", old, given(), [])))
    with pytest.raises(Refused, match="is the machine that gpu-1 is"):
        create(subject, checked(host={"name": "gpu-2", "address": "10.0.0.6"}))


# the quorum


def counted(most: int, **hosts: str) -> Any:
    inputs = wrap_all({"group": GROUP, "most": most, "hosts": hosts})
    answer = asyncio.run(Plugin().provider.check(base.CheckRequest(COUNTED, {}, inputs, b"")))
    assert answer.failures is None
    return answer.inputs


@pytest.mark.parametrize("preview", [True, False])
def test_enough_hosts_are_a_quorum(preview: bool) -> None:
    request = base.CreateRequest(COUNTED, counted(1, a="", b="gone"), 0, preview=preview)
    made = asyncio.run(Plugin().provider.create(request)).properties
    assert {name: plain(reason) for name, reason in fields(made["missing"]).items()} == {"b": "gone"}


def test_too_few_are_none() -> None:
    news = counted(1, a="gone", b="gone too", c="")
    with pytest.raises(Refused) as error:
        asyncio.run(Plugin().provider.create(base.CreateRequest(COUNTED, news, 0, preview=False)))
    assert "\n  a: gone\n  b: gone too" in str(error.value)
    with pytest.raises(Refused):
        asyncio.run(
            Plugin().provider.update(base.UpdateRequest(COUNTED, "gpu", counted(1, a=""), news, 0, [], preview=False))
        )


@pytest.mark.parametrize("wrong", [{"most": -1}, {"most": "two"}, {"hosts": "a"}, {"other": 1}])
def test_a_quorum_says_what_is_wrong_with_its_inputs(wrong: dict[str, Any]) -> None:
    inputs = wrap_all({"group": GROUP, "most": 1, "hosts": {"a": ""}, **wrong})
    answer = asyncio.run(Plugin().provider.check(base.CheckRequest(COUNTED, {}, inputs, b"")))
    assert [failure.property for failure in answer.failures or []] == list(wrong)
