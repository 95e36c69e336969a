"""The components, with Pulumi's mocks: what is registered, what waits for what, what is secret."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from slipway.checks import Subject, catalog_of, examine
from slipway.checks.actual import planned
from slipway.settings import parse
from tests.unit.settings.documents import changed, good, pair

CREATED: list[pulumi.runtime.MockResourceArgs] = []
WARNED: list[str] = []
SAID: dict[str, Any] = {}
"""What the engines' logs say, as role vllm hands it on."""


class Recorder(pulumi.runtime.Mocks):
    """Records every resource; a playbook's outputs are those of a first apply."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        CREATED.append(args)
        results = {"ca_certificate": "PEM", "ttft_ms": 12.5, **SAID}
        return f"{args.name}-id", {
            **args.inputs,
            "generation": 0,
            "results": results,
            "drift": [],
            "digest": "d",
            "changed": 1,
        }

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(args.token)


@pytest.fixture(autouse=True)
def mocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kept in (CREATED, WARNED, SAID):
        kept.clear()
    monkeypatch.setattr(pulumi, "warn", lambda message, resource=None: WARNED.append(message))
    loops: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def tracked() -> asyncio.AbstractEventLoop:
        loops.append(make())
        return loops[-1]

    # Pulumi's mocks want a current event loop, which other tests leave none of; its test runner makes more and closes none.
    monkeypatch.setattr(asyncio, "new_event_loop", tracked)
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(Recorder(), preview=False)
    yield
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()


@pulumi.runtime.test
def test_platform_registers_one_playbook_per_step() -> pulumi.Output[None]:
    from components.platform import Platform

    platform = Platform("platform", settings=parse(pair(), "s"))

    def check(outputs: dict[str, Any]) -> None:
        names = sorted(args.name for args in CREATED if args.typ == "playbook:index:Playbook")
        assert names == [
            "gpu-1/acceptance",
            "gpu-1/base",
            "gpu-1/litellm",
            "gpu-1/nginx",
            "gpu-1/preflight",
            "gpu-1/vllm",
            "gpu-2/base",
            "gpu-2/preflight",
            "gpu-2/vllm",
        ]
        assert outputs["ca_certificate"] == "PEM"
        assert outputs["acceptance"]["ttft_ms"] == 12.5
        assert outputs["client"]["base_url"] == "https://10.0.0.11/v1"
        assert outputs["hosts"]["gpu-2"]["runs"] == ["engine"]

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_keys_are_pulumi_secrets() -> pulumi.Output[None]:
    from components.wiring import to_inputs
    from slipway.settings.types import Secret

    wired = to_inputs({"keys": [{"team": "a", "key": Secret("canary")}], "n": 1})

    def check(pair: list[Any]) -> None:
        secret, value = pair
        assert secret is True
        assert value == "canary"

    output = wired["keys"][0]["key"]
    return pulumi.Output.all(pulumi.Output.from_input(output.is_secret()), output).apply(check)


def with_plan() -> Subject:
    """Two engines with a plan."""
    settings = parse(changed(pair(), "model.catalog", "Qwen/Qwen2.5-1.5B-Instruct"), "s")
    return examine(settings, catalog_of(settings), "s")


@pulumi.runtime.test
def test_planned_and_actual_stand_side_by_side_on_each_engine_host() -> pulumi.Output[None]:
    from components.platform import Platform

    subject = with_plan()
    plan = planned(subject.sizing)
    SAID.update(plan)
    platform = Platform("platform", settings=subject.settings, sizing=subject.sizing)

    def check(outputs: dict[str, Any]) -> None:
        assert set(outputs["sizing"]) == {"gpu-1", "gpu-2"}
        for comparison in outputs["sizing"].values():
            assert comparison == {
                row: {"planned": value, "actual": value, "difference_percent": 0.0} for row, value in plan.items()
            }
        assert WARNED == []

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_a_plan_that_was_off_is_a_warning_for_each_host() -> pulumi.Output[None]:
    from components.platform import Platform

    subject = with_plan()
    plan = planned(subject.sizing)
    SAID.update({**plan, "kv_cache_tokens": plan["kv_cache_tokens"] * 1.06})
    platform = Platform("platform", settings=subject.settings, sizing=subject.sizing)

    def check(_: dict[str, Any]) -> None:
        assert [line.partition(":")[0] for line in sorted(WARNED)] == ["gpu-1", "gpu-2"]
        assert all("off in the KV cache's bytes per token: " in line and "(+6.0 %)" in line for line in WARNED)

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_without_a_plan_the_engines_figures_are_shown() -> pulumi.Output[None]:
    from components.platform import Platform

    SAID["kv_cache_tokens"] = 4096.0
    platform = Platform("platform", settings=parse(good(), "s"))

    def check(outputs: dict[str, Any]) -> None:
        alone = {"planned": None, "actual": 4096, "difference_percent": None}
        assert outputs["sizing"] == {"gpu-1": {"kv_cache_tokens": alone}}
        assert WARNED == []

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


def test_what_would_fail_is_refused_before_anything_is_registered() -> None:
    from components.program import checked

    document = changed(changed(good(), "hardware.gpu", "l4"), "model.catalog", "meta-llama/Llama-3.3-70B-Instruct")
    with pytest.raises(pulumi.RunError) as refused:
        checked(parse(document, "s"), "stacks/Pulumi.x.yaml")
    head, *lines = str(refused.value).splitlines()
    assert head == "stacks/Pulumi.x.yaml: 1 check(s) failed; nothing was touched"
    assert [line.startswith("  slipway:platform.model: no memory is left for the KV cache: ") for line in lines] == [
        True
    ]
    assert CREATED == []


def test_warnings_are_passed_on_and_notes_are_not() -> None:
    from components.program import checked

    subject = checked(parse(changed(good(), "hosts.0.key_file", "/nowhere/key"), "s"), "s")
    assert subject.sizing is None
    assert [gap.line for gap in subject.gaps] == WARNED
    assert "whether the model fits was not checked" in WARNED[0]
