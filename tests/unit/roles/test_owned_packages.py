"""Packages with an owner, on a host whose apt is a model: what comes, what goes, what a kill leaves behind."""

import importlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.roles.loading import load

packages = load("library/owned_packages.py")
apt = importlib.import_module("ansible.module_utils.slipway_apt")
common = importlib.import_module("ansible.module_utils.slipway_packages")
systems = importlib.import_module("ansible.module_utils.slipway_systems")

DEPENDS = {
    "nginx": ["nginx-common"],
    "app": ["lib"],
    "tool": ["lib"],
    "own": ["nginx-common"],
    "py": ["cffi"],
    "x": ["py"],
}


class Killed(BaseException):
    """What a SIGKILL is to the module."""


class Host:
    """A host with apt, dpkg and systemd, as far as the module asks them."""

    def __init__(self) -> None:
        self.installed = {"bash", "auto-dep"}
        self.manual = {"bash"}
        self.held: set[str] = set()
        self.unconfigured: set[str] = set()
        self.units = {"ssh.service"}
        self.log: list[tuple[str, ...]] = []
        self.kill: Callable[[tuple[str, ...]], None] = lambda _: None

    def closure(self, names: list[str]) -> list[str]:
        todo, found = list(names), []
        while todo:
            name = todo.pop()
            if name not in found:
                found.append(name)
                todo += DEPENDS.get(name, [])
        return found

    def garbage(self) -> set[str]:
        return self.installed - set(self.closure(sorted(self.manual & self.installed)))

    def run(self, *command: str, check: bool = True, errors: str = "") -> subprocess.CompletedProcess[str]:  # noqa: C901, PLR0912 - a flat table
        self.log.append(command)
        self.kill(command)
        words = [word for word in command[2:] if not word.startswith("-") and "::" not in word]
        out = ""
        match command[:2]:
            case ("dpkg", "--print-architecture"):
                out = "amd64\n"
            case ("dpkg", "--audit"):
                out = "\n".join(self.unconfigured)
            case ("dpkg", "--configure"):
                self.unconfigured.clear()
            case ("dpkg-query", _):
                out = "".join(f"ii \t{name}\tall\n" for name in self.installed)
            case ("systemctl", "list-unit-files"):
                out = "".join(f"{unit} enabled\n" for unit in self.units)
            case ("apt-mark", "showmanual"):
                out = " ".join(self.manual)
            case ("apt-mark", "showhold"):
                out = " ".join(self.held)
            case ("apt-mark", "auto"):
                self.manual -= set(words)
            case ("apt-mark", "manual"):
                self.manual |= set(words)
            case ("apt-mark", "hold"):
                self.held |= set(words)
            case ("apt-mark", "unhold"):
                self.held -= set(words)
            case ("apt-get", "install") if "--simulate" in command:
                out = "".join(f"Inst {name} (1)\n" for name in self.closure(words) if name not in self.installed)
            case ("apt-get", "autoremove"):
                out = "".join(f"Remv {name} [1]\n" for name in self.garbage())
            case ("apt-get", "install"):
                if self.unconfigured and words:
                    raise common.PackageError("dpkg was interrupted")
                self.unpack(words)
                self.unconfigured.clear()
            case ("apt-get", "purge"):
                broken = {name for name in self.installed - set(words) if set(DEPENDS.get(name, [])) & set(words)}
                assert not broken, f"apt would remove {broken} too"
                self.installed -= set(words)
                self.units -= {f"{word}.service" for word in words}
        return subprocess.CompletedProcess(command, 0, out, "")

    def unpack(self, words: list[str]) -> None:
        for name in self.closure(words):
            if name not in self.installed:
                self.installed.add(name)
                self.unconfigured.add(name)
                self.units.add(f"{name}.service")
        self.manual |= set(words)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    made = Host()
    (tmp_path / "units").mkdir()
    for module in (apt, common):
        monkeypatch.setattr(module, "run", made.run)
    monkeypatch.setattr(apt.Apt, "stale", lambda _: False)
    monkeypatch.setattr(common, "UNITS", tmp_path / "units")
    monkeypatch.setattr(apt, "POLICY", tmp_path / "policy-rc.d")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packages"


def present(folder: Path, owner: str, *names: str, dry: bool = False, **more: list[str]) -> object:
    return packages.present(apt.Apt(), folder, owner, packages.Wish(list(names), **more), dry=dry)


def absent(folder: Path, owner: str) -> object:
    return packages.absent(apt.Apt(), folder, owner, dry=False)


def test_what_came_goes_and_nothing_else(host: Host, folder: Path) -> None:
    before = set(host.installed), set(host.manual)
    assert present(folder, "front", "nginx", "bash").installed == {"nginx", "nginx-common"}
    assert not present(folder, "front", "nginx", "bash").changed

    assert absent(folder, "front").removed == {"nginx", "nginx-common"}

    assert (host.installed, host.manual) == before
    assert list(folder.iterdir()) == []
    assert not absent(folder, "front").changed


def test_a_check_changes_nothing_and_tells_the_dependencies(host: Host, folder: Path) -> None:
    outcome = present(folder, "front", "nginx", dry=True, mask=["nginx.service"], hold=["bash"])
    assert outcome.changed
    assert outcome.installed == {"nginx", "nginx-common"}
    assert not folder.exists()
    assert host.installed == {"bash", "auto-dep"}
    assert not host.held


def test_a_shared_dependency_goes_with_its_last_owner(host: Host, folder: Path) -> None:
    present(folder, "one", "app")
    present(folder, "two", "tool")

    absent(folder, "one")
    assert {"tool", "lib"} <= host.installed
    absent(folder, "two")

    assert "tool" not in host.installed


def test_another_owners_request_keeps_the_dependencies_of_what_it_asked_for(host: Host, folder: Path) -> None:
    present(folder, "one", "py")
    present(folder, "two", "py")
    absent(folder, "one")
    assert {"py", "cffi"} <= host.installed


def test_packages_of_several_owners_go_with_the_last_whoever_brought_them(host: Host, folder: Path) -> None:
    for first, last in (("one", "two"), ("two", "one")):
        present(folder, "one", "py")
        present(folder, "two", "py")
        absent(folder, first)
        assert not present(folder, last, "py").changed
        absent(folder, last)
        assert not {"py", "cffi"} & host.installed
        assert not list(folder.glob("*.json"))


def test_what_the_administrator_built_on_ours_stays_whole(host: Host, folder: Path) -> None:
    present(folder, "front", "nginx")
    host.installed.add("own")
    host.manual.add("own")

    outcome = absent(folder, "front")

    assert outcome.removed == {"nginx"}
    assert "nginx-common" in host.installed


def test_a_mark_on_somebodys_dependency_is_given_back(host: Host, folder: Path) -> None:
    present(folder, "front", "auto-dep")
    assert "auto-dep" in host.manual
    absent(folder, "front")
    assert "auto-dep" in host.installed
    assert "auto-dep" not in host.manual


def test_only_our_holds_end(host: Host, folder: Path) -> None:
    host.held = {"auto-dep"}
    assert present(folder, "base", hold=["bash", "auto-*", "nvidia-*"]).changed
    assert host.held == {"bash", "auto-dep"}
    assert not present(folder, "base", hold=["bash", "auto-*", "nvidia-*"]).changed

    host.held.remove("bash")
    assert present(folder, "base", hold=["bash"]).changed
    assert "bash" in host.held
    absent(folder, "base")

    assert host.held == {"auto-dep"}


def test_the_distributions_service_is_masked_and_unmasked(host: Host, folder: Path) -> None:
    present(folder, "front", "nginx", mask=["nginx.service"])
    assert packages.is_masked("nginx.service")
    (common.UNITS / "nginx.service").unlink()
    assert present(folder, "front", "nginx", mask=["nginx.service"]).changed
    assert packages.is_masked("nginx.service")

    absent(folder, "front")

    assert list(common.UNITS.iterdir()) == []


def test_an_administrators_own_service_is_not_masked(host: Host, folder: Path) -> None:
    host.unpack(["nginx"])
    host.unconfigured.clear()
    present(folder, "front", "nginx", mask=["nginx.service"])
    assert not packages.is_masked("nginx.service")
    assert not absent(folder, "front").removed


def test_what_purged_packages_leave_goes_unless_somebody_uses_it(host: Host, folder: Path, tmp_path: Path) -> None:
    www = tmp_path / "www"
    (tmp_path / "old").mkdir()
    paths = [str(tmp_path / "old"), str(www), str(www / "html"), str(www / "html" / "index")]
    present(folder, "front", "nginx", leftovers=paths)
    (www / "html").mkdir(parents=True)
    (www / "html" / "index").touch()
    (www / "mine").touch()
    assert not present(folder, "front", "nginx", leftovers=paths).changed

    absent(folder, "front")

    assert sorted(str(path.relative_to(tmp_path)) for path in www.rglob("*")) == ["www/mine"]
    assert (tmp_path / "old").is_dir()


def test_new_services_are_not_started_and_old_ones_may_be(host: Host, folder: Path) -> None:
    asked: dict[str, int] = {}

    def policy(command: tuple[str, ...]) -> None:
        if command[:2] == ("apt-get", "install") and "--simulate" not in command:
            for unit in ("nginx.service", "nginx", "ssh.service", "ssh"):
                asked[unit] = subprocess.run([str(apt.POLICY), unit, "start"], check=False).returncode

    host.kill = policy
    present(folder, "front", "nginx")
    assert asked == {"nginx.service": 101, "nginx": 101, "ssh.service": 0, "ssh": 0}
    assert not apt.POLICY.exists()


def test_an_administrators_policy_stands(host: Host, folder: Path) -> None:
    apt.POLICY.write_text("#!/bin/sh\nexit 0\n")
    present(folder, "front", "nginx")
    absent(folder, "front")
    assert apt.POLICY.read_text() == "#!/bin/sh\nexit 0\n"


POINTS = {
    "before apt": lambda command: command[:2] == ("apt-get", "install") and "--simulate" not in command,
    "while the record is settled": lambda command: command[:2] == ("apt-mark", "showmanual"),
}


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_install_is_completed_and_can_be_taken_back(
    host: Host, folder: Path, point: str, unpacked: bool
) -> None:
    before = set(host.installed), set(host.manual)

    def kill(command: tuple[str, ...]) -> None:
        if POINTS[point](command):
            if unpacked:
                host.unpack(["nginx"])
            raise Killed

    host.kill = kill
    with pytest.raises(Killed):
        present(folder, "front", "nginx", mask=["nginx.service"])
    host.kill = lambda _: None
    assert present(folder, "front", "nginx", mask=["nginx.service"], dry=True).changed
    assert packages.Record.load(folder / "front.json").planned

    present(folder, "front", "nginx", mask=["nginx.service"])

    assert not host.unconfigured
    assert packages.is_masked("nginx.service")
    assert not apt.POLICY.exists()
    assert not present(folder, "front", "nginx", mask=["nginx.service"]).changed
    absent(folder, "front")
    assert (host.installed, host.manual) == before


def test_a_killed_install_can_be_taken_back_without_completing_it(host: Host, folder: Path) -> None:
    before = set(host.installed)

    def kill(command: tuple[str, ...]) -> None:
        if POINTS["before apt"](command):
            host.unpack(["nginx"])
            raise Killed

    host.kill = kill
    with pytest.raises(Killed):
        present(folder, "front", "nginx")
    host.kill = lambda _: None
    apt.POLICY.write_text(f"#!/bin/sh\n{apt.POLICY_MARK}\n")  # a real SIGKILL leaves it
    absent(folder, "front")
    assert host.installed == before
    assert not apt.POLICY.exists()


def test_a_failed_download_is_tried_again_with_fresh_lists(host: Host, folder: Path) -> None:
    failures = [common.PackageError("404 Not Found")]

    def fail(command: tuple[str, ...]) -> None:
        if POINTS["before apt"](command) and failures:
            raise failures.pop()

    host.kill = fail
    present(folder, "front", "nginx")
    assert any(command[:2] == ("apt-get", "update") for command in host.log)
    assert "nginx" in host.installed


def test_a_damaged_record_is_not_overwritten(host: Host, folder: Path) -> None:
    folder.mkdir()
    (folder / "front.json").write_text("{")
    with pytest.raises(common.PackageError, match=r"front\.json is damaged"):
        present(folder, "front", "nginx")
    assert (folder / "front.json").read_text() == "{"


class Versions:
    """A host whose packages have versions: `lib` is at 1.0-1, and apt has what was last fetched."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.have = {"lib": "1.0-1", "old": "3"}
        self.apt = {"lib": ["1.0-1", "2.0-1"], "old": ["3"]}
        host.installed |= {"lib", "old"}
        host.manual |= {"lib", "old"}
        for module in (apt, common):
            monkeypatch.setattr(module, "run", self.run)

    def run(self, *command: str, check: bool = True, errors: str = "") -> subprocess.CompletedProcess[str]:
        if command[:2] == ("dpkg-query", "-W") and "Version" in command[3]:
            asked = command[4:] or self.host.installed
            out = "".join(f"ii \t{name}\t1:{self.have.get(name, 0)}\n" for name in asked if name in self.host.installed)
            return subprocess.CompletedProcess(command, 0, out, "")
        if command[0] == "apt-cache":
            out = "".join(f" {name} | {version} | mirror\n" for name in command[2:] for version in self.apt[name])
            return subprocess.CompletedProcess(command, 0, out, "")
        if command[:2] == ("apt-get", "install"):
            words = []
            for word in command[2:]:
                name, exact, version = word.partition("=")
                if exact and "::" not in name:
                    found = [each for each in self.apt[name] if each.startswith(version.rstrip("*"))]
                    if not found:
                        raise common.PackageError(
                            f"apt-get install failed: E: Version '{version}' for '{name}' was not found"
                        )
                    if "--simulate" not in command:
                        self.have[name] = found[-1]
                if word.endswith("-") and not word.startswith("-") and "--simulate" not in command:
                    self.host.installed.discard(word[:-1])
                words.append(name)
            command = (*command[:2], *(word for word in words if not word.endswith("-")))
        return self.host.run(*command, check=check, errors=errors)


@pytest.fixture
def versions(host: Host, monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(host, monkeypatch)


def wish(*names: str, **more: list[str]) -> object:
    debian = systems.SYSTEMS[0]
    return packages.wish_of(
        {"names": list(names), "without": [], "hold": [], "mask": [], "leftovers": [], **more}, debian
    )


def test_another_version_is_installed_though_it_is_held(host: Host, versions: Versions, folder: Path) -> None:
    host.held = {"lib"}
    dry = packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-*"), dry=True)
    assert dry.changed
    assert versions.have["lib"] == "1.0-1"
    assert packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-*", hold=["lib"]), dry=False).changed
    assert versions.have["lib"] == "2.0-1"
    (command,) = [each for each in host.log if each[:2] == ("apt-get", "install") and "--simulate" not in each]
    assert "lib" in command
    assert not packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-*", hold=["lib"]), dry=False).changed


def test_a_version_of_a_package_that_is_not_there(host: Host, versions: Versions, folder: Path) -> None:
    versions.apt["new"] = ["5-1"]
    assert packages.present(apt.Apt(), folder, "driver", wish("new=5-*"), dry=True).installed == {"new"}
    assert packages.present(apt.Apt(), folder, "driver", wish("new=5-*"), dry=False).installed == {"new"}
    assert not packages.present(apt.Apt(), folder, "driver", wish("new=5-*"), dry=False).changed
    assert packages.absent(apt.Apt(), folder, "driver", dry=False).removed == {"new"}


def test_apt_is_told_that_held_packages_may_change(host: Host, versions: Versions, folder: Path) -> None:
    packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-1"), dry=False)
    installs = [each for each in host.log if each[:2] == ("apt-get", "install")]
    assert installs
    assert all("--allow-change-held-packages" in each and "--allow-downgrades" in each for each in installs)


def test_a_version_that_apt_does_not_have_is_told_with_those_it_has(
    versions: Versions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[str] = []
    monkeypatch.setattr(apt.Apt, "refresh", lambda _: updates.append("update"))
    with pytest.raises(common.PackageError) as refused:
        packages.present(apt.Apt(), folder, "driver", wish("lib=9.*"), dry=False)
    assert updates == ["update"]
    assert str(refused.value).endswith(
        "E: Version '9.*' for 'lib' was not found; apt's sources have lib 1.0-1, lib 2.0-1: ask for a version that is there, or "
        "mend the sources"
    )


def test_what_must_not_be_there_beside_goes_in_the_same_step(host: Host, versions: Versions, folder: Path) -> None:
    outcome = packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-1", without=["old", "none"]), dry=True)
    assert outcome.removed == {"old"}
    assert "old" in host.installed
    packages.present(apt.Apt(), folder, "driver", wish("lib=2.0-1", without=["old", "none"]), dry=False)
    assert "old" not in host.installed
    assert not packages.present(
        apt.Apt(), folder, "driver", wish("lib=2.0-1", without=["old", "none"]), dry=False
    ).changed
