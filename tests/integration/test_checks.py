"""The checks at preview, with the real engine: what would fail is refused before a host is touched."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, copy_checkout
from tests.unit.settings.documents import changed

HEAD = "stacks/Pulumi.poc.yaml: 1 check(s) failed; nothing was touched"
LLAMA_70B = [
    ("model.catalog", "meta-llama/Llama-3.3-70B-Instruct"),
    ("model.source", {"host_path": "/srv/models/Llama-3.3-70B-Instruct"}),
]
REFUSED = (
    "slipway:platform.model: no memory is left for the KV cache: weights 131 GiB, activations N GiB and the rest are N GiB more "
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
    stack.write(changed(stack.read(), "hosts.0.key_file", str(key_file)))
    stack.init()
    return stack


class Edited:
    """The stack's settings with `changes`, and afterwards as they were."""

    def __init__(self, stack: Stack, *changes: tuple[str, Any]) -> None:
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
    assert HEAD in output
    resources = json.loads(poc.exported_state())["deployment"].get("resources", [])
    assert {resource["type"] for resource in resources} <= {"pulumi:pulumi:Stack"}
    assert poc.runs() == []


@pytest.mark.parametrize("path", ["hardware.tier", "hardware.gpu", "model.catalog"])
def test_unknown_names_are_refused(poc: Stack, path: str) -> None:
    with Edited(poc, (path, "poc-1")):
        output = poc.pulumi("preview", check=False)
    assert registered(output) == set()
    assert "stacks/Pulumi.poc.yaml: 1 setting(s) refused; nothing was touched" in output
    assert f"slipway:platform.{path}: 'poc-1' is not in the catalogue" in output
    assert "Traceback" not in output


def test_a_model_that_nobody_knows_is_previewed_with_a_warning(poc: Stack) -> None:
    with Edited(poc, ("model.catalog", None), ("model.source", {"host_path": "/srv/models/own"})):
        output = poc.pulumi("preview")
    assert (
        "slipway:platform.model.catalog: is not given; whether the model fits was not checked: "
        "give the catalogue's id of the model there"
    ) in output
    assert "playbook:index:Playbook" in registered(output)


def test_the_split_over_gpus_reaches_the_engine(poc: Stack) -> None:
    with Edited(poc, ("hardware", {"tier": "rtx-4090-2"})):
        done = poc.shell("pulumi preview --json --stack poc --non-interactive")
    (engine,) = [
        step["newState"]["inputs"] for step in json.loads(done.stdout)["steps"] if step["urn"].endswith("gpu-1/vllm")
    ]
    assert engine["variables"]["vllm_flags"]["tensor-parallel-size"] == 2
