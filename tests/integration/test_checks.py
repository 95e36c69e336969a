"""The checks at preview, with the real engine: what would fail is refused before a host is touched."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway.deployment.names import slug
from tests.e2e.stack import Stack, copy_checkout
from tests.unit.settings.documents import changed

HEAD = "stacks/Pulumi.poc.yaml: 1 check(s) failed; nothing was touched"
MODEL = ("models", "qwen2.5-1.5b-instruct")
AT = 'slipway:platform.models["qwen2.5-1.5b-instruct"]'
LLAMA_70B = [
    ((*MODEL, "catalog"), "meta-llama/Llama-3.3-70B-Instruct"),
    ((*MODEL, "source"), {"host_path": "/srv/models/Llama-3.3-70B-Instruct"}),
]
REFUSED = (
    f"{AT}: no memory is left for the KV cache: weights 131 GiB, activations N GiB and the rest are N GiB more "
    "than the 19 GiB that the engine may take of a GPU; what would do: "
)
"""With the figures that are estimates left out, and decimals cut off."""


@pytest.fixture(scope="module")
def poc(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Stack `poc` of a copied checkout. Its host's address reaches nobody; a preview has no need of it."""
    folder = tmp_path_factory.mktemp("checks")
    (folder / "state").mkdir()
    key_file = folder / "id_ed25519"
    key_file.touch(0o600)
    stack = Stack(
        "poc",
        copy_checkout(root, folder / "checkout"),
        folder / "state",
        {"PULUMI_CONFIG_PASSPHRASE": "for tests only", "SLIPWAY_KEY_PLATFORM": secrets.token_hex(32)},
    )
    stack.write(changed(stack.read(), "pools.gpu.hosts.gpu-1.key_file", str(key_file)))
    stack.init()
    return stack


class Edited:
    """The stack's settings with `changes`, and afterwards as they were."""

    def __init__(self, stack: Stack, *changes: tuple[str | Sequence[str], Any]) -> None:
        self.stack, self.changes, self.before = stack, changes, stack.read()

    def __enter__(self) -> None:
        settings = self.before
        for path, value in self.changes:
            settings = changed(settings, path, value)
        self.stack.write(settings)

    def __exit__(self, *_: object) -> None:
        self.stack.write(self.before)


def registered(output: str) -> set[str]:
    """The types of the resources in what a preview or an up printed, the stack itself apart."""
    return set(re.findall(r"^ *\+ +(\w+:\w+:\w+) ", output, re.MULTILINE)) - {"pulumi:pulumi:Stack"}


def without_estimates(output: str) -> str:
    """Only the figures that follow from the model's published shapes and the settings."""
    cut = re.sub(r"(\d+)\.\d+ GiB", r"\1 GiB", output)
    return re.sub(r"(activations|the rest are) \d+ GiB", r"\1 N GiB", cut)


def checked(stack: Stack) -> dict[str, Any]:
    """What `slipway check --json` says of the stack."""
    (report,) = json.loads(stack.shell(f"slipway check {stack.name} --json || true").stdout)["stacks"]
    return dict(report)


def test_a_model_that_fits_is_previewed(poc: Stack) -> None:
    output = poc.pulumi("preview")
    assert "warning" not in output
    assert registered(output) >= {"playbook:index:Playbook", "slipway:index:Platform"}


def test_a_model_that_does_not_fit_is_refused(poc: Stack) -> None:
    with Edited(poc, *LLAMA_70B):
        output = poc.pulumi("preview", check=False)
        report = checked(poc)
    assert f"{HEAD}\n" in output
    assert REFUSED in without_estimates(output)
    assert "Traceback" not in output
    assert registered(output) == set()
    assert poc.runs() == []
    # Without the engine the same is said.
    (error,) = [finding for finding in report["findings"] if finding["severity"] == "error"]
    assert f"  {error['where']}: {error['message']}\n" in output
    assert report["status"] == 1


def test_up_refuses_it_as_well(poc: Stack) -> None:
    with Edited(poc, *LLAMA_70B):
        output = poc.refused()
    assert HEAD in output, output
    resources = json.loads(poc.exported_state())["deployment"].get("resources", [])
    # The engine's own provider is what tells of the state.
    assert {resource["type"] for resource in resources} <= {"pulumi:pulumi:Stack", "pulumi:providers:pulumi"}
    assert poc.runs() == []


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("pools", "gpu", "tier"), "slipway:platform.pools.gpu.tier"),
        (("pools", "gpu", "gpu"), "slipway:platform.pools.gpu.gpu"),
        ((*MODEL, "catalog"), f"{AT}.catalog"),
    ],
)
def test_unknown_names_are_refused(poc: Stack, path: Sequence[str], where: str) -> None:
    with Edited(poc, (path, "poc-1")):
        output = poc.pulumi("preview", check=False)
    assert registered(output) == set()
    assert "stacks/Pulumi.poc.yaml: 1 setting(s) refused; nothing was touched" in output
    assert f"{where}: 'poc-1' is not in the catalogue" in output
    assert "Traceback" not in output


def test_models_that_do_not_fit_together_are_refused(poc: Stack) -> None:
    second = {"catalog": "Qwen/Qwen2.5-1.5B-Instruct", "source": {"host_path": "/srv/models/second"}, "gpus": 1}
    with Edited(poc, ((*MODEL, "gpus"), 1), (("models", "second"), second)):
        output = poc.pulumi("preview", check=False)
        report = checked(poc)
    assert registered(output) == set()
    assert "slipway:platform.models.second.gpus: second needs 1 GPU" in output
    assert "qwen2.5-1.5b-instruct leave no such room on gpu-1" in output
    assert "they do not fit together" in output
    # Without the engine the same is said.
    assert report["status"] == 2
    assert all(problem in output for problem in report["problems"])


def test_a_model_that_nobody_knows_is_previewed_with_a_warning(poc: Stack) -> None:
    with Edited(poc, ((*MODEL, "catalog"), None), ((*MODEL, "source"), {"host_path": "/srv/models/own"})):
        output = poc.pulumi("preview")
    assert (
        f"{AT}.catalog: is not given; whether the model fits was not checked: give the catalogue's id of the model there"
    ) in output
    assert "playbook:index:Playbook" in registered(output)


def test_the_split_over_gpus_reaches_the_engine(poc: Stack) -> None:
    with Edited(poc, (("pools", "gpu", "tier"), "rtx-4090-2")):
        done = poc.shell("pulumi preview --json --stack poc --non-interactive")
    instance = slug(MODEL[1])
    (engine,) = [
        step["newState"]["inputs"]
        for step in json.loads(done.stdout)["steps"]
        if step["urn"].endswith(f"::gpu-1/{instance}")
    ]
    assert "--tensor-parallel-size=2" in engine["variables"]["service_command"]
    assert engine["variables"]["service_environment"]["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_models_stay_where_the_state_says_they_are(poc: Stack) -> None:
    """Asked of the engine, on GPUs: what comes first in the file moves nobody, and takes what is left."""
    model = {key: value for key, value in poc.read()["models"][MODEL[1]].items() if key != "aliases"}
    models = {"newcomer": {**model, "gpus": 1}, MODEL[1]: {**model, "gpus": 1}, "third": {**model, "gpus": 1}}
    instance = slug(MODEL[1])
    with Edited(poc, (("pools", "gpu", "gpus"), 3), (("models",), models)):
        assert placed(poc.pulumi("preview")) == {"newcomer": "0", instance: "1", "third": "2"}
        empty = poc.exported_state()
        poc.import_state(json.dumps(with_instances(json.loads(empty), {instance: (0, 8123), "third": (1, 8124)})))
        try:
            output = poc.pulumi("preview")
            listening = ports(poc)
        finally:
            poc.import_state(empty)
    assert placed(output) == {"newcomer": "2", instance: "0", "third": "1"}
    assert (listening[instance], listening["third"]) == (8123, 8124)


def placed(output: str) -> dict[str, str]:
    """The GPUs of each instance, as a preview says them."""
    return dict(re.findall(r"gpu-1: (\S+) gets GPU ([\d, ]+)", output))


def ports(stack: Stack) -> dict[str, int]:
    """The port that each engine is to listen on."""
    done = stack.shell(f"pulumi preview --json --stack {stack.name} --non-interactive")
    created = [
        step["newState"].get("inputs", {}) for step in json.loads(done.stdout)["steps"] if step["op"] == "create"
    ]
    claims = {
        inputs["instance"]: inputs["variables"]["service_claims"]
        for inputs in created
        if inputs.get("role") == "service"
    }
    return {
        instance: int(claim["what"].removeprefix("port:"))
        for instance, all_of_it in claims.items()
        for claim in all_of_it
        if claim["what"].startswith("port:")
    }


def with_instances(state: dict[str, Any], instances: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The state of a stack that has these engines up, by name, each with a GPU and a port."""
    provider = "urn:pulumi:poc::slipway::pulumi:providers:playbook::default"
    resources = [
        {"urn": provider, "custom": True, "id": "0", "type": "pulumi:providers:playbook", "inputs": {}, "outputs": {}}
    ]
    for name, (gpu, port) in instances.items():
        claims = [{"what": f"gpu:{gpu}", "share": 0.85}, {"what": f"port:{port}", "share": 1}]
        outputs = {
            "host": {"name": "gpu-1"},
            "instance": name,
            "role": "service",
            "variables": {"service_claims": claims},
        }
        resources.append(
            {
                "urn": f"urn:pulumi:poc::slipway::playbook:index:Playbook::gpu-1/{name}",
                "custom": True,
                "id": f"gpu-1/{name}",
                "type": "playbook:index:Playbook",
                "inputs": outputs,
                "outputs": outputs,
                "provider": f"{provider}::0",
            }
        )
    return {**state, "deployment": {**state["deployment"], "resources": resources}}
