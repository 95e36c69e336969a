"""docs/architecture.md says what is so: its walk of one value, its layers, its folders."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from slipway import fronts, gateways
from slipway.engines.registry import packages
from slipway.layers import LAYERS
from tests.unit.deployment.stacks import deployment, roles, steps
from tests.unit.settings.documents import changed, many

SETTING = "max_num_seqs"
NAMES = re.compile(r"max[_-]num[_-]seqs")
MOST = 10


def table(root: Path, head: str) -> list[list[str]]:
    """The rows of the table whose first column is called `head`."""
    lines = (root / "docs/architecture.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def walk(root: Path) -> dict[str, bool]:
    """Each part of the walk, and whether it knows the setting's name."""
    return {part.strip("`"): knows == "yes" for part, _, knows in table(root, "part")}


def source(root: Path, part: str) -> Path:
    if "/" in part:
        return root / part
    return Path(str(import_module(part).__file__))


def test_no_more_parts_than_fit_into_a_head(root: Path) -> None:
    parts = walk(root)
    assert len(parts) <= MOST
    assert len({source(root, part) for part in parts}) == len(parts)


def test_those_that_know_the_name_are_marked(root: Path) -> None:
    for part, knows in walk(root).items():
        text = source(root, part).read_text()
        assert bool(NAMES.search(text)) is knows, part


def test_nothing_else_on_the_way_knows_it(root: Path) -> None:
    """Between the settings and the unit: what would have to be changed with it."""
    known = {source(root, part) for part, knows in walk(root).items() if knows}
    ways = [
        "slipway/settings",
        "slipway/engines",
        "slipway/layers",
        "components",
        "provider",
        "playbooks",
        "slipway/deployment",
    ]
    found = {
        file
        for way in ways
        for file in (root / way).rglob("*")
        if file.suffix in {".py", ".j2", ".yml"} and NAMES.search(file.read_text())
    }
    # Which of an engine's options says how many requests it takes is told to policies; an error message names the flag.
    assert found - known <= {root / "slipway/deployment/declaration.py", root / "slipway/settings/types.py"}
    assert known - {root / "slipway/sizing/engines/vllm_flags.py"} <= found


@pytest.mark.parametrize("value", [7, 311])
def test_a_changed_value_is_in_the_command(value: int) -> None:
    document = changed(many(), ["models", "llama-3.3-70b", "replicas"], 2)
    path = ["models", "llama-3.3-70b", "engine", SETTING]
    before, after = roles(deployment(document)), roles(deployment(changed(document, path, value)))
    engines = [key for key, step in steps(deployment(document)).items() if step.role == "service" and "llama" in key]
    assert len(engines) == 2
    for key in engines:
        assert f"--max-num-seqs={value}" in after[key]["service_command"]
        assert f"--max-num-seqs={value}" not in before[key]["service_command"]
    # Of the other steps only the front hears of it, which refuses what is more than an engine ever takes.
    assert {key for key in after if after[key] != before[key]} == {*engines, "edge-1/nginx"}


def test_the_default_is_the_options_own() -> None:
    found = roles(deployment(changed(many(), ["models", "llama-3.3-70b", "replicas"], 2)))
    command = next(each["service_command"] for key, each in found.items() if key.endswith("/embedder"))
    assert "--max-num-seqs=256" in command


def test_the_layers_are_those_that_there_are(root: Path) -> None:
    rows = table(root, "layer")
    assert [row[0] for row in rows] == [layer.name for layer in LAYERS]
    told = {row[0]: set(re.findall(r"`(\w+)`", row[2])) for row in rows}
    of = deployment(changed(many(), ["models", "llama-3.3-70b", "replicas"], 2))
    for layer in LAYERS:
        assert {step.role for step in layer.steps(of)} <= told[layer.name], layer.name
    for names in told.values():
        assert all((root / "playbooks/roles" / name).is_dir() for name in names)


def test_the_folders_are_held_by_contracts(root: Path) -> None:
    folders = {row[0].strip("`/") for row in table(root, "folder")}
    assert all((root / folder).is_dir() for folder in folders)
    packages = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])
    assert folders - {"playbooks"} == packages


ALLOWED = {
    # Which one is meant where a stack names none.
    *("slipway/engines/registry.py", "slipway/gateways/__init__.py", "slipway/fronts/__init__.py"),
    # Builds what the project's own lab serves with.
    "cli/up.py",
}


def test_no_engine_gateway_or_front_is_named_outside_its_folder(root: Path) -> None:
    """So that another one is another folder: the rest asks the adapters. The sizing is of engines that it names."""
    parts = {"engines": packages(), "gateways": gateways.names(), "fronts": fronts.names()}
    kinds = {name: f"slipway/{folder}/{name}/" for folder, names in parts.items() for name in names}
    told = re.compile(rf"(?<![\w./-])({'|'.join(kinds)})(?![\w.])")
    for file in sorted(path for folder in ("slipway", "cli", "components") for path in (root / folder).rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if path in ALLOWED or path.startswith("slipway/sizing/"):
            continue
        found = {name for text in texts(file) for name in told.findall(text)}
        assert not {name for name in found if not path.startswith(kinds[name])}, path


def texts(file: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(file.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def test_every_target_has_the_files_that_it_is_said_to_have(root: Path) -> None:
    ours = [folder.name for folder in (root / "slipway/targets").iterdir() if (folder / "__init__.py").is_file()]
    assert "hosts" in ours
    parts = [row[0].strip("`").removesuffix(".py").replace("/", ".") for row in table(root, "file")]
    assert len(parts) == 3
    for name in ours:
        settings, machines, component = (import_module(part.replace("NAME", name)) for part in parts)
        assert settings.SECTION
        assert settings.MEANING.endswith(".")
        assert callable(machines.machines)
        assert callable(component.bring)
