"""An engine of another distribution: one package with an adapter, one role; and no file of the project knows of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.engines.registry import packages
from tests.unit.settings.documents import OTHER_KEY, changed, good, with_changes

FIXTURE = "tests/fixtures/fake_engine"
ROLE = "slipway_fake/playbooks/roles/fake"


def looked_at(root: Path, document: dict[str, Any], *, installed: bool = True) -> dict[str, Any]:
    """What follows from the document where the fake engine's distribution is installed."""
    paths = [str(root), *([str(root / FIXTURE)] if installed else [])]
    ran = subprocess.run(
        [sys.executable, "-P", str(root / "tests/fixtures/look.py")],
        input=json.dumps(document),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def stack() -> dict[str, Any]:
    """The fake engine on a GPU that it shares, beside vLLM."""
    fake = {"name": "fake", "echoes": 3, "licence_key": "canary"}
    return with_changes(
        good(),
        ("pools.main.gpus", 1),
        ("models.m", {"source": {"host_path": "/srv/m"}, "engine": {"gpu_memory_utilization": 0.5}, "gpus": 1}),
        (("models", "f-1.5"), {"source": {"host_path": "/srv/f"}, "engine": fake, "gpus": 1}),
        ("gateway.engine_key", OTHER_KEY),
    )


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Any]:
    return looked_at(root, stack())


def test_its_program_is_installed_by_its_own_role(root: Path, found: dict[str, Any]) -> None:
    step = found["steps"]["gpu-1/program-fake"]
    assert step["role"] == "fake"
    assert step["playbooks"] == str(root / FIXTURE / "slipway_fake/playbooks")
    assert step["variables"] == {
        "fake_root": "/opt/slipway/fake",
        "fake_folder": "/opt/slipway/fake/0123456789abcdef",
    }
    specs = yaml.safe_load((root / FIXTURE / ROLE / "meta/argument_specs.yml").read_text())
    assert step["variables"].keys() <= specs["argument_specs"]["main"]["options"].keys()
    # Everything else is by Slipway's own roles.
    assert {key for key, each in found["steps"].items() if each["playbooks"]} == {"gpu-1/program-fake"}


def test_it_is_run_as_any_engine(found: dict[str, Any]) -> None:
    step = found["steps"]["gpu-1/f-1-5"]
    assert step["role"] == "service"
    assert step["after"] == [
        "gpu-1/driver",
        "gpu-1/gpus",
        "gpu-1/program-fake",
        "gpu-1/model-f-1-5",
        "gpu-1/vacate",
    ]
    variables = step["variables"]
    (instance,) = found["declaration"]["models"][1]["instances"]
    assert variables["service_command"] == [
        "/opt/slipway/fake/0123456789abcdef/bin/fake",
        f"--listen=127.0.0.1:{instance['port']}",
        "--echoes=3",
    ]
    # It says that it takes half of a GPU, and vLLM has the other.
    assert variables["service_environment"] == {"FAKE_GPUS": "0"}
    assert instance["gpus"] == found["declaration"]["models"][0]["instances"][0]["gpus"] == [0]
    assert variables["service_probe"]["url"] == f"http://127.0.0.1:{instance['port']}/ready"
    assert variables["service_secrets"] == {"FAKE_LICENCE": "**********"}


def test_the_gateway_asks_it_for_what_it_speaks(found: dict[str, Any]) -> None:
    content = found["steps"]["gpu-1/litellm"]["variables"]["service_files"]["routes.json"]["content"]
    (backend,) = [entry for entry in content["models"] if entry["name"] == "f-1.5"]
    assert backend["native"] == ["chat"]
    asked = found["steps"]["gpu-1/acceptance"]["variables"]["acceptance_models"]
    assert [model["name"] for model in asked] == ["m", "f-1.5"]


def test_it_is_declared(found: dict[str, Any]) -> None:
    engine = found["declaration"]["models"][1]["engine"]
    assert (engine["name"], engine["release"], engine["slots"], engine["keyed"]) == ("fake", "1.0", 7, False)
    # By whatever name its own option has.
    assert engine["slotsGiven"] is True


def test_what_is_not_known_of_it_is_a_note(found: dict[str, Any]) -> None:
    said = [(kind, severity, line) for kind, severity, line in found["findings"] if "f-1.5" in line]
    assert (
        "sizing.not-checked",
        "note",
        'slipway:platform.models["f-1.5"].engine: how fake counts memory is not known here; whether the model fits was not '
        "checked: look at what its log says",
    ) in said
    assert "error" not in {severity for _, severity, _ in said}
    # No release of vLLM's is held against it.
    assert not [line for kind, _, line in said if kind in {"compatibility.capability", "flags.unknown"}]


def test_the_settings_know_its_options(root: Path, found: dict[str, Any]) -> None:
    assert "fake" in found["engines"]
    assert ["models", "*", "engine", "licence_key"] in found["secrets"]
    for text in (json.dumps(found["schema"]), found["reference"]):
        assert "How often it says everything." in text
        assert "licence_key" in text
    wrong = changed(stack(), ("models", "f-1.5", "engine"), {"name": "fake", "echos": 1})
    assert looked_at(root, wrong)["problems"] == [
        'slipway:platform.models["f-1.5"].engine.echos: unknown key; it would have no effect; did you mean echoes?'
    ]
    task = changed(stack(), ("models", "f-1.5", "task"), "rerank")
    assert looked_at(root, task)["problems"] == [
        'slipway:platform.models["f-1.5"].task: fake serves no rerank model; the engine would not start: use another engine '
        "(it serves chat, embedding)"
    ]


def test_it_is_offered_for_what_it_can_do(root: Path) -> None:
    """Where another engine can't; a GGUF file it does not read."""
    chat, rerank = [
        changed(stack(), "models.m.engine", "llama_cpp"),
        with_changes(stack(), ("models.m.engine", "llama_cpp"), ("models.m.task", "rerank")),
    ]
    said = (
        "slipway:platform.models.m.source: the source names no GGUF file, and llama_cpp reads gguf only; the engine would not "
        "start: name one, or use engine: "
    )
    assert looked_at(root, chat)["problems"] == [f"{said}fake or vllm"]
    assert looked_at(root, rerank)["problems"] == [f"{said}vllm"]


def test_its_own_refusals_are_found(root: Path) -> None:
    document = changed(stack(), ("models", "f-1.5", "engine", "flags"), {"listen": "x"})
    assert [
        "flags.owned",
        "error",
        'slipway:platform.models["f-1.5"].engine.flags.listen: Slipway sets this flag itself; two values would contradict: '
        "use engine.port",
    ] in looked_at(root, document)["findings"]


def test_without_its_distribution_there_is_no_such_engine(root: Path) -> None:
    assert looked_at(root, stack(), installed=False)["problems"] == [
        'slipway:platform.models["f-1.5"].engine: no such engine; nothing could serve the model: use one of '
        f"{', '.join(sorted(packages()))}"
    ]


def test_no_other_file_of_the_project_knows_it(root: Path) -> None:
    """Only the distribution's own folder says its name, and this test."""
    tracked = subprocess.run(
        ["git", "grep", "-lE", "slipway_fake|fake_engine"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split()
    assert [name for name in tracked if not name.startswith((FIXTURE, "tests/unit/engines/test_fake_engine.py"))] == []
