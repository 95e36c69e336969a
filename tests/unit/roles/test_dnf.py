"""dnf, as `owned_packages` speaks to it.

What dnf says was recorded: `dnf/` holds the words of dnf 4.14.0, the release of RHEL 9, of packages made for it (tests/e2e has
the same with a real one). The host is a model: RHEL's archives are not asked.
"""

import importlib
import subprocess
from pathlib import Path

import pytest

from tests.unit.roles.loading import load
from tests.unit.roles.test_nvidia_driver import task

packages = load("library/owned_packages.py")
dnf = importlib.import_module("ansible.module_utils.slipway_dnf")
common = importlib.import_module("ansible.module_utils.slipway_packages")
systems = importlib.import_module("ansible.module_utils.slipway_systems")

SAID = Path(__file__).with_name("dnf")
LONG = "a-package-with-a-name-that-is-far-too-long-for-its-column"
DEPENDS = {"nginx": ["nginx-common"], "app": ["lib"], "own": ["nginx-common"]}
TABLE = """Dependencies resolved.
================================================================================
 Package         Architecture       Version             Repository         Size
================================================================================
{parts}
Transaction Summary
================================================================================
"""


def said(name: str) -> str:
    return (SAID / name).read_text()


@pytest.mark.parametrize(
    ("file", "headings", "names"),
    [
        ("install.txt", dnf._INSTALLING, {LONG, "app", "nginx", "lib", "nginx-common"}),
        ("install.txt", ("Installing dependencies",), {"lib", "nginx-common"}),
        ("install.txt", dnf._REMOVING, set()),
        ("autoremove.txt", dnf._REMOVING, {"app", "lib"}),
        ("remove.txt", dnf._REMOVING, {"app", "lib"}),
        ("remove-dragging.txt", dnf._REMOVING, {"nginx-common", "own"}),
        ("nothing.txt", dnf._INSTALLING, set()),
    ],
)
def test_the_table_of_a_transaction(file: str, headings: tuple[str, ...], names: set[str]) -> None:
    assert dnf.transaction(said(file), headings) == names


class Host:
    """A stand-in for a host with dnf and rpm, as far as the module asks them; it knows no versions."""

    def __init__(self) -> None:
        self.installed = {"bash", "auto-dep", "kmod-nvidia-open"}
        self.manual = {"bash", "kmod-nvidia-open"}
        self.locked: set[str] = set()
        self.log: list[tuple[str, ...]] = []

    def closure(self, names: list[str]) -> list[str]:
        todo, found = list(names), []
        while todo:
            name = todo.pop()
            if name not in found:
                found.append(name)
                todo += DEPENDS.get(name, [])
        return found

    def run(self, *command: str, check: bool = True, errors: str = "") -> subprocess.CompletedProcess[str]:  # noqa: C901 - flat
        self.log.append(command)
        names = [word for word in command[2:] if not word.startswith("-") and "%" not in word]
        dry, code, out = "--assumeno" in command, 0, ""
        match command[:2]:
            case ("rpm", "--eval"):
                out = "x86_64\n"
            case ("rpm", "-qa"):
                out = "".join(f"{name}\tnoarch\n" for name in sorted(self.installed))
            case ("dnf", "repoquery"):
                out = "\n".join(sorted(self.manual))
            case ("dnf", "mark"):
                self.manual = self.manual | set(names[1:]) if names[0] == "install" else self.manual - set(names[1:])
            case ("dnf", "versionlock"):
                out = self.lock(names)
            case ("dnf", "install"):
                new = [name for name in self.closure(names) if name not in self.installed]
                code, out = (1, self.table("Installing", new)) if dry else (0, "")
                if not dry:
                    self.installed |= set(new)
                    self.manual |= set(names)
            case ("dnf", "autoremove"):
                garbage = self.installed - set(self.closure(sorted(self.manual & self.installed)))
                code, out = 1, self.table("Removing", sorted(garbage))
            case ("dnf", "remove"):
                dragged = {name for name in self.installed if set(DEPENDS.get(name, [])) & set(names)}
                code, out = (1, self.table("Removing", sorted({*names, *dragged}))) if dry else (0, "")
                if not dry:
                    self.installed -= {*names, *dragged}
        end = "Operation aborted." if code else ""
        return subprocess.CompletedProcess(command, code, out, end)

    def lock(self, names: list[str]) -> str:
        assert "python3-dnf-plugin-versionlock" in self.installed or names == ["list"], "there is no such command"
        if names[0] == "add":
            self.locked |= set(names[1:])
        elif names[0] == "delete":
            self.locked -= set(names[1:])
        return "".join(f"{name}-0:1-1.el9.*\n" for name in sorted(self.locked))

    def table(self, heading: str, names: list[str]) -> str:
        entries = "".join(f" {name}  noarch  1-1.el9  test  6.0 k\n" for name in names)
        return TABLE.format(parts=f"{heading}:\n{entries}") if names else said("nothing.txt")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    made = Host()
    (tmp_path / "units").mkdir()
    for module in (dnf, common):
        monkeypatch.setattr(module, "run", made.run)
    monkeypatch.setattr(common, "UNITS", tmp_path / "units")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packages"


def present(folder: Path, owner: str, *names: str, dry: bool = False, **more: list[str]) -> object:
    return packages.present(dnf.Dnf(), folder, owner, packages.Wish(list(names), **more), dry=dry)


def absent(folder: Path, owner: str) -> object:
    return packages.absent(dnf.Dnf(), folder, owner, dry=False)


def test_what_came_goes_and_nothing_else(host: Host, folder: Path) -> None:
    before = set(host.installed), set(host.manual)
    assert present(folder, "front", "nginx", "bash").installed == {"nginx", "nginx-common"}
    assert not present(folder, "front", "nginx", "bash").changed
    assert absent(folder, "front").removed == {"nginx", "nginx-common"}
    assert (host.installed, host.manual) == before
    assert list(folder.iterdir()) == []


def test_weak_dependencies_stay_away(host: Host, folder: Path) -> None:
    present(folder, "front", "nginx")
    (command,) = (entry for entry in host.log if entry[:3] == ("dnf", "install", "-y"))
    assert command == ("dnf", "install", "-y", "--setopt=install_weak_deps=False", "nginx")


def test_a_check_changes_nothing_and_tells_the_dependencies(host: Host, folder: Path) -> None:
    assert present(folder, "front", "nginx", dry=True, hold=["kmod-*"]).installed >= {"nginx", "nginx-common"}
    assert not folder.exists()
    assert "nginx" not in host.installed
    assert not host.locked


def test_holds_are_locks_and_only_ours_end(host: Host, folder: Path) -> None:
    host.installed.add("python3-dnf-plugin-versionlock")
    host.locked = {"bash"}
    present(folder, "base", hold=["bash", "kmod-*"])
    assert host.locked == {"bash", "kmod-nvidia-open"}
    assert not present(folder, "base", hold=["bash", "kmod-*"]).changed
    host.locked.remove("kmod-nvidia-open")
    assert present(folder, "base", hold=["bash", "kmod-*"]).changed
    absent(folder, "base")
    assert host.locked == {"bash"}


def test_an_administrators_dcgm_stays_and_what_came_is_locked(host: Host, folder: Path) -> None:
    """Role nvidia_driver takes it from this module on every system."""
    theirs, ours = "datacenter-gpu-manager-4-core", "datacenter-gpu-manager-exporter"
    asked = task("dcgm", "Install or remove DCGM and its exporter")["owned_packages"]
    host.installed.add(theirs)
    host.manual.add(theirs)

    present(folder, asked["owner"], theirs, ours, hold=asked["hold"])
    assert host.locked == {theirs, ours}

    assert absent(folder, asked["owner"]).removed == {ours, "python3-dnf-plugin-versionlock"}
    assert theirs in host.installed
    assert theirs in host.manual
    assert host.locked == set()


def test_the_plugin_comes_with_the_first_lock_and_goes_with_the_last(host: Host, folder: Path) -> None:
    present(folder, "base", hold=["nothing-*"])
    assert "python3-dnf-plugin-versionlock" not in host.installed
    present(folder, "base", hold=["kmod-*"])
    assert host.locked == {"kmod-nvidia-open"}
    absent(folder, "base")
    assert not host.locked
    assert "python3-dnf-plugin-versionlock" not in host.installed


def test_a_removal_that_would_take_others_along_is_refused(host: Host) -> None:
    host.installed |= {"nginx-common", "own"}
    with pytest.raises(common.PackageError, match="dnf would remove own along with nginx-common: remove them first"):
        dnf.Dnf().remove({"nginx-common"})
    assert "nginx-common" in host.installed


def test_what_the_administrator_built_on_ours_stays_whole(host: Host, folder: Path) -> None:
    present(folder, "front", "nginx")
    host.installed.add("own")
    host.manual.add("own")
    assert absent(folder, "front").removed == {"nginx"}
    assert "nginx-common" in host.installed


def test_a_package_that_is_not_there_is_told_in_dnfs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess((), 1, said("missing.txt"), said("missing.err"))
    monkeypatch.setattr(dnf, "run", lambda *_, **__: done)
    with pytest.raises(common.PackageError) as failure:
        dnf.Dnf().plan(common.Change(["no-such-package"]), set())
    assert str(failure.value) == "dnf install failed: Error: Unable to find a match: no-such-package"


def test_recorded_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded(*command: str, **_: object) -> subprocess.CompletedProcess[str]:
        name = "versionlock.txt" if command[1] == "versionlock" else "userinstalled.txt"
        return subprocess.CompletedProcess(command, 0, said(name), "")

    monkeypatch.setattr(dnf, "run", recorded)
    assert dnf.Dnf().marked("hold") == {"kmod-nvidia-open"}
    assert dnf.Dnf().marked("manual") == {"bash", "kmod-nvidia-open", "own"}


def test_packages_have_their_own_names_there() -> None:
    rhel = next(system for system in systems.SYSTEMS if system.manager == "dnf")
    assert rhel.named(["ca-certificates", "python3-venv", "libgomp1", "libstdc++6", "nftables"]) == [
        "ca-certificates",
        "python3.12",
        "libgomp",
        "libstdc++",
        "nftables",
    ]
