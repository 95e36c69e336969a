"""From the tasks of an apply to the things that a role manages on a host.

A thing is what `record` can look at; what it looks like is not asked here. A role with a task that is about nothing known
can't be recorded: it is checked each time. The rule is what `--check` would tell: a task that does nothing in check mode, such
as a command without `creates`, manages nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from provider.redaction import Scrubber

Thing = dict[str, Any]

READ_ONLY = frozenset(
    {
        "add_host",
        "assert",
        "async_status",
        "debug",
        "fail",
        "fetch",
        "gather_facts",
        "getent",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "mount_facts",
        "package_facts",
        "pause",
        "ping",
        "raw",
        "reboot",
        "service_facts",
        "set_fact",
        "set_stats",
        "setup",
        "uri",
        "validate_argument_spec",
        "wait_for",
        "wait_for_connection",
    }
)
"""Modules that leave a host as it is, or do nothing in check mode."""

UNKNOWN_MODULE = "task '{task}' uses the module {action}, of which is not known what it manages"
UNKNOWN_COMMAND = "task '{task}' runs a command in check mode that can't be repeated by itself"
ELSEWHERE = "task '{task}' works on another machine"
SECRET = "task '{task}' is about something whose name holds a secret"  # noqa: S105 -- a message

_BUILTIN = ("ansible.builtin.", "ansible.legacy.")


class Unrecordable(Exception):  # noqa: N818 -- an answer, not an error
    """The role can't be recorded; the text says why."""


def things(notes: Iterable[Mapping[str, Any]], scrub: Scrubber) -> tuple[Thing, ...]:
    """What the noted tasks manage, each thing once.

    Raises:
        Unrecordable: there is a task of which that is not known.
    """
    found: dict[str, Thing] = {}
    for note in notes:
        for thing in _of(note):
            text = json.dumps(thing, sort_keys=True)
            if scrub.reveals(text):
                raise Unrecordable(SECRET.format(task=scrub(str(note["task"]))))
            found[text] = thing
    return tuple(found.values())


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The notes that the callback `managed` has written; none where no task ran."""
    if file.exists():
        with file.open(encoding="utf-8") as opened:
            yield from (json.loads(line) for line in opened)


def _of(note: Mapping[str, Any]) -> list[Thing]:
    action = str(note["action"])
    for prefix in _BUILTIN:
        action = action.removeprefix(prefix)
    result, arguments = note["result"], note["arguments"]
    if isinstance(result.get("manages"), list):
        return list(result["manages"]) if not note["delegated"] else []
    looks = _LOOKS.get(action)
    if action in READ_ONLY or (looks and note["delegated"]):
        return []
    if note["delegated"]:
        raise Unrecordable(ELSEWHERE.format(task=note["task"]))
    if action in {"command", "shell", "script"}:
        return _command(note)
    manages = looks or _MANAGES.get(action)
    made = manages(arguments, result) if manages else None
    if made is None:
        raise Unrecordable(UNKNOWN_MODULE.format(task=note["task"], action=action))
    return made


def _command(note: Mapping[str, Any]) -> list[Thing]:
    arguments = note["arguments"]
    if "observes" in note:
        if not note["observes"]:
            raise Unrecordable(UNKNOWN_COMMAND.format(task=note["task"]))
        return [{"kind": "command", **note["observes"]}]
    return [_at(arguments[key], look="presence") for key in ("creates", "removes") if arguments.get(key)]


def _at(path: str, **more: Any) -> Thing:
    return {"kind": "path", "path": path, **more}


_Arguments = Mapping[str, Any]
_Found = list[Thing] | None


def _file(arguments: _Arguments, result: _Arguments) -> _Found:
    path = result.get("path") or result.get("dest") or _first(arguments, "path", "dest", "name")
    if not path:
        return None
    if arguments.get("recurse"):
        return [{"kind": "tree", "path": path}]
    return [_at(path)]


def _written(arguments: _Arguments, result: _Arguments) -> _Found:
    """A file that is put somewhere; of a hidden task it is not known whether `dest` is it, or the folder for it."""
    place = result.get("dest") or result.get("path") or _first(arguments, "dest", "path", "name")
    if not place:
        return None
    source = _first(arguments, "src", "url")
    if not source:
        return [_at(place)]
    if source.endswith("/"):
        return [{"kind": "tree", "path": place, "content": True}]
    return [_at(place, into=source)]


def _listed(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    return [
        {
            "kind": "names",
            "paths": _texts(_first(arguments, "paths", "path", "name")),
            "patterns": _texts(arguments.get("patterns")),
            "excludes": _texts(arguments.get("excludes")),
            "regex": bool(arguments.get("use_regex")),
            "type": arguments.get("file_type") or "file",
            "hidden": bool(arguments.get("hidden")),
            "recurse": bool(arguments.get("recurse")),
            "depth": arguments.get("depth"),
            "sizes": bool(arguments.get("get_checksum")),
        }
    ]


def _packages(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    if arguments.get("deb") or arguments.get("upgrade") not in {None, False, "no", "none"}:
        return None
    names = [
        name.split("=")[0].split(":")[0].strip().rstrip("+-")
        for given in _texts(_first(arguments, "name", "pkg", "package"))
        for name in given.split(",")
    ]
    return [{"kind": "packages", "names": sorted(names)}] if names else []


def _unit(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    name = arguments.get("name")
    if not name:
        return []
    full = name if "." in name else f"{name}.service"
    return [{"kind": "unit", "name": full, "running": bool(arguments.get("state"))}]


def _account(kind: str) -> Callable[[_Arguments, _Arguments], _Found]:
    return lambda arguments, _: [{"kind": kind, "name": arguments["name"]}] if arguments.get("name") else None


def _source_list(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    return [_at(result["dest"])] if result.get("dest") else None


def _present(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    path = _first(arguments, "path", "dest", "name")
    return [_at(path, look="presence")] if path else None


def _read(arguments: _Arguments, result: _Arguments) -> _Found:  # noqa: ARG001 -- as the others
    path = _first(arguments, "path", "src")
    return [_at(path)] if path else None


_LOOKS: dict[str, Callable[[_Arguments, _Arguments], _Found]] = {"find": _listed, "stat": _present, "slurp": _read}
"""Modules by which a role looks at the host: another answer may mean another plan."""

_MANAGES: dict[str, Callable[[_Arguments, _Arguments], _Found]] = {
    **dict.fromkeys(("file", "lineinfile", "blockinfile", "replace"), _file),
    **dict.fromkeys(("copy", "template", "get_url", "assemble"), _written),
    **dict.fromkeys(("apt", "package", "dpkg_selections"), _packages),
    **dict.fromkeys(("service", "systemd", "systemd_service"), _unit),
    "user": _account("user"),
    "group": _account("group"),
    "deb822_repository": _source_list,
}


def _first(arguments: _Arguments, *names: str) -> Any:
    return next((arguments[name] for name in names if arguments.get(name)), None)


def _texts(value: Any) -> list[str]:
    if not value:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
