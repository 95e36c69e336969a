"""What a host looks like beside its record: every kind of drift shows, and what is no drift doesn't."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provider import looker, record, sight

ME = pwd.getpwuid(os.geteuid()).pw_name


class Host:
    """A folder of records, and what stands in for systemd and dpkg."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "records"
        self.files = folder / "files"
        self.files.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.counted = folder / "calls"

    def order(self, verb: str, *things: dict[str, Any], instance: str = "front", key: str = "k1") -> dict[str, Any]:
        order = {"verb": verb, "folder": str(self.folder), "instance": instance, "key": key, "things": list(things)}
        return record.carry_out(order)

    def differs(self, instance: str = "front") -> int:
        found: int = self.order("look")[instance]["differs"]
        return found

    def program(self, name: str, said: str) -> None:
        script = f"#!/bin/sh\necho x >> {self.counted}\ncat <<'END'\n{said}END\n"
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def calls(self) -> int:
        return len(self.counted.read_text().splitlines())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    return made


def path(file: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "path", "path": str(file), **more}


def test_a_record_is_the_owners_alone_and_holds_no_content(host: Host) -> None:
    (host.files / "secret").write_text("canary-5dd1")
    host.order("write", path(host.files / "secret"))
    file = host.folder / "front.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(host.folder.stat().st_mode) == 0o700
    assert "canary" not in file.read_text()
    assert host.order("look") == {"front": {"key": "k1", "differs": 0, "first": []}}


def _chown(file: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test changes owners: run it as root")
    os.chown(file, pwd.getpwnam("nobody").pw_uid, -1)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_text("other"),
        lambda file: file.chmod(0o640),
        _chown,
        lambda file: os.chown(file, -1, grp.getgrnam("nogroup").gr_gid),
        lambda file: file.unlink(),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.rename(f"{file}.moved"), file.symlink_to(f"{file}.moved")),
    ],
    ids=["content", "mode", "owner", "group", "removed", "folder", "link"],
)
def test_a_changed_file_differs_and_is_named(host: Host, change: Callable[[Path], object]) -> None:
    file = host.files / "site"
    file.write_text("site")
    host.order("write", path(file), path(host.files / "other"))
    change(file)
    assert host.order("look")["front"] == {"key": "k1", "differs": 1, "first": [f"path {file}"]}


def test_a_touched_file_is_the_same_and_a_large_one_is_told_by_its_times(host: Host) -> None:
    small, large = host.files / "small", host.files / "large"
    small.write_text("x")
    large.write_bytes(b"x" * (sight.WHOLE + 1))
    host.order("write", path(small), path(large))
    os.utime(small, (1, 1))
    assert host.differs() == 0
    times = (large.stat().st_atime_ns, large.stat().st_mtime_ns)
    large.write_bytes(b"y" * (sight.WHOLE + 1))
    os.utime(large, ns=times)
    assert host.differs() == 1, "who sets the time of change back can't set the other one back"


def test_what_is_absent_must_stay_so_and_presence_is_no_more(host: Host) -> None:
    gone, there = host.files / "gone", host.files / "there"
    there.write_text("x")
    host.order("write", path(gone), path(there, look="presence"))
    there.write_text("y")
    there.chmod(0o600)
    assert host.differs() == 0
    gone.mkdir()
    there.unlink()
    assert host.differs() == 2


def test_a_link_is_followed_to_what_it_names(host: Host) -> None:
    target, link = host.files / "target", host.files / "link"
    target.write_text("x")
    link.symlink_to(target)
    host.order("write", path(link))
    target.write_text("y")
    assert host.differs() == 1


def test_a_file_copied_into_a_folder_is_found_there(host: Host) -> None:
    (host.files / "site").write_text("x")
    host.order("write", path(host.files, into="site"))
    (host.files / "foreign").write_text("x")
    assert host.differs() == 0
    (host.files / "site").write_text("y")
    assert host.differs() == 1


def test_a_copied_folder_is_looked_at_as_a_whole(host: Host) -> None:
    (host.files / "sites/deep").mkdir(parents=True)
    (host.files / "sites/deep/one").write_text("x")
    host.order("write", path(host.files, into="sites"))
    (host.files / "sites/deep/one").write_text("y")
    assert host.differs() == 1


@pytest.mark.parametrize("content", [True, False])
def test_a_tree_shows_new_lost_and_changed_files_but_no_caches(host: Host, content: bool) -> None:
    (host.files / "a").mkdir()
    (host.files / "a/one").write_text("x")
    host.order("write", {"kind": "tree", "path": str(host.files), "content": content})
    (host.files / "a/__pycache__").mkdir()
    (host.files / "a/__pycache__/one.pyc").write_text("x")
    assert host.differs() == 0
    (host.files / "a/one").write_text("xy")
    assert host.differs() == 1
    (host.files / "a/one").write_text("x")
    assert host.differs() == (0 if content else 1)
    (host.files / "a/two").write_text("x")
    assert host.differs() == 1


def test_names_are_what_find_lists(host: Host) -> None:
    (host.files / "v1").mkdir()
    names = {"kind": "names", "paths": [str(host.files)], "excludes": ["v1"], "type": "directory"}
    host.order(
        "write", names, {**names, "hidden": True, "type": "any", "patterns": [".mark"], "recurse": True, "depth": 2}
    )
    (host.files / "file").write_text("x")
    (host.files / "v1/deep/deeper").mkdir(parents=True)
    (host.files / "v1/deep/deeper/.mark").write_text("x")
    assert host.differs() == 0
    (host.files / "v0").mkdir()
    assert host.differs() == 1
    (host.files / "v0/.mark").write_text("x")
    assert host.differs() == 2


SHOWN = "LoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState={enabled}\nNeedDaemonReload={stale}\n"
RUNS = {"active": "active", "sub": "running", "enabled": "enabled", "stale": "no"}


@pytest.mark.parametrize(
    ("now", "differs"),
    [
        ({"active": "inactive", "sub": "dead"}, 1),
        ({"active": "failed", "sub": "failed"}, 1),
        ({"active": "activating", "sub": "auto-restart"}, 1),
        ({"enabled": "disabled"}, 1),
        ({"enabled": "masked"}, 1),
        ({"stale": "yes"}, 1),
        ({"active": "reloading"}, 0),
    ],
)
def test_a_stopped_or_disabled_unit_differs(host: Host, now: dict[str, str], differs: int) -> None:
    host.program("systemctl", SHOWN.format(**RUNS))
    host.order("write", {"kind": "unit", "name": "web.service", "running": True})
    host.program("systemctl", SHOWN.format(**{**RUNS, **now}))
    assert host.differs() == differs


def test_a_unit_that_something_else_starts_may_rest(host: Host) -> None:
    host.program("systemctl", SHOWN.format(**RUNS))
    host.order("write", {"kind": "unit", "name": "renew.service", "running": False})
    host.program("systemctl", SHOWN.format(**{**RUNS, "active": "inactive", "sub": "dead"}))
    assert host.differs() == 0


def test_a_unit_started_from_other_files_differs(host: Host) -> None:
    """The file was put back after the restart: only what the unit wrote at its start still tells."""
    host.program("systemctl", SHOWN.format(**RUNS))
    started = host.files / "started"
    started.write_text("aaaa  /etc/site\n")
    host.order("write", {"kind": "unit", "name": "web.service", "running": True}, path(started))
    started.write_text("bbbb  /etc/site\n")
    assert host.differs() == 1


DPKG = "nginx\thi \t1.22.1-9\nnvidia-driver\thi \t550\nother\tii \t1\nmulti:amd64\tii \t2\n"


@pytest.mark.parametrize(
    ("was", "now", "differs"),
    [
        ("1.22.1-9", "1.22.1-10", 1),
        ("nginx\thi ", "nginx\tii ", 1),
        ("nvidia-driver\thi \t550\n", "", 1),
        ("other\tii \t1", "other\tii \t2", 0),
        ("other\tii ", "other\tiF ", 1),  # half configured: the next install completes it
        ("multi:amd64\tii \t2", "multi:amd64\tii \t3", 1),
    ],
    ids=["version", "hold", "removed", "foreign", "unfinished", "architecture"],
)
def test_a_package_of_another_version_or_without_its_hold_differs(host: Host, was: str, now: str, differs: int) -> None:
    host.program("dpkg-query", DPKG)
    host.order("write", {"kind": "packages", "names": ["nginx", "nvidia*", "multi"]})
    host.program("dpkg-query", DPKG.replace(was, now))
    assert host.differs() == differs


RPM = "nginx\t1.20.1-14.el9\nkmod-nvidia\t3:550-1.el9\nkernel-core\t5.14.0-503.el9\nkernel-core\t5.14.0-570.el9\n"
LOCKS = "# Added lock on Mon Nov 30 11:14:15 2026\nkmod-nvidia-3:550-1.el9.*\n!bash-0:5-1.el9.*\n"


@pytest.mark.parametrize(
    ("rpm", "locks", "differs"),
    [
        (RPM, LOCKS, 0),
        (RPM.replace("1.20.1-14", "1.20.1-20"), LOCKS, 1),
        (RPM.replace("kernel-core\t5.14.0-503.el9\n", ""), LOCKS, 1),
        (RPM, LOCKS.replace("kmod-nvidia", "other"), 1),
        (RPM.replace("kmod-nvidia\t3:550-1.el9\n", ""), LOCKS, 1),
        (RPM + "mine\t1-1\n", LOCKS, 0),
    ],
)
def test_packages_of_rpm(host: Host, monkeypatch: pytest.MonkeyPatch, rpm: str, locks: str, differs: int) -> None:
    file = host.files / "versionlock.list"
    monkeypatch.setattr(sight, "_DPKG", str(host.files / "none"))
    monkeypatch.setattr(sight, "_LOCKS", str(file))
    file.write_text(LOCKS)
    host.program("rpm", RPM)
    host.order("write", {"kind": "packages", "names": ["nginx", "kmod-*", "kernel-core"]})
    host.program("rpm", rpm)
    file.write_text(locks)
    assert host.differs() == differs


def test_systemd_and_dpkg_are_asked_once_for_all_records_of_a_host(host: Host) -> None:
    block = SHOWN.format(**RUNS)
    host.program("dpkg-query", DPKG)
    for name in ("a", "b"):
        host.program("systemctl", block)
        unit = {"kind": "unit", "name": f"{name}.service", "running": True}
        host.order("write", unit, {"kind": "packages", "names": ["nginx"]}, instance=name)
    host.program("systemctl", f"{block}\n{block}")
    before = host.calls()
    found = host.order("look")
    assert [entry["differs"] for entry in found.values()] == [0, 0]
    assert host.calls() == before + 2


def test_a_name_that_systemd_refuses_hides_no_other_unit(host: Host) -> None:
    runs, rests = SHOWN.format(**RUNS), SHOWN.format(**{**RUNS, "active": "inactive"})
    script = '#!/bin/sh\nfor name; do test "$name" = "bad name" && exit 1; done\nprintf "%s" "{}"\n'
    units = [{"kind": "unit", "name": name, "running": True} for name in ("bad name", "web.service")]
    (host.bin / "systemctl").write_text(script.format(runs))
    (host.bin / "systemctl").chmod(0o755)
    host.order("write", *units)
    assert host.differs() == 0
    (host.bin / "systemctl").write_text(script.format(rests))
    assert host.order("look")["front"]["first"] == ["unit web.service"]


def test_users_and_groups(host: Host) -> None:
    host.order(
        "write", {"kind": "user", "name": ME}, {"kind": "user", "name": "no-such"}, {"kind": "group", "name": "no-such"}
    )
    seen = json.loads((host.folder / "front.json").read_text())["seen"]
    assert seen[0].startswith(f"{os.geteuid()} ")
    assert seen[1:] == ["absent", "absent"]
    assert host.differs() == 0


def test_a_command_that_looks_is_asked_again(host: Host) -> None:
    asked = host.files / "answer"
    asked.write_text("one")
    host.order("write", {"kind": "command", "argv": ["cat", str(asked)]}, {"kind": "command", "argv": ["/no/such"]})
    assert host.differs() == 0
    asked.write_text("two")
    assert host.differs() == 1


def test_all_records_of_a_folder_are_looked_at_and_foreign_ones_are_not(host: Host) -> None:
    for name in ("one", "two"):
        host.order("write", path(host.files / name), instance=name, key=name)
    (host.files / "two").mkdir()
    found = host.order("look")
    assert {name: (entry["key"], entry["differs"]) for name, entry in found.items()} == {
        "one": ("one", 0),
        "two": ("two", 1),
    }
    # What is in a record is executed: nobody else may have written it.
    (host.folder / "one.json").chmod(0o666)
    (host.folder / "two.json").write_text(
        json.dumps({**json.loads((host.folder / "two.json").read_text()), "format": 0})
    )
    (host.folder / "three.json").symlink_to(host.files / "none")
    (host.folder / "four.json").write_text("{half")
    assert host.order("look") == {}
    host.folder.chmod(0o777)
    with pytest.raises(PermissionError, match="belongs to another user"):
        host.order("write", path(host.files))


def test_a_record_is_renewed_and_forgotten(host: Host) -> None:
    file = host.files / "site"
    host.order("write", path(file))
    file.write_text("x")
    host.order("renew", key="k2")
    assert host.order("look") == {"front": {"key": "k2", "differs": 0, "first": []}}
    host.order("write", path(file), instance="other")
    host.order("forget")
    assert host.folder.exists()
    host.order("forget", instance="other")
    assert not host.folder.exists()
    host.order("forget", instance="other")
    assert not host.folder.exists()


def test_a_record_names_its_host(host: Host) -> None:
    assert host.order("owners") == {}
    order = {"folder": str(host.folder), "instance": "front", "key": "k", "things": [], "owner": "gpu-a"}
    record.carry_out({**order, "verb": "write"})
    assert host.order("owners") == {"front": "gpu-a"}
    host.order("write", path(host.files), instance="other")
    assert host.order("owners") == {"front": "gpu-a", "other": ""}


def test_no_folder_above_the_records_is_made(host: Host) -> None:
    host.folder = host.folder / "deep"
    with pytest.raises(FileNotFoundError):
        host.order("write", path(host.files))
    assert not host.folder.parent.exists()


def test_it_runs_by_itself_as_the_hosts_program(host: Host) -> None:
    """As it is sent: one text on the standard input of the system's Python, whose answer is the last line of its own."""
    python = next(found for found in ("/usr/bin/python3", sys.executable) if Path(found).exists())

    def said(order: dict[str, Any]) -> str:
        program = looker._program(order)
        return subprocess.run([python, "-I", "-B", "-"], input=program, capture_output=True, check=True).stdout.decode()

    assert said({"verb": "look", "folder": str(host.folder)}) == f'\n{record.MARK}{{"done": {{}}}}\n'
    refused = json.loads(said({"verb": "write", "folder": str(host.folder)}).strip().removeprefix(record.MARK))
    assert refused["failed"].startswith("KeyError")
