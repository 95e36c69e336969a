"""What a role manages follows from its tasks; a task of which that is not known makes the role one that is checked each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provider import managed
from provider.managed import Unrecordable
from provider.redaction import Scrubber

NOTHING = Scrubber(())


def note(action: str, result: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    return {
        "task": "T",
        "action": action,
        "arguments": arguments,
        "result": result or {},
        "delegated": False,
    }


def things(*notes: dict[str, Any]) -> list[dict[str, Any]]:
    return list(managed.things(notes, NOTHING))


def path(place: str, **more: Any) -> dict[str, Any]:
    return {"kind": "path", "path": place, **more}


@pytest.mark.parametrize(
    ("noted", "found"),
    [
        (note("ansible.builtin.file", {"path": "/etc/x"}, path="/etc/x", state="directory"), [path("/etc/x")]),
        (note("file", path="/etc/x", state="absent"), [path("/etc/x")]),
        (note("file", path="/srv", recurse=True), [{"kind": "tree", "path": "/srv"}]),
        # Of a hidden task only the arguments are known: whether `dest` is the file or its folder shows on the host.
        (note("ansible.builtin.copy", dest="/etc/x"), [path("/etc/x")]),
        (note("ansible.builtin.copy", dest="/etc", src="x"), [path("/etc", into="x")]),
        (note("ansible.builtin.copy", {"dest": "/etc/x"}, dest="/etc", src="x"), [path("/etc/x", into="x")]),
        (note("copy", {"dest": "/etc"}, dest="/etc", src="x/"), [{"kind": "tree", "path": "/etc", "content": True}]),
        (note("ansible.legacy.template", dest="/etc/x", src="x.j2"), [path("/etc/x", into="x.j2")]),
        (note("get_url", {"dest": "/srv/m"}, dest="/srv/m", url="m"), [path("/srv/m", into="m")]),
        (note("lineinfile", path="/etc/x"), [path("/etc/x")]),
        (note("command", creates="/opt/x"), [path("/opt/x", look="presence")]),
        (note("shell", removes="/opt/x"), [path("/opt/x", look="presence")]),
        (note("command"), []),  # does nothing in check mode
        (
            {**note("command"), "observes": {"argv": ["id"], "chdir": None}},
            [{"kind": "command", "argv": ["id"], "chdir": None}],
        ),
        (note("user", name="web"), [{"kind": "user", "name": "web"}]),
        (note("group", name="web"), [{"kind": "group", "name": "web"}]),
        (note("apt", name=["nginx=1.2", "curl:amd64"]), [{"kind": "packages", "names": ["curl", "nginx"]}]),
        (note("apt", pkg="a, b"), [{"kind": "packages", "names": ["a", "b"]}]),
        (note("apt", update_cache=True), []),
        (note("systemd", name="web", state="started"), [{"kind": "unit", "name": "web.service", "running": True}]),
        (note("service", name="web.timer", enabled=True), [{"kind": "unit", "name": "web.timer", "running": False}]),
        (note("systemd_service", daemon_reload=True), []),
        (note("stat", path="/x"), [path("/x", look="presence")]),
        (note("slurp", src="/x"), [path("/x")]),
        (note("ansible.builtin.assert"), []),
        (note("ansible.builtin.include_role"), []),
        (note("own_module", {"manages": [path("/x")]}), [path("/x")]),
        (note("own_module", {"manages": []}), []),
        # What another machine is looked at for is not on this one.
        ({**note("find", paths="/x"), "delegated": True}, []),
    ],
)
def test_each_module_manages_what_it_is_about(noted: dict[str, Any], found: list[dict[str, Any]]) -> None:
    assert things(noted) == found


def test_what_a_role_looks_for_is_part_of_what_it_does() -> None:
    (found,) = things(note("find", paths="/opt/x", file_type="directory", excludes="v1", recurse=True, depth=2))
    assert (found["paths"], found["type"], found["excludes"], found["recurse"], found["depth"]) == (
        ["/opt/x"],
        "directory",
        ["v1"],
        True,
        2,
    )


def test_each_thing_is_there_once() -> None:
    assert things(note("file", path="/x"), note("copy", dest="/x"), note("file", path="/y")) == [path("/x"), path("/y")]


@pytest.mark.parametrize(
    ("noted", "why"),
    [
        (note("community.general.ini_file", path="/x"), "uses the module community.general.ini_file"),
        (note("own_module"), "uses the module own_module"),
        (note("git", dest="/x"), "uses the module git"),
        (note("apt", deb="/x.deb"), "uses the module apt"),
        (note("file"), "uses the module file"),
        ({**note("copy", dest="/x"), "delegated": True}, "works on another machine"),
        ({**note("command"), "observes": {}}, "can't be repeated"),
    ],
)
def test_a_task_that_is_about_nothing_known_leaves_the_role_unrecorded(noted: dict[str, Any], why: str) -> None:
    with pytest.raises(Unrecordable, match=why):
        things(note("file", path="/x"), noted)


def test_no_secret_gets_into_a_record() -> None:
    with pytest.raises(Unrecordable) as caught:
        managed.things([{**note("file", path="/x/canary-5dd1"), "task": "Put canary-5dd1"}], Scrubber(["canary-5dd1"]))
    assert "canary" not in str(caught.value)


def test_notes_are_read_from_the_runs_file(tmp_path: Path) -> None:
    file = tmp_path / "managed"
    assert list(managed.read(file)) == []
    file.write_text(json.dumps(note("file", path="/x")) + "\n")
    assert things(*managed.read(file)) == [path("/x")]
