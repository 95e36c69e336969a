"""The components, with Pulumi's mocks: what is registered, what waits for what, what is secret."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.targets.base import Addresses
from components.targets.registry import addresses
from components.wiring import Wiring
from slipway.deployment.actual import planned
from slipway.deployment.declaration import declaration
from slipway.deployment.references import private, public
from slipway.deployment.types import Deployment
from slipway.settings.load import parse
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import LLAMA_70B, QWEN_1B, deployment, roles, stack, steps
from tests.unit.doctor.hosts import promised
from tests.unit.settings.documents import GOOD_KEY, changed, good, many, pair

CREATED: list[pulumi.runtime.MockResourceArgs] = []
WARNED: list[str] = []
MISSING: dict[str, str] = {}
"""Why nothing was applied, by the playbook."""
SAID: dict[str, Any] = {}
"""What the engines' logs say, as role service hands it on; under a playbook's name what that alone says."""


class Recorder(pulumi.runtime.Mocks):
    """Records every resource; a playbook's outputs are those of a first apply."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        CREATED.append(args)
        said = {key: value for key, value in SAID.items() if "/" not in key}
        results = {"ca_certificate": "PEM", "models": {"m": {"ttft_ms": 12.5}}, **said, **SAID.get(args.name, {})}
        return f"{args.name}-id", {
            **args.inputs,
            "generation": 0,
            "results": results,
            "drift": [],
            "digest": "d",
            "changed": 1,
            "missing": {name: reason for name, reason in args.inputs["hosts"].items() if reason}
            if args.typ.endswith("Quorum")
            else MISSING.get(args.name, ""),
        }

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(args.token)


@pytest.fixture(autouse=True)
def mocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kept in (CREATED, WARNED, SAID, MISSING):
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
    pulumi.runtime.set_mocks(Recorder(), preview=False)
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()


def playbooks() -> dict[str, dict[str, Any]]:
    """The inputs of each playbook that was registered, by its name."""
    return {args.name: opened(args.inputs) for args in CREATED if args.typ == "playbook:index:Playbook"}


def lean(value: Any) -> Any:
    """Without what is null, which Pulumi does not hand on; whoever reads it takes a key that is missing for the same."""
    if isinstance(value, dict):
        return {key: lean(inner) for key, inner in value.items() if inner is not None}
    return [lean(inner) for inner in value] if isinstance(value, list) else value


def opened(inputs: Any) -> Any:
    """What the engine gets marked as secret is a map with its signature here."""
    if not isinstance(inputs, dict):
        return inputs
    if "4dabf18193072939515e22adb298388d" in inputs:
        return opened(inputs["value"])
    return {key: opened(value) for key, value in inputs.items()}


@pulumi.runtime.test
def test_platform_registers_one_playbook_per_step() -> pulumi.Output[None]:
    from components.platform import Platform

    platform = Platform("platform", deployment=deployment(pair()))

    def check(outputs: dict[str, Any]) -> None:
        assert sorted(playbooks()) == [
            "gpu-1/acceptance",
            "gpu-1/base",
            "gpu-1/litellm",
            "gpu-1/m",
            "gpu-1/model-m",
            "gpu-1/nginx",
            "gpu-1/preflight",
            "gpu-1/program-litellm",
            "gpu-1/program-vllm-cpu",
            "gpu-1/vacate",
            "gpu-2/base",
            "gpu-2/m",
            "gpu-2/model-m",
            "gpu-2/preflight",
            "gpu-2/program-vllm-cpu",
            "gpu-2/vacate",
        ]
        assert outputs["endpoint"] == "https://10.0.0.11/v1"
        assert outputs["ca_certificate"] == "PEM"
        assert outputs["acceptance"]["m"]["ttft_ms"] == 12.5
        assert outputs["clients"]["a"]["base_url"] == "https://10.0.0.11/v1"
        assert outputs["machines"]["gpu-2"] == {"address": "10.0.0.12", "runs": ["m"], "preflight": {"warnings": []}}
        assert set(outputs["models"]["m"]["instances"]) == {"gpu-1/m", "gpu-2/m"}

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_who_is_missing_is_counted_and_told_to_front_and_gateway_and_in_the_outputs() -> pulumi.Output[None]:
    from components.platform import Platform

    MISSING["gpu-2/preflight"] = "gpu-2 (10.0.0.12): no answer"
    of = deployment(changed(pair(), "pools.main.may_be_missing", 1))
    platform = Platform("platform", deployment=of)

    def check(outputs: dict[str, Any]) -> None:
        (quorum,) = (args for args in CREATED if args.typ == "playbook:index:Quorum")
        assert quorum.inputs == {
            "group": "pools.main.may_be_missing",
            "most": 1,
            "hosts": {"gpu-2": "gpu-2 (10.0.0.12): no answer"},
        }
        found = playbooks()
        assert found["gpu-1/nginx"]["variables"]["nginx_routes"]["missing"] == ["gpu-2"]
        files = found["gpu-1/litellm"]["variables"]["service_files"]
        assert files["routes.json"]["content"]["missing"] == ["gpu-2"]
        assert found["gpu-2/m"]["absence"]["most"] == 1
        assert outputs["missing"] == {"gpu-2": "gpu-2 (10.0.0.12): no answer"}

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_a_playbook_is_told_what_its_step_says() -> pulumi.Output[None]:
    from components.platform import Platform

    looked_at = deployment(many())
    platform = Platform("platform", deployment=looked_at)

    def check(_: dict[str, Any]) -> None:
        told, found = roles(looked_at), steps(looked_at)
        assert playbooks().keys() == told.keys()
        for key, inputs in playbooks().items():
            step, machine = found[key], found[key].machine
            assert inputs["variables"] == lean(told[key]), key
            assert (inputs["role"], inputs["instance"]) == (step.role, step.instance)
            assert inputs["timeout"] == step.timeout_s
            assert inputs["host"] == {
                "name": machine.name,
                "address": machine.address,
                "port": machine.port,
                "user": machine.user,
                **{key: value for key, value in inputs["host"].items() if key == "become"},
            }

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_every_step_waits_for_those_before_it() -> pulumi.Output[Any]:
    """Also over machines: no base before every machine has passed its preflight; acceptance after all that serves."""
    from components import layer
    from components.platform import Platform
    from provider.resource import Playbook

    waits: dict[str, set[str]] = {}
    again: dict[str, int] = {}

    class Watched(Playbook):
        def __init__(self, resource_name: str, *, opts: pulumi.ResourceOptions, **given: Any) -> None:
            waits[resource_name] = {names[id(each)] for each in opts.depends_on}  # type: ignore[union-attr,arg-type]
            again[resource_name] = len(given["triggers"] or [])
            super().__init__(resource_name, opts=opts, **given)
            names[id(self)] = resource_name
            kept.append(self)

    names: dict[int, str] = {}
    kept: list[Playbook] = []
    looked_at = deployment(many())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layer, "Playbook", Watched)
        Platform("platform", deployment=looked_at)
    assert waits == {key: set(step.after) for key, step in steps(looked_at).items()}
    assert again == {key: len(step.again_after) for key, step in steps(looked_at).items()}
    everyones = {f"{machine}/preflight" for machine in looked_at.machines}
    assert all(waits[f"{machine}/base"] == everyones for machine in looked_at.machines)
    serving = {f"{each.machine.name}/{each.name}" for each in (*looked_at.instances, *looked_at.gateways)}
    assert waits["edge-1/acceptance"] == serving | {"edge-1/nginx"}
    return pulumi.Output.all(*(each.id for each in kept))


@pulumi.runtime.test
def test_keys_are_pulumi_secrets() -> pulumi.Output[None]:
    wired = Wiring({}).inputs({"keys": [{"team": "a", "key": Secret("canary")}], "n": 1})

    def check(pair: list[Any]) -> None:
        secret, value = pair
        assert secret is True
        assert value == "canary"

    output = wired["keys"][0]["key"]
    return pulumi.Output.all(pulumi.Output.from_input(output.is_secret()), output).apply(check)


def leaves(value: Any) -> list[Any]:
    """All that is no map and no list in plain data."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def secrets(value: Any) -> int:
    if isinstance(value, Secret):
        return 1
    return (
        sum(secrets(inner) for inner in (value.values() if isinstance(value, dict) else value))
        if isinstance(value, dict | list | tuple)
        else 0
    )


@pulumi.runtime.test
def test_what_one_owns_stays_plain_text() -> pulumi.Output[Any]:
    """Only secrets are outputs: so a preview shows every other value, and a state holds it in clear."""
    looked_at = deployment(many())
    wiring = Wiring(addresses(looked_at, pulumi.ResourceOptions()))
    outputs: list[pulumi.Output[Any]] = []
    for key, step in steps(looked_at).items():
        found = leaves(wiring.inputs(dict(step.variables)))
        made = [leaf for leaf in found if isinstance(leaf, pulumi.Output)]
        assert len(made) == secrets(dict(step.variables)), key
        outputs += made
        assert isinstance(wiring.host(step.machine).address, str)
    assert not [leaf for leaf in leaves(wiring.inputs(declaration(looked_at))) if isinstance(leaf, pulumi.Output)]
    return pulumi.Output.all(*outputs)


def unknown() -> pulumi.Output[str]:
    """As a resource's output is in a preview that would make it."""

    async def value(of: Any) -> Any:
        return of

    return pulumi.Output(set(), value(None), value(False))  # type: ignore[arg-type]


def not_made_yet(*machines: str) -> dict[str, Addresses]:
    return {name: Addresses(public=unknown(), private=unknown()) for name in machines}


@pulumi.runtime.test
def test_addresses_that_are_not_known_yet_leave_only_what_holds_them_unknown() -> pulumi.Output[None]:
    looked_at = deployment(many())
    wiring = Wiring({**addresses(looked_at, pulumi.ResourceOptions()), **not_made_yet("gpu-1", "gpu-2")})
    told = roles(looked_at)
    checks = []
    for key, step in steps(looked_at).items():
        for leaf, expected in zip(leaves(wiring.inputs(dict(step.variables))), leaves(told[key]), strict=True):
            of_made = isinstance(expected, str) and any(
                text in expected for text in ("10.0.0.11", "10.0.0.12", "203.0.113.11", "203.0.113.12")
            )
            if isinstance(leaf, pulumi.Output):
                checks.append((key, expected, of_made, leaf.is_known()))
            else:
                assert not of_made, key
                assert leaf == expected
    assert len([check for check in checks if check[2]]) >= 10
    assert isinstance(wiring.text(f"http://{private('cpu-1')}/v1"), str)
    mixed = wiring.text(f"{public('cpu-1')} {private('gpu-1')}")
    assert isinstance(mixed, pulumi.Output)

    def check(known: list[bool]) -> None:
        for (key, expected, of_made, _), is_known in zip(checks, known, strict=True):
            assert is_known is not of_made, (key, expected)

    return pulumi.Output.all(*(pulumi.Output.from_input(known) for *_, known in checks)).apply(check)


def with_plan() -> Deployment:
    """Two engines with a plan."""
    return deployment(changed(pair(), "models.m.catalog", QWEN_1B))


@pulumi.runtime.test
def test_planned_and_actual_stand_side_by_side_for_each_engine() -> pulumi.Output[None]:
    from components.platform import Platform

    looked_at = with_plan()
    plan = planned(looked_at.served["m"].measured.figures)
    SAID.update(plan)
    platform = Platform("platform", deployment=looked_at)

    def check(outputs: dict[str, Any]) -> None:
        instances = outputs["models"]["m"]["instances"]
        assert set(instances) == {"gpu-1/m", "gpu-2/m"}
        for instance in instances.values():
            assert instance["sizing"] == {
                row: {"planned": value, "actual": value, "difference_percent": 0.0} for row, value in plan.items()
            }
        assert WARNED == []

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_a_plan_that_was_off_is_a_warning_for_each_engine() -> pulumi.Output[None]:
    from components.platform import Platform

    looked_at = with_plan()
    plan = planned(looked_at.served["m"].measured.figures)
    SAID.update({**plan, "kv_cache_tokens": plan["kv_cache_tokens"] * 1.06})
    platform = Platform("platform", deployment=looked_at)

    def check(_: dict[str, Any]) -> None:
        assert [line.partition(":")[0] for line in sorted(WARNED)] == ["gpu-1/m", "gpu-2/m"]
        assert all("off in the KV cache's bytes per token: " in line and "(+6.0 %)" in line for line in WARNED)

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_without_a_plan_the_engines_figures_are_shown() -> pulumi.Output[None]:
    from components.platform import Platform

    SAID["kv_cache_tokens"] = 4096.0
    platform = Platform("platform", deployment=deployment(good()))

    def check(outputs: dict[str, Any]) -> None:
        alone = {"planned": None, "actual": 4096, "difference_percent": None}
        assert outputs["models"]["m"]["instances"]["gpu-1/m"]["sizing"] == {"kv_cache_tokens": alone}
        assert WARNED == []

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_outputs_say_where_models_are_and_hold_no_secret() -> pulumi.Output[None]:
    from components.platform import Platform

    looked_at = deployment(many())
    platform = Platform("platform", deployment=looked_at)

    def check(outputs: dict[str, Any]) -> None:
        models = outputs["models"]
        assert list(models) == list(many()["models"])
        llama = models["llama-3.3-70b"]
        assert (llama["task"], llama["context_window"], llama["max_output_tokens"]) == ("chat", 8192, 4096)
        assert {key: each["gpus"] for key, each in llama["instances"].items()} == {
            "gpu-1/llama-3-3-70b": [0, 1, 2, 3],
            "gpu-2/llama-3-3-70b": [0, 1, 2, 3],
            "gpu-1/llama-3-3-70b-2": [4, 5, 6, 7],
        }
        assert models["gpt-5"] == {
            "task": "chat",
            "context_window": 128000,
            "max_output_tokens": 16384,
            "instances": {},
        }
        assert [model["id"] for model in outputs["clients"]["legal"]["models"]] == ["llama-3.3-70b", "embedder"]
        for secret in (GOOD_KEY, "sk-openai-canary", "hf-token"):
            assert secret not in repr(outputs)

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


def test_what_would_fail_is_refused_before_anything_is_registered() -> None:
    from components.program import checked

    document = stack(("pools.main.gpu", "l4"), model=LLAMA_70B)
    with pytest.raises(pulumi.RunError) as refused:
        checked(parse(document, "s"), "stacks/Pulumi.x.yaml")
    head, *lines = str(refused.value).splitlines()
    assert head == "stacks/Pulumi.x.yaml: 1 check(s) failed; nothing was touched"
    begins = "  slipway:platform.models.m: no memory is left for the KV cache: "
    assert [line.startswith(begins) for line in lines] == [True]
    assert CREATED == []


def test_warnings_are_passed_on_and_notes_are_not() -> None:
    from components.program import checked

    looked_at = checked(parse(changed(good(), "pools.main.hosts.gpu-1.key_file", "/nowhere/key"), "s"), "s")
    assert looked_at.served["m"].measured.sizing is None
    assert [gap.line for gap in looked_at.gaps] == WARNED
    assert "whether the model fits was not checked" in WARNED[0]


def test_where_models_are_placed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.program import checked

    told: list[str] = []
    monkeypatch.setattr(pulumi, "info", told.append)
    checked(parse(many(), "s"), "s")
    moved = [line for line in told if "gets GPU" in line]
    assert moved == [
        "gpu-1: llama-3-3-70b gets GPU 0, 1, 2, 3",
        "gpu-2: llama-3-3-70b gets GPU 0, 1, 2, 3",
        "gpu-1: llama-3-3-70b-2 gets GPU 4, 5, 6, 7",
        "gpu-2: qwen-1-5b gets GPU 4",
    ]


@pulumi.runtime.test
def test_what_was_proved_of_the_gpus_is_an_output_and_a_warning_is_shown() -> pulumi.Output[None]:
    from components.platform import Platform

    proved = {"driver": "580.173.02", "cuda": "13.0", "gpus": [{"name": "NVIDIA GeForce RTX 4090"}]}
    SAID["gpu-1/gpus"] = {**proved, "warnings": ["gpu.slowed: GPU 0 is slowed"]}
    platform = Platform("platform", deployment=deployment(stack(("pools.main.gpu", "rtx-4090"))))

    def check(outputs: dict[str, Any]) -> None:
        shown = outputs["machines"]["gpu-1"]["gpus"]
        assert {key: shown[key] for key in proved} == proved
        assert WARNED == ["gpu-1: gpu.slowed: GPU 0 is slowed"]

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_what_preflight_warns_of_is_an_output_and_is_shown_of_hosts_without_gpus_too() -> pulumi.Output[None]:
    from components.platform import Platform

    dead = "host.dns: hub.test is not known to the host's name servers"
    SAID["gpu-2/preflight"] = {"system": "Debian", "warnings": [dead]}
    platform = Platform("platform", deployment=deployment(pair()))

    def check(outputs: dict[str, Any]) -> None:
        found = {name: machine["preflight"] for name, machine in outputs["machines"].items()}
        assert found == {"gpu-1": {"warnings": []}, "gpu-2": {"warnings": [dead]}}
        assert [f"gpu-2: preflight: {dead}"] == WARNED

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


@pulumi.runtime.test
def test_what_preflight_says_of_gpus_is_no_warning_of_the_log_since_the_proof_comes_later() -> pulumi.Output[None]:
    from components.platform import Platform

    said = [
        "gpu.slowed: GPU 0 is slowed; it is slow: cool it",
        "gpu.xid is unknown: nobody keeps it; it is unproven",
        "host.dns: hub.test is not known",
    ]
    SAID["gpu-1/preflight"], SAID["gpu-1/gpus"] = {"warnings": said}, {"warnings": []}
    platform = Platform("platform", deployment=deployment(stack(("pools.main.gpu", "rtx-4090"))))

    def check(outputs: dict[str, Any]) -> None:
        assert outputs["machines"]["gpu-1"]["preflight"] == {"warnings": said}
        assert [f"gpu-1: preflight: {said[2]}"] == WARNED

    return pulumi.Output.all(**platform.stack_outputs()).apply(check)


def test_pulumi_20891_a_preview_names_each_step_on_a_gpu_host(root: Path) -> None:
    """Ansible in Pulumi: what would run on a host is a resource of a preview, named by host and step, with its role."""
    of = promised("h100-sxm-80gb", 8)
    pulumi.runtime.set_mocks(Recorder(), preview=True)

    @pulumi.runtime.test
    def preview() -> None:
        from components.platform import Platform

        Platform("platform", deployment=of)

    preview()

    found = playbooks()
    assert {"gpu-1/preflight", "gpu-1/driver", "gpu-1/gpus", "gpu-1/exchange", "gpu-1/m"} <= set(found)
    assert {name: inputs["role"] for name, inputs in found.items()} == {
        key: step.role for key, step in steps(of).items()
    }
    for name, inputs in found.items():
        assert (root / "playbooks/roles" / inputs["role"] / "tasks/main.yml").is_file(), name
    assert found["gpu-1/driver"]["variables"]["nvidia_driver_branch"] == "580"
