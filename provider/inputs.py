"""The resource's inputs: what is allowed, what is assumed, and what a person is told otherwise."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provider.run import Host
from provider.values import Properties, fields, has_unknown, is_unknown, plain

TIMEOUT = 1800
"""Seconds a run may take unless told otherwise."""

PLAYBOOKS = "playbooks"

RECORDS = "/var/lib/playbook"
"""Where hosts keep what was applied, unless told otherwise."""

KEYS = (
    "host",
    "role",
    "instance",
    "playbooks",
    "variables",
    "timeout",
    "removal",
    "triggers",
    "records",
    "deep",
    "rolling",
    "absence",
    "environment",
)

_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:%-]*[A-Za-z0-9])?|::[A-Fa-f0-9:]*")
_USER = re.compile(r"[a-z_][a-z0-9_.-]*\$?")
_HOST_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+=*( .*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}\*?")
_MAX_PORT = 65535


@dataclass(frozen=True)
class Problem:
    """A refused input: where, and what to do."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Absence:
    """What a host of several may do without failing all: be missing."""

    group: str
    """What messages call the hosts that stand in for one another, such as the setting that allows it."""
    most: int = 0
    """How many of them may be missing; 0 where this very host may not."""
    refused: bool = False
    """Whether a host is missing, too, where the role itself refuses it. Such roles only look, and a `Quorum` counts for them."""
    others: tuple[str, ...] = ()
    """Names of hosts without which there is nothing to apply here."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Validated inputs, all known."""

    host: Host
    role: str
    instance: str
    """What this application of the role is called: the role's name, unless a host has the role several times."""
    playbooks: Path
    """Absolute."""
    variables: dict[str, Any] = field(repr=False)
    timeout: float = TIMEOUT
    removal: dict[str, Any] = field(default_factory=dict, repr=False)
    records: str = RECORDS
    """The folder on the host; its parent has to be there."""
    deep: bool = False
    rolling: str = ""
    """The group of which one at a time is changed; empty for none."""
    absence: Absence | None = None
    """What follows where the host is missing; None where the command fails."""
    environment: tuple[str, ...] = ()
    """Variables of the engine's environment that a run sees, by name or with `*` by how they begin."""

    @property
    def removing(self) -> dict[str, Any]:
        """The variables of a removal."""
        return {**self.variables, **self.removal}


@dataclass(frozen=True)
class _Field:
    holds: Callable[[Any], bool]
    reason: str
    needed: bool = False


def _text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _some_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value and "\n" not in value


def _absolute(value: Any) -> bool:
    """A path below the root that says where it is; None is the default."""
    return value is None or (
        _some_text(value) and value.startswith("/") and ".." not in value.split("/") and bool(value.strip("/"))
    )


_HOST: dict[str, _Field] = {
    "name": _Field(_text(_NAME), "must be a host's name of letters, digits, dots, dashes and underscores", needed=True),
    "address": _Field(_text(_ADDRESS), "must be an IP address or a DNS name"),
    "port": _Field(_whole(1, _MAX_PORT), "must be a whole number from 1 to 65535"),
    "user": _Field(_text(_USER), "must be the name of a login on the host"),
    "keyFile": _Field(_some_text, "must be the path of a private key"),
    "hostKey": _Field(
        lambda value: (
            isinstance(value, str)
            and bool(value.strip())
            and all(_HOST_KEY.fullmatch(line.strip()) for line in value.strip().splitlines())
        ),
        "must be a public host key such as 'ssh-ed25519 AAAA…', one per line (ssh-keyscan shows them after the address)",
    ),
    "connection": _Field(lambda value: value in {"ssh", "local"}, "must be 'ssh' or 'local'"),
    "become": _Field(lambda value: isinstance(value, bool), "must be true or false"),
}


def problems(given: Properties) -> list[Problem]:
    """All that is wrong with inputs, as far as they are known."""
    found = [
        Problem(key, f"is no input of a Playbook; those are {', '.join(KEYS)}")
        for key in sorted(given.keys() - {*KEYS})
    ]
    for key, part in (
        ("host", _host_problems(given)),
        ("role", _role_problems(given)),
        ("instance", _instance_problems(given)),
        ("variables", _map_problems("variables", given)),
        ("removal", _map_problems("removal", given)),
    ):
        try:
            found += part
        except TypeError as error:
            found.append(Problem(key, f"{error}; give its path or its text"))
    timeout = given.get("timeout")
    if timeout is not None and not is_unknown(timeout):
        value = plain(timeout)
        if value is not None and (isinstance(value, bool | str | list | dict) or not value > 0):
            found.append(Problem("timeout", "must be a number of seconds above 0"))
    triggers = given.get("triggers")
    if triggers is not None and not is_unknown(triggers) and not isinstance(triggers.value, tuple | list | None):
        found.append(Problem("triggers", "must be a list"))
    records = given.get("records")
    if records is not None and not is_unknown(records) and not _absolute(plain(records)):
        found.append(Problem("records", "must be the absolute path of a folder on the host, such as /var/lib/playbook"))
    deep = given.get("deep")
    if deep is not None and not is_unknown(deep) and not isinstance(deep.value, bool | None):
        found.append(Problem("deep", "must be true or false"))
    rolling = given.get("rolling")
    if rolling is not None and not is_unknown(rolling) and not (plain(rolling) is None or _some_text(plain(rolling))):
        found.append(Problem("rolling", "must be a name, the same for all of which one at a time is to be changed"))
    found += [*_absence_problems(given), *_environment_problems(given)]
    return found


def parse(given: Properties, *, cwd: Path) -> Inputs:
    """Inputs that have passed `problems`, with all defaults."""
    host = fields(given.get("host"))
    named = {
        "name": "name",
        "address": "address",
        "port": "port",
        "user": "user",
        "keyFile": "key_file",
        "hostKey": "host_key",
        "connection": "connection",
        "become": "become",
    }
    values = {named[key]: plain(value) for key, value in host.items() if key in named and plain(value) is not None}
    if "key_file" in values:
        values["key_file"] = str(_path(values["key_file"], cwd))
    role = str(plain(given["role"]))
    removal = plain(given.get("removal"))
    return Inputs(
        host=Host(**values),
        role=role,
        instance=str(plain(given.get("instance")) or role),
        playbooks=_path(plain(given.get("playbooks")) or PLAYBOOKS, cwd),
        variables=plain(given.get("variables")) or {},
        timeout=float(plain(given.get("timeout")) or TIMEOUT),
        records=str(plain(given.get("records")) or RECORDS),
        deep=bool(plain(given.get("deep"))),
        rolling=str(plain(given.get("rolling")) or ""),
        absence=_absence(plain(given.get("absence"))),
        environment=tuple(plain(given.get("environment")) or ()),
        removal={state_variable(role): "absent"} if removal is None else removal,
    )


def state_variable(role: str) -> str:
    """The variable by which a role is told to remove what it made."""
    return f"{role.replace('-', '_')}_state"


def playbooks_folder(given: Properties, *, cwd: Path) -> Path:
    """The folder with `roles/`, absolute."""
    return _path(plain(given.get("playbooks")) or PLAYBOOKS, cwd)


def _absence(given: dict[str, Any] | None) -> Absence | None:
    return None if given is None else Absence(**{**given, "others": tuple(given.get("others") or ())})


_ABSENCE: dict[str, _Field] = {
    "group": _Field(_some_text, "must be a name, the same for all hosts that stand in for one another", needed=True),
    "most": _Field(_whole(0, sys.maxsize), "must be a whole number: how many of them may be missing"),
    "refused": _Field(lambda value: isinstance(value, bool), "must be true or false"),
    "others": _Field(
        lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
        "must be a list of hosts' names",
    ),
}


def _absence_problems(given: Properties) -> Iterator[Problem]:
    absence = given.get("absence")
    if absence is None or absence.value is None or has_unknown(absence):
        return
    if not isinstance(absence.value, Mapping):
        yield Problem("absence", f"must be a map: {{{', '.join(_ABSENCE)}}}")
        return
    for key in sorted(absence.value.keys() - _ABSENCE.keys()):
        yield Problem(f"absence.{key}", f"is no part of it; those are {', '.join(_ABSENCE)}")
    for key, rule in _ABSENCE.items():
        value = plain(absence.value.get(key))
        if (value is None and rule.needed) or (value is not None and not rule.holds(value)):
            yield Problem(f"absence.{key}", rule.reason)


def _environment_problems(given: Properties) -> Iterator[Problem]:
    environment = given.get("environment")
    if environment is None or environment.value is None or has_unknown(environment):
        return
    value = plain(environment)
    if not isinstance(value, list) or not all(isinstance(name, str) and _ENVIRONMENT.fullmatch(name) for name in value):
        yield Problem("environment", "must be a list of variables' names, or of how those begin, such as AWS_*")


def _host_problems(given: Properties) -> Iterator[Problem]:
    host = given.get("host")
    if host is None or host.value is None:
        yield Problem("host", "is missing: name the machine, {name, address, user, keyFile}")
        return
    if is_unknown(host):
        return
    if not isinstance(host.value, Mapping):
        yield Problem("host", "must be a map: {name, address, port, user, keyFile, hostKey, connection, become}")
        return
    yield from _part_problems({key: value for key, value in host.value.items() if value.value is not None})


def _part_problems(known: Properties) -> Iterator[Problem]:
    for key in sorted(known.keys() - _HOST.keys()):
        yield Problem(f"host.{key}", f"is no part of a host; those are {', '.join(_HOST)}")
    for key, rule in _HOST.items():
        value = known.get(key)
        if value is None:
            if rule.needed:
                yield Problem(f"host.{key}", "is missing: messages, state and the log call the machine by it")
        elif not has_unknown(value) and not rule.holds(plain(value)):
            yield Problem(f"host.{key}", rule.reason)
    local = "connection" in known and plain(known["connection"]) == "local"
    if "address" not in known and not local:
        yield Problem("host.address", "is missing: give the IP address or DNS name that SSH connects to")
    key_file = known.get("keyFile")
    if key_file is not None and not local and not is_unknown(key_file) and _some_text(plain(key_file)):
        yield from _key_problems(_path(plain(key_file), Path.cwd()))


def _key_problems(key: Path) -> Iterator[Problem]:
    try:
        state = key.stat()
    except OSError:
        yield Problem(
            "host.keyFile", f"{key} doesn't exist or can't be read; name the private key that the host trusts"
        )
        return
    if not key.is_file():
        yield Problem("host.keyFile", f"{key} is no file; name the private key itself")
    elif state.st_uid == os.getuid() and state.st_mode & 0o077:
        yield Problem("host.keyFile", f"others may read {key}, so ssh refuses it; run: chmod 600 {key}")
    elif not os.access(key, os.R_OK):
        yield Problem("host.keyFile", f"{key} can't be read by you; mend its owner or its mode")


def _role_problems(given: Properties) -> Iterator[Problem]:
    playbooks = given.get("playbooks")
    if not is_unknown(playbooks) and plain(playbooks) is not None and not _some_text(plain(playbooks)):
        yield Problem("playbooks", "must be the path of a folder that holds roles/")
        return
    role = given.get("role")
    if role is None or role.value is None:
        yield Problem("role", "is missing: name a folder below roles/ of the playbooks folder")
        return
    if is_unknown(role) or is_unknown(playbooks):
        return
    name = plain(role)
    if not isinstance(name, str) or not _ROLE.fullmatch(name):
        yield Problem("role", "must be a role's name: letters, digits, dashes and underscores")
        return
    folder = playbooks_folder(given, cwd=Path.cwd())
    if not folder.is_dir():
        yield Problem("playbooks", f"{folder} is no folder; it is taken relative to the project's folder")
    elif not (folder / "roles" / name).is_dir():
        there = sorted(entry.name for entry in (folder / "roles").glob("*") if entry.is_dir())
        roles = f"; there are: {', '.join(there)}" if there else ""
        yield Problem("role", f"{folder / 'roles' / name} doesn't exist{roles}")


def _instance_problems(given: Properties) -> Iterator[Problem]:
    instance = given.get("instance")
    if instance is not None and instance.value is not None and not is_unknown(instance):
        value = plain(instance)
        if not isinstance(value, str) or not _INSTANCE.fullmatch(value):
            yield Problem("instance", "must be a name of letters, digits, dots, dashes and underscores")


def _map_problems(key: str, given: Properties) -> Iterator[Problem]:
    value = given.get(key)
    if value is None or value.value is None or is_unknown(value):
        return
    if not isinstance(value.value, Mapping):
        yield Problem(key, "must be a map of variables")
        return
    for name, item in value.value.items():
        if not _VARIABLE.fullmatch(name):
            yield Problem(f'{key}["{name}"]', "is no name of an Ansible variable: use letters, digits and underscores")
            continue
        try:
            plain(item)
        except TypeError as error:
            yield Problem(f"{key}.{name}", f"{error}; give its path or its text")


def _path(given: str, cwd: Path) -> Path:
    return (cwd / Path(given).expanduser()).resolve()
