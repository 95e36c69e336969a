"""A host's own packages: what package managers say, and a host's turn with a double of its package manager.

What apt says is as Debian 12's says it; what dnf says is written after its documents, and was not recorded.
"""

import importlib
import json
import multiprocessing
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles import loading  # noqa: F401 -- puts the packages where Ansible has them

debian = importlib.import_module("ansible.module_utils.system_packages.debian")
redhat = importlib.import_module("ansible.module_utils.system_packages.redhat")
kernels = importlib.import_module("ansible.module_utils.system_packages.kernels")
slipway_apt = importlib.import_module("ansible.module_utils.slipway_apt")
slipway_dnf = importlib.import_module("ansible.module_utils.slipway_dnf")
turn = importlib.import_module("ansible.module_utils.system_packages.turn")
Pending = importlib.import_module("ansible.module_utils.system_packages.pending").Pending
PackageError = importlib.import_module("ansible.module_utils.slipway_packages").PackageError

OLD, NEW = "6.1.0-50-amd64", "6.1.0-57-amd64"
SIMULATION = f"""\
Reading package lists...
Building dependency tree...
Calculating upgrade...
The following packages will be REMOVED:
  libold1
The following NEW packages will be installed:
  linux-image-{NEW}
The following packages will be upgraded:
  linux-image-amd64 openssl
2 upgraded, 1 newly installed, 1 to remove and 3 not upgraded.
Remv libold1 [1.0-1]
Inst openssl [3.0.16-1~deb12u1] (3.0.17-1~deb12u3 Debian-Security:12/oldstable-security [amd64])
Inst linux-image-{NEW} (6.1.162-1 Debian:12.13/oldstable [amd64])
Inst linux-image-amd64 [6.1.140-1] (6.1.162-1 Debian:12.13/oldstable [amd64])
Conf openssl (3.0.17-1~deb12u3 Debian-Security:12/oldstable-security [amd64])
Conf linux-image-{NEW} (6.1.162-1 Debian:12.13/oldstable [amd64])
"""
ASSUMED_NO = """\
Last metadata expiration check: 0:00:17 ago on Mon Nov 30 11:14:15 2026.
Dependencies resolved.
================================================================================
 Package             Architecture Version                    Repository    Size
================================================================================
Installing:
 kernel              x86_64       5.14.0-611.9.1.el9_7       baseos       1.2 M
 kernel-core         x86_64       5.14.0-611.9.1.el9_7       baseos        17 M
Upgrading:
 openssl             x86_64       1:3.5.1-4.el9_7            baseos       1.4 M
 python3-a-name-that-is-too-long-for-its-column
                     noarch       1-2.el9                    baseos       6.4 k
     replacing  python3-old.noarch 1-1.el9
Installing dependencies:
 libnew              x86_64       1-1.el9                    baseos        10 k
Removing:
 kernel-core         x86_64       5.14.0-427.el9             @baseos       60 M
Skipping packages with conflicts:
(add '--best --allowerasing' to command line to force their upgrade):
 other               x86_64       2-1.el9                    baseos        10 k

Transaction Summary
================================================================================
Install  3 Packages

Operation aborted.
"""
KERNEL_LOCK = "kernel-core-0:5.14.0-503.el9.*"
LOCKS = [KERNEL_LOCK, "mine-1:2-3.el9.*", "!kernel-core-0:5.14.0-570.el9.*"]


def test_what_apt_would_do() -> None:
    assert debian.simulated(SIMULATION) == Pending(
        upgraded=["linux-image-amd64", "openssl"],
        new=[f"linux-image-{NEW}"],
        removed=["libold1"],
        kernels=[NEW],
    )
    assert not debian.simulated("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n")


@pytest.mark.parametrize(
    ("package", "kernel"),
    [
        (f"linux-image-{NEW}", [NEW]),
        ("linux-image-unsigned-6.8.0-79-generic", ["6.8.0-79-generic"]),
        ("linux-image-amd64", []),
        (f"linux-image-{NEW}-dbg", []),
    ],
)
def test_which_packages_are_kernels(package: str, kernel: list[str]) -> None:
    assert debian.simulated(f"Inst {package} (1 x [amd64])\n").kernels == kernel


def test_holds_are_lifted_in_a_copy_of_dpkgs_status_alone() -> None:
    status = (
        "Package: linux-image-amd64\nStatus: hold ok installed\nVersion: 1\n\n"
        "Package: mine\nStatus: hold ok installed\nVersion: 1\n\n"
        "Package: other\nStatus: install ok installed\nDescription: x\n Status: hold ok installed\n"
    )
    found = debian.without_holds(status, {"linux-image-amd64", "other"})
    assert found == status.replace("linux-image-amd64\nStatus: hold ok", "linux-image-amd64\nStatus: install ok")


class Dnf:
    """What dnf and rpm are told, with a driver of Slipway's on the host, and what they say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, driver: Path) -> None:
        self.told: list[tuple[str, ...]] = []
        self.code, self.said, self.error = 1, ASSUMED_NO, "Operation aborted."
        self.rpms = (
            "kernel-core-0:5.14.0-503.el9.*\nkernel-core-0:5.14.0-611.9.1.el9_7.*\npackage kernel is not installed\n"
        )
        driver.touch()
        monkeypatch.setattr(redhat, "DRIVER", driver)
        monkeypatch.setattr(slipway_dnf, "run", self.run)
        monkeypatch.setattr(redhat, "run", self.run)

    def run(self, *command: str, **_: Any) -> Any:
        if command[:3] == ("dnf", "versionlock", "list"):
            return subprocess.CompletedProcess(command, 0, "\n".join(LOCKS), "")
        self.told.append(command)
        if command[0] == "rpm":
            return subprocess.CompletedProcess(command, 1, self.rpms, "")
        return subprocess.CompletedProcess(command, self.code, self.said, self.error)


@pytest.fixture
def dnf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dnf:
    return Dnf(monkeypatch, tmp_path / "rpms")


def test_what_dnf_would_bring_is_what_it_says_before_it_asks(dnf: Dnf) -> None:
    found = redhat.RedHat().pending({"kernel", "kernel-core"})
    assert found.upgraded == ["openssl", "python3-a-name-that-is-too-long-for-its-column"]
    assert (found.new, found.removed) == (["kernel", "kernel-core", "libnew"], ["kernel-core"])
    assert found.kernels == ["5.14.0-611.9.1.el9_7.x86_64"]
    dnf.code, dnf.said, dnf.error = 0, "Dependencies resolved.\nNothing to do.\nComplete!\n", ""
    assert not redhat.RedHat().pending(set())
    dnf.code, dnf.said, dnf.error = 1, "", "Error: Cache-only enabled but no cache for 'baseos'\n"
    with pytest.raises(PackageError, match="dnf upgrade failed: Error: Cache-only enabled but no cache for 'baseos'"):
        redhat.RedHat().pending(set())


def test_dnf_leaves_the_driver_and_what_others_locked_in_the_look_as_in_the_upgrade(dnf: Dnf) -> None:
    driver = "--exclude=*nvidia*,nvlsm,cuda-drivers*"
    host = redhat.RedHat()
    host.pending(set())
    host.upgrade()
    assert dnf.told == [("dnf", "upgrade", "--cacheonly", driver, "--assumeno"), ("dnf", "upgrade", "-y", driver)]
    dnf.told.clear()
    # Without the kernel's locks: the plugin is off, and what else it has is named.
    host.pending({"kernel", "kernel-core"})
    others = f"{driver},mine,kernel-core-0:5.14.0-570.el9.*"
    assert dnf.told == [("dnf", "upgrade", "--cacheonly", others, "--disableplugin=versionlock", "--assumeno")]
    dnf.told.clear()
    redhat.DRIVER.unlink()
    host.upgrade()
    assert dnf.told == [("dnf", "upgrade", "-y")]


def test_a_lock_ends_and_comes_again_without_what_an_administrator_excluded(dnf: Dnf) -> None:
    """By the name of a package `versionlock delete` takes its excludes too, and `versionlock add` refuses it for them."""
    dnf.code = 0
    redhat.RedHat().release({"kernel", "kernel-core"})
    redhat.RedHat().keep({"kernel", "kernel-core"}, Path("/"))
    kept = [command for command in dnf.told if command[0] == "dnf"]
    assert kept == [
        ("dnf", "versionlock", "delete", "--disablerepo=*", "--quiet", KERNEL_LOCK),
        (
            *("dnf", "versionlock", "add", "--raw", "--disablerepo=*", "--quiet"),
            *(KERNEL_LOCK, "kernel-core-0:5.14.0-611.9.1.el9_7.*"),
        ),
    ]


def test_dnfs_own_word_for_a_reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Core libraries or services have been updated since boot-up:\n  * glibc\n  * kernel\n\nReboot is required.\n"
    for code, text, expected in (
        (1, said, "for glibc, kernel"),
        (0, "Reboot should not be necessary.\n", ""),
        (1, "No such command", ""),
    ):
        done = type("Done", (), {"returncode": code, "stdout": text, "stderr": ""})
        monkeypatch.setattr(redhat, "run", lambda *_, done=done, **__: done)
        found = redhat.RedHat().reboot_asked()
        assert found.endswith(expected)
        assert bool(found) == bool(expected)


def _boots(root: Path, running: str, *images: str, link: str | None = None) -> None:
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text(f"{running}\n")
    (root / "boot").mkdir()
    for image in images:
        (root / f"boot/vmlinuz-{image}").touch()
    if link is not None:
        (root / "vmlinuz").symlink_to(f"boot/vmlinuz-{link}")


@pytest.mark.parametrize(
    ("images", "link", "newer"),
    [
        ((OLD, NEW), None, NEW),
        ((OLD, NEW), NEW, NEW),
        ((OLD,), None, ""),
        # Somebody chose the older one.
        ((OLD, NEW, "6.1.0-9-amd64"), OLD, ""),
        # A container runs its machine's kernel, whatever is in its /boot.
        ((NEW,), None, ""),
        ((), None, ""),
    ],
)
def test_whether_a_newer_kernel_waits_for_a_boot(
    tmp_path: Path, images: tuple[str, ...], link: str | None, newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    _boots(tmp_path, OLD, *images, link=link)
    assert kernels.newer(tmp_path) == newer


def test_another_build_of_the_same_kernel(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text(
        "Linux version 6.1.0-50-amd64 (gcc) #1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)\n"
    )
    assert [kernels.rebuilt(each, tmp_path) for each in ("6.1.140-2", "6.1.140-1", "")] == [True, False, False]


class Double:
    """A host on which a kernel is pending, with a driver; what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.packages = {"linux-image-amd64": "1", "openssl": "1"}
        self.held = {"linux-image-amd64"}
        self.modules = {OLD: "580.1"}
        self.version = "580.1"
        """Of the modules that are built."""
        self.along: list[str] = []
        """What comes along with headers."""
        self.next = OLD
        self.asks = ""
        self.builds = True
        self.fails = ""
        """The action that fails."""
        self.cut_off = False
        self.log = ""
        """Of a build that failed while headers were installed."""

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what.partition(" ")[0] == self.fails:
            raise PackageError(f"{what} failed")

    def unfinished(self) -> bool:
        return self.cut_off

    def finish(self) -> None:
        if self.cut_off:
            self._note("finish")
        self.cut_off = False

    def refresh(self) -> None:
        self._note("refresh")

    def age(self) -> int | None:
        return 5

    def versions(self) -> dict[str, str]:
        return dict(self.packages)

    def kernel_holds(self, _: Path) -> set[str]:
        return set(self.held)

    def release(self, names: set[str]) -> None:
        self._note(f"release {' '.join(sorted(names))}")
        self.held -= names

    def keep(self, names: set[str], _: Path) -> None:
        self._note(f"keep {' '.join(sorted(names))}")
        self.held |= names

    def pending(self, released: set[str]) -> Any:
        if self.cut_off:
            raise PackageError("Unmet dependencies")
        due = [] if self.packages["openssl"] == "2" else ["openssl"]
        if "linux-image-amd64" in released and f"linux-image-{NEW}" not in self.packages:
            return Pending(upgraded=[*due, "linux-image-amd64"], new=[f"linux-image-{NEW}"], kernels=[NEW])
        return Pending(upgraded=due)

    def for_kernel(self, kernel: str) -> list[str]:
        return [f"linux-headers-{kernel}"]

    def plan(self, names: list[str]) -> list[str]:
        return [name for name in (*names, *self.along) if name not in self.packages]

    def install(self, names: list[str], _: Path) -> list[str]:
        self._note(f"install {' '.join(names)}")
        self.packages |= dict.fromkeys([*names, *self.along], "2")
        return [*names, *self.along]

    def remove(self, names: list[str], _: Path) -> None:
        there = [name for name in names if self.packages.pop(name, None)]
        if there:
            self._note(f"remove {' '.join(there)}")

    def build(self, kernel: str) -> str:
        self._note(f"build {kernel}")
        if not self.builds:
            return "error: too few arguments"
        self.modules[kernel] = self.version
        return ""

    def upgrade(self) -> None:
        self._note("upgrade")
        self.packages["openssl"] = "2"
        if "linux-image-amd64" not in self.held:
            self.packages |= {"linux-image-amd64": "2", f"linux-image-{NEW}": "2"}
            self.next = NEW

    def reboot_asked(self) -> str:
        return self.asks


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    made = Double()
    monkeypatch.setattr(turn, "FOLDER", tmp_path / "packages")
    monkeypatch.setattr(turn, "this_system", lambda: made)
    monkeypatch.setattr(
        turn, "module_of", lambda kernel: (kernel, made.modules[kernel]) if kernel in made.modules else None
    )
    monkeypatch.setattr(turn, "compiler_said", lambda: made.log)
    monkeypatch.setattr(kernels, "running", lambda: OLD)
    monkeypatch.setattr(kernels, "newer", lambda: made.next if made.next != OLD else "")
    release = tmp_path / "os-release"
    release.write_text('ID=debian\nVERSION_ID="12"\n')
    monkeypatch.setattr(turn, "RELEASE", release)
    return made


def order(**more: Any) -> dict[str, Any]:
    return {"driver": {"broken_kernels": [], "setting": "pools.gpu.driver"}, "fresh": False, "wait_s": 1, **more}


def notes() -> dict[str, Any]:
    return {file.name: json.loads(file.read_text()) for file in turn.FOLDER.iterdir()}


ALL = [
    "refresh",
    f"install linux-headers-{NEW}",
    f"build {NEW}",
    "release linux-image-amd64",
    "upgrade",
    "keep linux-image-amd64",
]


def test_a_look_changes_nothing(double: Double, tmp_path: Path) -> None:
    found = turn.look(order())
    assert (found["upgraded"], found["kernels"], found["reboot"]) == (["openssl", "linux-image-amd64"], [NEW], "")
    assert double.told == []
    assert not (tmp_path / "packages").exists()
    turn.look(order(fresh=True))
    assert double.told == ["refresh"]


def test_headers_and_modules_come_before_the_kernel_and_holds_are_back_after_it(double: Double) -> None:
    found = turn.bring(order())
    assert double.told == ALL
    assert found["changed"] == [f"linux-headers-{NEW}", f"linux-image-{NEW}", "linux-image-amd64", "openssl"]
    assert found["reboot"] == f"kernel {NEW} is installed, and {OLD} runs"
    assert found["kernel"] == NEW
    assert notes() == {turn.ROLE_DUE: [NEW]}


def test_without_a_driver_of_slipways_holds_stay_as_they_are(double: Double) -> None:
    found = turn.bring(order(driver=None))
    assert double.told == ["refresh", "upgrade"]
    assert (found["changed"], found["reboot"]) == (["openssl"], "")


def test_modules_that_do_not_build_leave_the_host_as_it_was(double: Double) -> None:
    double.builds = False
    before = double.versions()
    found = turn.bring(order())
    assert found["error"].startswith(
        f"there are no modules of the driver for kernel {NEW} (error: too few arguments), so neither it nor any other package"
    )
    assert "pools.gpu.driver.branch, by a run without --packages" in found["error"]
    assert double.versions() == before
    assert double.told[-1] == f"remove linux-headers-{NEW}"
    assert list(turn.FOLDER.iterdir()) == []


@pytest.mark.parametrize(
    ("log", "told"), [("", "install linux-headers-"), ("x.c:1: error: too few", "x.c:1: error: too few)")]
)
def test_what_the_compiler_said_is_told_where_headers_cant_be_installed(double: Double, log: str, told: str) -> None:
    double.fails, double.log = "install", log
    assert f"for kernel {NEW} ({told}" in turn.bring(order())["error"]


def test_a_kernel_that_is_known_not_to_build_is_refused_untouched(double: Double) -> None:
    known = {"system": "debian", "first": "6.1.0-53", "below": "6.2"}
    told = order(driver={"broken_kernels": [known], "setting": "pools.gpu.driver"})
    for found in (turn.look(told), turn.bring(told)):
        assert found["error"].startswith(
            f"the driver's modules are known not to build for kernel {NEW} (from 6.1.0-53 on)"
        )
    assert double.told == ["refresh"]
    for other in ({"system": "ubuntu"}, {"first": "6.1.0-58"}, {"below": "6.1.0-57"}):
        told["driver"]["broken_kernels"] = [{**known, **other}]
        assert "error" not in turn.look(told)


@pytest.mark.parametrize("release", ['ID="rhel"\nVERSION_ID="9.7"\n', 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'])
def test_kernels_are_refused_on_what_is_rebuilt_from_rhel_too(double: Double, release: str) -> None:
    turn.RELEASE.write_text(release)
    known = {"system": "redhat", "first": "6.1.0-53", "below": "6.2"}
    told = order(driver={"broken_kernels": [known], "setting": "pools.gpu.driver"})
    assert "known not to build" in turn.look(told)["error"]


def test_an_upgrade_that_fails_leaves_the_holds_and_no_word_of_a_reboot(double: Double) -> None:
    double.fails = "upgrade"
    assert turn.bring(order()) == {"error": "upgrade failed"}
    assert double.held == {"linux-image-amd64"}


def test_a_kernel_that_is_there_without_modules_is_an_error(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's driver: its module for the running kernel is seen, and nobody builds."""
    double.held = set()
    monkeypatch.setattr(double, "upgrade", lambda: setattr(double, "next", NEW))
    found = turn.bring(order(driver=None))
    assert f"kernel {NEW} is installed, and there are no modules of the driver for it" in found["error"]
    assert "was not rebooted, and must not be" in found["error"]
    double.modules = {}
    assert "error" not in turn.bring(order(driver=None))


@pytest.mark.parametrize("at", ALL)
def test_killed_anywhere_the_next_run_brings_it_all_and_holds_again(double: Double, at: str) -> None:
    class Killed(BaseException):
        pass

    note = double._note

    def kill(what: str) -> None:
        note(what)
        if what == at:
            raise Killed

    double._note = kill  # type: ignore[method-assign]
    keep = double.keep

    def cut_off(*_: Any) -> None:
        raise Killed

    # A kill runs nothing more.
    double.keep = keep if at.startswith("keep") else cut_off  # type: ignore[method-assign]
    with pytest.raises(Killed):
        turn.bring(order())
    double._note, double.keep = note, keep  # type: ignore[method-assign]
    if at != "refresh":
        assert turn.look(order())["unfinished"] or double.next == NEW
    turn.bring(order())
    assert double.held == {"linux-image-amd64"}
    assert (double.packages["openssl"], double.next) == ("2", NEW)
    assert NEW in double.modules
    # However it went, the driver's role is known to be due.
    assert notes() == {turn.ROLE_DUE: [NEW]}


def test_the_drivers_role_is_due_from_before_the_kernel_comes_until_it_has_run(double: Double) -> None:
    double.fails = "upgrade"
    assert "error" in turn.bring(order())
    assert turn.look(order())["role_due"]
    double.fails = ""
    assert turn.bring(order())["role_due"]
    # Nothing is foreseen any more, and it is still told.
    assert (turn.look(order())["kernels"], turn.look(order())["role_due"]) == ([], True)
    assert turn.bring(order())["role_due"]
    assert turn.role_ran(order()) == {}
    assert not turn.look(order())["role_due"]
    assert not turn.bring(order())["role_due"]


def test_what_a_driver_that_left_the_stack_has_left_is_forgotten(double: Double) -> None:
    turn.FOLDER.mkdir()
    for note in (turn.RELEASED, turn.ROLE_DUE):
        (turn.FOLDER / note).write_text('["linux-image-amd64"]')
    assert turn.look(order(driver=None))["unfinished"]
    turn.bring(order(driver=None))
    assert notes() == {}
    assert not turn.look(order(driver=None))["unfinished"]


@pytest.mark.parametrize("fails", ["refresh", "finish", "install"])
def test_holds_that_a_killed_run_lifted_are_back_whatever_fails_then(double: Double, fails: str) -> None:
    turn.FOLDER.mkdir()
    (turn.FOLDER / turn.RELEASED).write_text('["linux-image-amd64"]')
    double.held, double.fails, double.cut_off = set(), fails, fails == "finish"
    assert "error" in turn.bring(order())
    assert double.held == {"linux-image-amd64"}
    assert notes() == {}


def test_holds_that_cant_be_put_back_stay_noted(double: Double) -> None:
    turn.FOLDER.mkdir()
    (turn.FOLDER / turn.RELEASED).write_text('["linux-image-amd64"]')
    double.held, double.fails = set(), "keep"
    assert "error" in turn.bring(order())
    assert notes() == {turn.RELEASED: ["linux-image-amd64"]}


def test_what_came_along_goes_again_and_what_was_there_stays(double: Double) -> None:
    double.builds, double.along = False, ["linux-kbuild"]
    before = double.versions()
    turn.bring(order())
    assert double.versions() == before
    double.packages[f"linux-headers-{NEW}"] = "1"
    turn.bring(order())
    assert f"linux-headers-{NEW}" in double.packages
    assert "linux-kbuild" not in double.packages


def test_what_came_along_goes_again_where_the_install_ends_half_way(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.along, before, install = ["linux-kbuild"], double.versions(), double.install

    def half_way(names: list[str], folder: Path) -> None:
        install(names, folder)
        raise PackageError("dpkg ended with an error")

    monkeypatch.setattr(double, "install", half_way)
    assert "dpkg ended with an error" in turn.bring(order())["error"]
    assert double.versions() == before


def test_modules_of_another_version_than_the_drivers_are_none(double: Double) -> None:
    double.version = "580.2"
    found = turn.bring(order())
    assert (
        f"no modules of the driver for kernel {NEW} (there are some of version 580.2, and the driver is 580.1)"
        in (found["error"])
    )
    assert "upgrade" not in double.told
    # So where they come with the kernel: it is not rebooted.
    double.held, double.next = set(), NEW
    assert "must not be" in turn.bring(order())["error"]
    # Another one's driver may have come anew along with its kernel.
    assert "error" not in turn.bring(order(driver=None))


def test_headers_of_a_killed_run_are_taken_back_before_dpkg_is_completed(double: Double) -> None:
    """Their modules may not build, and dpkg would try again each time."""
    headers = f"linux-headers-{NEW}"
    double.cut_off = True
    double.packages[headers] = "2"
    turn.FOLDER.mkdir()
    (turn.FOLDER / turn.TRIED).write_text(json.dumps([headers]))
    turn.bring(order())
    assert double.told[:2] == [f"remove {headers}", "finish"]


def test_what_was_cut_off_is_completed_first(double: Double) -> None:
    double.cut_off = True
    assert turn.look(order())["unfinished"]
    turn.bring(order())
    assert double.told[:2] == ["finish", "refresh"]


def test_a_second_run_changes_nothing(double: Double) -> None:
    turn.bring(order())
    before = double.versions()
    double.told.clear()
    found = turn.bring(order())
    assert found["changed"] == []
    assert double.versions() == before
    assert turn.look(order())["upgraded"] == []


def _hold_lock(folder: str, taken: Any) -> None:
    turn.FOLDER = Path(folder)
    with turn.locked(turn.FOLDER, 1):
        taken.set()
        multiprocessing.Event().wait(30)


def test_another_run_on_the_host_is_waited_for_and_then_named(double: Double) -> None:
    taken = multiprocessing.get_context("fork").Event()
    other = multiprocessing.get_context("fork").Process(target=_hold_lock, args=(str(turn.FOLDER), taken))
    other.start()
    try:
        assert taken.wait(10)
        assert "another run changes packages for more than 1 s" in turn.bring(order())["error"]
        assert double.told == []
    finally:
        other.kill()
        other.join()
    assert "error" not in turn.bring(order())


def test_a_damaged_note_of_lifted_holds_has_the_kernels_held_again(double: Double) -> None:
    """Which they were is not known then: `keep` holds the kernels' packages all the same."""
    turn.FOLDER.mkdir()
    (turn.FOLDER / turn.RELEASED).write_text("{")
    assert "error" not in turn.bring(order(driver=None))
    assert double.told == ["keep ", "refresh", "upgrade"]
    assert notes() == {}


class Apt:
    """A host with apt and dpkg, as far as taking packages back asks them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, ...]] = []
        self.installed = {"mine"}
        self.comes = {"headers", "kbuild"}
        self.interrupted = False
        for module in (slipway_apt, debian):
            monkeypatch.setattr(module, "run", self.run)

    def run(self, *command: str, **_: Any) -> Any:
        said = ""
        if command[0] == "dpkg-query":
            said = "".join(f"ii \t{name}\tall\n" for name in sorted(self.installed))
        elif "--simulate" in command:
            said = "".join(f"Inst {name} (1 x [all])\n" for name in sorted(self.comes - self.installed))
        elif command[:2] != ("dpkg", "--print-architecture"):
            self.told.append(command)
            if command[0] == "apt-get" and self.interrupted:
                raise PackageError("E: dpkg was interrupted, you must manually run 'dpkg --configure -a'")
            if command[:2] == ("apt-get", "install"):
                self.installed |= self.comes
            if command[:2] == ("dpkg", "--purge"):
                self.installed -= set(command)
        return subprocess.CompletedProcess(command, 0, said, "")


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Apt:
    return Apt(monkeypatch)


def test_apt_brings_headers_without_changing_what_is_held_and_takes_back_all_that_came(
    apt: Apt, tmp_path: Path
) -> None:
    host, record = debian.Debian(), tmp_path / "nvidia_headers.json"
    assert host.plan(["headers"]) == ["headers", "kbuild"]
    assert host.install(["headers"], tmp_path) == ["headers", "kbuild"]
    assert "--allow-change-held-packages" not in apt.told[0]
    assert host.plan(["headers"]) == []
    assert json.loads(record.read_text())["packages"] == ["headers", "kbuild"]
    # A run that was killed within dpkg: apt does nothing until that is completed.
    apt.interrupted = True
    host.remove(["headers", "kbuild"], tmp_path)
    assert apt.told[1:] == [("dpkg", "--purge", "--force-remove-reinstreq", "headers", "kbuild")]
    assert apt.installed == {"mine"}
    assert json.loads(record.read_text())["packages"] == []


def test_without_a_driver_of_slipways_nothing_is_held(apt: Apt, dnf: Dnf, tmp_path: Path) -> None:
    debian.Debian().keep({"mine"}, tmp_path)
    redhat.DRIVER.unlink()
    redhat.RedHat().keep({"kernel"}, tmp_path)
    assert (apt.told, dnf.told) == ([], [])


def test_dnf_tells_what_comes_along_with_headers_and_what_is_new(dnf: Dnf, monkeypatch: pytest.MonkeyPatch) -> None:
    devel = "kernel-devel-5.14.0-611.9.1.el9_7.x86_64"
    before = {"openssl-3.5.0-1.x86_64": "openssl", "kernel-devel-5.14.0-503.el9.x86_64": "kernel-devel"}
    builds = iter(
        [
            before,
            before,
            {**before, devel: "kernel-devel", "openssl-3.5.1-4.x86_64": "openssl", "bison-1-1.x86_64": "bison"},
        ]
    )
    monkeypatch.setattr(redhat, "_builds", lambda: next(builds))
    dnf.said = ASSUMED_NO.replace("kernel-core ", "kernel-devel")
    assert {devel, "libnew-1-1.el9.x86_64"} <= set(redhat.RedHat().plan([devel]))
    # An upgrade that came along stays.
    dnf.code = 0
    assert redhat.RedHat().install([devel], Path("/")) == ["bison-1-1.x86_64", devel]
