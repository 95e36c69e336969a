"""The table of systems, and the page about it: docs/hosts.md."""

import importlib
import re
from pathlib import Path

from tests.unit.roles.loading import PLAYBOOKS

systems = importlib.import_module("ansible.module_utils.slipway_systems")
ROLES = {path.name for path in (PLAYBOOKS / "roles").iterdir()}
BESIDE_A_FRONT = {"counters", "keepalived"}


def rows(root: Path, first: str) -> list[dict[str, str]]:
    """The rows of the page's table whose heading begins with a word."""
    found: list[dict[str, str]] = []
    heading: list[str] = []
    for line in (root / "docs/hosts.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heading = []
        elif cells[0] == first:
            heading = cells
        elif heading and not cells[0].startswith("---"):
            found.append(dict(zip(heading, cells, strict=True)))
    assert found
    return found


def test_the_page_has_every_role_and_every_system(root: Path) -> None:
    table = {name: row for row in rows(root, "role") for name in re.findall(r"`(\w+)`", row["role"])}
    assert set(table) == ROLES, "docs/hosts.md: a role has no row, or a row no role"
    for name, row in table.items():
        assert set(row) - {"role"} == {system.name for system in systems.SYSTEMS}
        for system in systems.SYSTEMS:
            refused = (name if name not in BESIDE_A_FRONT else "nginx") in system.refused
            assert (row[system.name] == "no") is refused, f"{name} on {system.name}"


def test_the_page_has_every_interpreter(root: Path) -> None:
    table = {row["system"]: row for row in rows(root, "system")}
    assert set(table) == {system.name for system in systems.SYSTEMS}
    for system in systems.SYSTEMS:
        said = table[system.name]["interpreter"]
        if system.standalone:
            assert said == f"Python {system.standalone}"
        else:
            own = table[system.name]["where it comes from"] == "the system's own"
            assert own is (system.python == systems.OWN_PYTHON)
            assert own or system.python.endswith(said.lower().replace(" ", ""))


def test_refusals_are_of_roles_that_there_are() -> None:
    for system in systems.SYSTEMS:
        assert set(system.refused) <= ROLES
        assert all("; put " in reason for reason in system.refused.values()), "a refusal names its mend"


def test_a_release_is_of_one_system() -> None:
    for identity, version, name in (
        ("debian", "12.15", "Debian 12"),
        ("debian", "13", "Debian 13"),
        ("debian", "14", "Debian 13"),
        ("debian", "", "Debian 13"),
        ("ubuntu", "22.04", "Ubuntu 22.04"),
        ("ubuntu", "24.04", "Ubuntu 24.04"),
        ("ubuntu", "26.04", "Ubuntu 24.04"),
        ("almalinux", "9.7", "RHEL 9.4"),
    ):
        found = systems.find({"ID": identity, "VERSION_ID": version})
        assert found is not None
        assert found.name == name


def test_names_that_a_system_needs_not_are_left_out() -> None:
    jammy = next(system for system in systems.SYSTEMS if system.name == "Ubuntu 22.04")
    assert jammy.named(["gcc", "libc6-dev", "python3-dev"]) == ["gcc", "libc6-dev"]


def test_the_lock_holds_the_uv_whose_builds_the_table_names() -> None:
    """Another uv may not know the release: look with `uv python list 3.12 --all-versions`, then change both here."""
    lock = (PLAYBOOKS / "roles/base/files/requirements.txt").read_text()
    assert (lock.split()[0], systems.STANDALONE) == ("uv==0.13.8", "3.12.16")
