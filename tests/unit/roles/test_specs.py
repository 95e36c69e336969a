"""Every role: its defaults, its argument specification and its commented variables say the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.loading import PLAYBOOKS

ROLES = sorted(path.parent.parent for path in PLAYBOOKS.glob("roles/*/meta/argument_specs.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_specification_agree(role: Path) -> None:
    defaults = read(role / "defaults/main.yml")
    options = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(defaults) == set(options)
    for name, option in options.items():
        assert name.startswith(f"{role.name}_")
        assert option["description"]
        assert option["type"]
        if "default" in option:
            assert option["default"] == defaults[name], name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_is_told_whether_it_is_to_be_there(role: Path) -> None:
    options = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert options[f"{role.name}_state"]["choices"] == ["present", "absent"]


def test_there_are_roles() -> None:
    assert {"preflight", "base", "unit", "program", "model", "service", "nginx"} <= {role.name for role in ROLES}


def test_the_linter_is_told_of_every_module() -> None:
    """It knows none of the library's; one that it has met by accident keeps another from being missed."""
    told = read(PLAYBOOKS.parent / ".ansible-lint")["mock_modules"]
    assert told == sorted(file.stem for file in PLAYBOOKS.glob("library/*.py"))
