"""The hosts of a group of an Ansible inventory, as `ansible-inventory` tells them: groups, ranges, group_vars and host_vars.

Ansible reads it in a process of its own: what computes here must not import Ansible, whose import alone takes longer than
`slipway check`, and which keeps global state. Only the plugins for INI and YAML are on, and no configuration of the user's
counts, so that reading runs no program and two people see the same. Ansible evaluates templates at run time only, and so does
nobody here: where a template, a vault or a variable that Slipway has no use for decides how a host is reached, it is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slipway.paths import ROOT
from slipway.settings.types import HostName
from slipway.targets.hosts.settings import Host

LIMIT_S = 60
_ANSIBLE = "ansible-inventory"

_READ = {
    "address": ("ansible_host", "ansible_ssh_host"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "key_file": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "private_address": ("slipway_private_address",),
    "host_key": ("slipway_host_key",),
}
"""Keys of a host, and the variables that they come from; the first one counts."""

_AS_IT_IS: Mapping[str, frozenset[bool | str]] = {
    "ansible_connection": frozenset({"ssh", "smart"}),
    "ansible_become": frozenset({True, "true", "yes"}),
    "ansible_become_method": frozenset({"sudo"}),
    "ansible_become_user": frozenset({"root"}),
    "ansible_python_interpreter": frozenset({"/usr/bin/python3", "auto", "auto_silent", "auto_legacy"}),
}
"""Variables that say what Slipway does anyway, with the values that say so."""

_MENDS = {
    "ansible_connection": "Slipway reaches hosts by SSH alone",
    "ansible_password": "log in with a key: ansible_ssh_private_key_file",
    "ansible_ssh_pass": "log in with a key: ansible_ssh_private_key_file",
    "ansible_ssh_password": "log in with a key: ansible_ssh_private_key_file",
    "ansible_become_password": "let the user use sudo without a password",
    "ansible_become_pass": "let the user use sudo without a password",
    "ansible_sudo_pass": "let the user use sudo without a password",
    "ansible_ssh_common_args": "write it into ~/.ssh/config, which ssh reads for Slipway too",
    "ansible_ssh_extra_args": "write it into ~/.ssh/config, which ssh reads for Slipway too",
}
_OTHERWISE = "take it out for these hosts, or name them under hosts"


class InventoryError(Exception):
    """An inventory that can't be taken: the key of the section that is to be mended, and one line for each mistake."""

    def __init__(self, key: str, *messages: str) -> None:
        self.key = key
        self.messages = messages
        super().__init__("; ".join(messages))


@dataclass(frozen=True)
class Listed:
    """One host of the group."""

    name: str
    """A slug of the name in the inventory: `gpu-1.example.com` is `gpu-1-example-com`."""
    host: Host


def hosts(file: Path, group: str, user: str | None) -> tuple[Listed, ...]:
    """The hosts of `group`, in the inventory's order.

    Args:
        file: the inventory; where it is relative, from the project's folder.
        group: its name.
        user: of hosts for which the inventory names none.

    Raises:
        InventoryError: there is no such file or group, Ansible can't read it, or a host's variables can't be taken.
    """
    place = ROOT / file
    if not place.exists():
        raise InventoryError("file", f"{place} does not exist; the pool would have no hosts: correct the path")
    found = _told(place, _state(place))
    variables = found["_meta"]["hostvars"]
    if group not in found and group not in {"all", "ungrouped"}:
        known = ", ".join(sorted(found.keys() - {"_meta", "all", "ungrouped"})) or "all"
        raise InventoryError(
            "group", f"{file} has no group {group!r} with hosts; nothing could run: use one of {known}"
        )
    names = list(dict.fromkeys(_members(found, group)))
    if not names:
        raise InventoryError("group", f"the group {group!r} of {file} has no hosts; nothing could run: add one there")
    listed, problems = [], []
    for name in names:
        its = variables.get(name, {})
        mistakes = list(_refused(name, its))
        if not mistakes:
            host, mistakes = _host(name, its, user)
            if host is not None:
                listed.append(host)
        problems += mistakes
    if problems:
        raise InventoryError("file", *problems)
    return tuple(listed)


def _members(found: Mapping[str, Any], group: str) -> Iterator[str]:
    """Its own hosts, then those of its children."""
    entry = found.get(group, {})
    yield from entry.get("hosts", [])
    for child in entry.get("children", []):
        yield from _members(found, child)


def _state(place: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells whether an inventory, or the variables beside it, have changed."""
    folder = place if place.is_dir() else place.parent
    beside = [
        file for name in ("group_vars", "host_vars") for file in sorted((folder / name).rglob("*")) if file.is_file()
    ]
    files = [*(sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]), *beside]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


@cache
def _told(place: Path, state: object) -> dict[str, Any]:  # noqa: ARG001 -- what is kept holds for this state alone
    program = Path(sys.executable).with_name(_ANSIBLE)
    command = str(program) if program.is_file() else shutil.which(_ANSIBLE)
    if command is None:
        raise InventoryError(
            "file", f"there is no {_ANSIBLE}, which reads it; run `make setup`, or write hosts instead"
        )
    # Nothing of a secret is handed on.
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR", "LC_ALL"}}
    settings = {
        # Ours, since Ansible would look for one of the user's otherwise.
        "ANSIBLE_CONFIG": str(ROOT / "playbooks" / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": "yaml,ini",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
    }
    try:
        done = subprocess.run(
            [command, "--list", "--inventory", str(place)],
            env={**kept, **settings},
            cwd=place if place.is_dir() else place.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise InventoryError("file", f"Ansible did not read {place} within {LIMIT_S} s; simplify it") from None
    if done.returncode != 0:
        raise InventoryError("file", f"{place} can't be read: {_reason(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _reason(said: str) -> str:
    """What Ansible said, in one line, and the mend."""
    if re.search(r"(?i)vault", said):
        return (
            "a file of its variables is encrypted with Ansible Vault, which Slipway does not open; who reaches the hosts could "
            "not be told: keep the ansible_ variables of these hosts in a file that is not encrypted"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[ERROR]", "ERROR!"))] or lines[-1:]
    told = re.sub(r"^(\[ERROR\]:?|ERROR!)\s*", "", errors[0]) if errors else "Ansible says no reason"
    return f"{told}; the pool would have no hosts: mend the file (`{_ANSIBLE} --list -i FILE` shows what Ansible reads)"


def _refused(name: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Variables that decide how a host is reached and that Slipway can't follow."""
    read = {variable for variables in _READ.values() for variable in variables}
    for variable, value in sorted(variables.items()):
        if not variable.startswith(("ansible_", "slipway_")):
            continue
        if isinstance(value, dict) and "__ansible_vault" in value:
            yield (
                f"{name}: {variable} is encrypted with Ansible Vault, which Slipway does not open; the host could not be "
                "reached: write it in clear, since no password belongs there"
                if variable in read
                else _useless(name, variable)
            )
        elif variable in read:
            if "{{" in str(value) or "{%" in str(value):
                yield (
                    f"{name}: {variable} is a template, which only a run of Ansible evaluates; the host could not be reached: "
                    "write the value itself"
                )
            elif value == "":
                yield f"{name}: {variable} is empty; the host could not be reached: write its value, or take the variable out"
        elif variable not in _AS_IT_IS or not _says_so(value, _AS_IT_IS[variable]):
            yield _useless(name, variable)


def _says_so(value: Any, ways: frozenset[bool | str]) -> bool:
    """Whether a value, which may be anything that YAML has, is one of `ways`: a number is neither yes nor no."""
    return isinstance(value, bool | str) and value in ways


def _useless(name: str, variable: str) -> str:
    mend = _MENDS.get(variable, _OTHERWISE)
    return f"{name}: {variable} is not followed by Slipway; the host would be reached otherwise than it says: {mend}"


def _host(name: str, variables: Mapping[str, Any], user: str | None) -> tuple[Listed | None, list[str]]:
    given: dict[str, Any] = {"address": name, **({} if user is None else {"user": user})}
    origin: dict[str, str] = {"user": "ansible_user", "address": "its name"}
    for key, names in _READ.items():
        for variable in reversed(names):
            if variable in variables:
                given[key], origin[key] = variables[variable], variable
    if isinstance(given.get("port"), str) and re.fullmatch("[0-9]{1,5}", given["port"]):
        given["port"] = int(given["port"])
    if "user" not in given:
        return None, [
            f"{name}: ansible_user is missing; SSH would log in as whoever runs Slipway: set it in the inventory, or user here"
        ]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        return Listed(TypeAdapter(HostName).validate_python(slug), Host.model_validate(given)), []
    except ValidationError as error:
        return None, [_said(name, each, origin) for each in error.errors(include_input=False, include_url=False)]


def _said(name: str, detail: Mapping[str, Any], origin: Mapping[str, str]) -> str:
    key = str(detail["loc"][0]) if detail["loc"] else "its name"
    error = detail.get("ctx", {}).get("error")
    return f"{name}: {origin.get(key, key)}: {error or detail['msg'].lower()}"
