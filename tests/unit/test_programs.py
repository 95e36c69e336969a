"""What every launch starts is what the role of its program installs, so that no engine fails to start for want of its file."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from slipway import gateways
from slipway.engines.base import Launch, Program
from slipway.engines.registry import options
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import PROGRAM, good, model_of, with_changes


def cases() -> Iterator[tuple[str, dict[str, Any], int]]:
    """Each engine on the CPU and on a GPU, from the project's program and from one that the stack brings."""
    for name, each in options().items():
        models = {"as it comes": model_of(name)}
        if "program" in each.model_fields:
            models["brought"] = model_of(name, program=PROGRAM)
        for how, model in models.items():
            yield f"{name} on the CPU, {how}", model, 0
            yield f"{name} on a GPU, {how}", model, 1


CASES = {case: (model, gpus) for case, model, gpus in cases()}


def started(case: str) -> tuple[Program, Launch]:
    """How the engine is installed and started."""
    model, gpus = CASES[case]
    (instance,) = deployment(with_changes(good(), ("pools.main.gpus", gpus), ("models.m", model))).instances
    return instance.served.program, instance.launch


def installed(root: Path, program: Program) -> set[str]:
    """What its role puts into the program's `bin`, as far as the role says it by name.

    An environment of Python has `python`, and of what is in its lock the commands that are called like their distribution.
    """
    role = (program.playbooks or root / "playbooks") / "roles" / program.role
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    found: set[str] = set()
    for task in tasks(role / "tasks/main.yml", {**defaults, **program.variables}):
        included = task.get("ansible.builtin.include_role", {}).get("name")
        if included == "binary":
            found.add(task["vars"]["binary_name"])
        if included == "program" or "python_environment" in task:
            found |= {"python", *distributions(role, program)}
        destination = task.get("ansible.builtin.copy", {}).get("dest", "")
        if placed := re.fullmatch(rf"{{{{ {program.role}_folder }}}}/bin/([\w-]+)", destination):
            found.add(placed[1])
    return found


def tasks(file: Path, variables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tasks that are run with these variables."""
    for task in yaml.safe_load(file.read_text()):
        if "when" in task and not Environment(autoescape=True).compile_expression(task["when"])(**variables):
            continue
        yield task
        if "ansible.builtin.include_tasks" in task:
            yield from tasks(file.with_name(task["ansible.builtin.include_tasks"]), variables)


def distributions(role: Path, program: Program) -> set[str]:
    """What is pinned by the lock whose digest the program's folder bears."""
    for lock in (role / "files").glob("requirements*.txt"):
        if hashlib.sha256(lock.read_bytes()).hexdigest().startswith(program.digest):
            return set(re.findall(r"^([a-z0-9._-]+)==", lock.read_text(), re.MULTILINE))
    return set()


def commands(launch: Launch) -> set[str]:
    return {command[0] for command in (launch.command, *launch.after_start)}


@pytest.mark.parametrize("case", CASES)
def test_an_engine_starts_what_its_role_installs(root: Path, case: str) -> None:
    program, launch = started(case)
    assert commands(launch) <= installed(root, program)


@pytest.mark.parametrize("name", gateways.names())
def test_a_gateway_starts_what_its_role_installs(root: Path, name: str) -> None:
    of = deployment(with_changes(good(), ("gateway.name", name)))
    gateway = gateways.adapter(name)
    for each in of.gateways:
        assert commands(gateway.launch(of, each)) <= installed(root, gateway.program())


@pytest.mark.parametrize(
    ("case", "there", "missing"),
    [
        ("vllm on the CPU, as it comes", {"python"}, {"vllm"}),  # its distribution is called otherwise
        ("vllm on a GPU, as it comes", {"python", "vllm"}, {"litellm"}),
        ("llama_cpp on the CPU, as it comes", {"llama-server", "python"}, set()),
        ("llama_cpp on a GPU, brought", {"llama-server"}, {"python"}),
        ("ollama on the CPU, brought", {"ollama", "ollama-create"}, {"python"}),
    ],
)
def test_what_roles_install_is_read_from_them(root: Path, case: str, there: set[str], missing: set[str]) -> None:
    found = installed(root, started(case)[0])
    assert there <= found
    assert not missing & found
