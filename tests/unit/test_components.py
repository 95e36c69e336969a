"""The components, with Pulumi's mocks: what is registered, what waits for what, what is secret."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from slipway.settings import parse
from tests.unit.settings.documents import pair

CREATED: list[pulumi.runtime.MockResourceArgs] = []


class Recorder(pulumi.runtime.Mocks):
    """Records every resource; a playbook's outputs are those of a first apply."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        CREATED.append(args)
        results = {"ca_certificate": "PEM", "ttft_ms": 12.5}
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
    CREATED.clear()
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
