"""What each unit leaves open, as systemd itself judges it: at most 3.0 of 10, and no core file."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.deployment.stacks import deployment, roles, steps
from tests.unit.deployment.test_floating import floating
from tests.unit.roles.rendering import shown, unit
from tests.unit.settings.documents import PROGRAM, good, many, with_changes

MOST = 3.0
OWN_UNITS = {
    "nginx": ("slipway-nginx", "slipway-certificate"),
    "counters": ("slipway-counters",),
    "keepalived": ("slipway-keepalived",),
}
"""Of roles that bring their own."""


def _stacks() -> dict[str, dict[str, Any]]:
    """Documents that together run every program, on GPUs and on CPUs."""
    source = {"hub": "o/m", "revision": "1" * 40, "file": "m.gguf"}
    engines = {"llama": {"name": "llama_cpp"}, "ollama": {"name": "ollama", "program": PROGRAM}}
    models = {
        f"{name}-{gpus}": {
            "source": source,
            "engine": engine | ({"program": PROGRAM} if gpus else {}),
            "gpus": gpus,
            "max_model_len": 4096,
        }
        for name, engine in engines.items()
        for gpus in (0, 1)
    }
    return {
        "many": many(),
        "fronts": floating(),
        "gguf": with_changes(good(), ("pools.main.gpus", 2), ("models", models)),
    }


def units() -> dict[str, str]:
    """All unit files of these stacks, by names that say what runs."""
    found: dict[str, str] = {}
    for stack, document in _stacks().items():
        of = deployment(document)
        told = roles(of)
        for key, step in steps(of).items():
            variables = told[key]
            if step.role in OWN_UNITS:
                for name in OWN_UNITS[step.role]:
                    facts = {"ansible_facts": {"ansible_distribution_release": "trixie"}}
                    more = {"counters_host": facts, "keepalived_interface": "eth0"}
                    found[f"{name}.service"] = shown(step.role, f"{name}.service.j2", **{**variables, **more})
            elif step.role == "service":
                name = f"{stack}-{variables['service_name']}"
                found[f"{name}.service"] = shown("service", "service.j2", **variables)
                if variables.get("service_egress") is not None:
                    found[f"{name}.egress.service"] = shown("service", "egress.service.j2", **variables)
    return found


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return units()


def exposure(name: str, text: str, folder: Path) -> float:
    """The figure of `systemd-analyze security`; the program need not be there."""
    path = folder / name
    # What is started must exist for the file to be loaded.
    path.write_text(re.sub(r"(?m)^(Exec\w+)=.*?(?<!\\)$", r"\1=/bin/true", re.sub(r" \\\n *", " ", text)))
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    return float(level)


def test_every_kind_of_unit_is_judged(rendered: dict[str, str]) -> None:
    whole = "\n".join(rendered.values())
    for program in ("vllm", "llama-server", "ollama", "litellm"):
        assert re.search(rf"(?m)^ExecStart=\S*/{program}\b", whole), program
    assert {f"{name}.service" for names in OWN_UNITS.values() for name in names} < set(rendered)
    assert any(name.endswith(".egress.service") for name in rendered)


def test_little_is_left_open(rendered: dict[str, str], tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze")
    found = {name: exposure(name, text, tmp_path) for name, text in rendered.items()}
    for name, level in sorted(found.items(), key=lambda item: -item[1]):
        print(f"{level:4.1f} {name}")
    assert {name: level for name, level in found.items() if level > MOST} == {}


@pytest.mark.parametrize("compiles", [True, False])
def test_new_code_is_allowed_to_the_front_alone_and_where_it_compiles(
    rendered: dict[str, str], *, compiles: bool
) -> None:
    document = with_changes(good(), ("front.lua_compiler", compiles))
    (told,) = [variables for key, variables in roles(deployment(document)).items() if key.endswith("/nginx")]
    front = unit(shown("nginx", "slipway-nginx.service.j2", **told))
    assert front.get("MemoryDenyWriteExecute", []) == ([] if compiles else ["yes"])
    assert ("jit" in shown("nginx", "nginx.conf.j2", **told)) != compiles
    for name in ("slipway-certificate", "slipway-counters", "slipway-keepalived"):
        assert unit(rendered[f"{name}.service"])["MemoryDenyWriteExecute"] == ["yes"]


def test_no_unit_leaves_a_core_file_behind(rendered: dict[str, str]) -> None:
    for name, text in rendered.items():
        assert unit(text)["LimitCORE"][-1] == "0", name


def test_bodies_that_are_too_large_for_the_buffer_stay_in_memory(rendered: dict[str, str]) -> None:
    (folder,) = re.findall(r"client_body_temp_path (\S+);", shown("nginx", "nginx.conf.j2"))
    systems = unit(rendered["slipway-nginx.service"])["TemporaryFileSystem"]
    assert folder in {system.partition(":")[0] for system in systems}
