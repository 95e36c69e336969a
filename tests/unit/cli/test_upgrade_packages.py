"""`slipway upgrade --packages` with doubles of Pulumi's engine and of the hosts: when packages come, and where it stops."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import packages
from cli.errors import UserError
from cli.packages import Packages
from cli.remote import RemoteError
from slipway.deployment.types import Deployment, Machine
from slipway.upgrade.plan import plan
from tests.unit.cli.test_upgrade import B_THEN_A, double, run  # noqa: F401 -- a fixture
from tests.unit.cli.test_upgrade import Double as Stack
from tests.unit.upgrade.stacks import on_gpus, seen, urn

NOTHING: dict[str, Any] = {
    "upgraded": [], "new": [], "removed": [], "kernels": [], "unfinished": False, "role_due": False, "reboot": "", "age_s": 5,
}  # fmt: skip


class Hosts:
    """What hosts answer of their packages."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.due = {"a": ["openssl"], "b": ["openssl", "libc6"]}
        self.kernels: dict[str, list[str]] = {}
        self.wants_reboot: set[str] = set()
        """Hosts on which it shows that a reboot is due once all is brought."""
        self.fails: set[str] = set()
        self.silent = 0
        """How often a host does not answer after a reboot."""
        self.boots: dict[str, int] = {}
        self.driver: set[str] = set()
        """Hosts with a driver of Slipway's, whose role a new kernel needs."""
        self.role_due: set[str] = set()
        self.runs = "1"

    def asked(
        self,
        _: Deployment,
        machine: Machine,
        __: Path,
        call: str,
        order: dict[str, Any],
        *,
        timeout_s: float,
        beside: Sequence[str],
    ) -> dict[str, Any]:
        name, what = machine.name, call.rpartition(".")[2]
        assert call == f"system_packages.turn.{what}"
        assert timeout_s > 0
        assert "slipway_apt" in beside
        if what == "look":
            reboot = (
                f"kernel {self.kernels[name][0]} waits" if name in self.wants_reboot and not self.due.get(name) else ""
            )
            due, new = self.due.get(name, []), self.kernels.get(name, []) if self.due.get(name) else []
            return {
                **NOTHING,
                "upgraded": due,
                "kernels": new,
                "reboot": reboot,
                "role_due": name in self.role_due,
                "age_s": 5 if order["fresh"] else 90000,
            }
        if what == "running":
            if self.silent:
                self.silent -= 1
                raise RemoteError("no answer")
            return {"boot_id": self.boots.get(name, 0), "kernel": self.runs, "reboot": ""}
        if what == "role_ran":
            self.role_due.discard(name)
            return {}
        self.stack._note(f"{what} {name}")
        if what == "reboot":
            self.boots[name] = self.boots.get(name, 0) + 1
            self.stack.marks.pop(name, None)
            self.stack.out.discard(name)
            self.wants_reboot.discard(name)
            return {"boot_id": self.boots[name] - 1}
        if name in self.fails:
            return {"error": "apt-get dist-upgrade failed: E: …"}
        changed = self.due.pop(name, [])
        kernel = next(iter(self.kernels.get(name, [])), "") if changed else ""
        self.role_due |= {name} & self.driver if kernel else set()
        return {
            "changed": changed,
            "kernel": kernel,
            "role_due": name in self.role_due,
            "reboot": "due" if kernel or name in self.wants_reboot else "",
            "seconds": 1,
        }


@pytest.fixture
def hosts(double: Stack, monkeypatch: pytest.MonkeyPatch) -> Hosts:  # noqa: F811
    made = Hosts(double)
    monkeypatch.setattr(packages, "asked", made.asked)
    monkeypatch.setattr(packages, "_EVERY_S", 0)
    return made


def told(hosts: Hosts) -> list[str]:
    return hosts.stack.told


def test_packages_come_once_a_host_is_drained_and_before_its_own_change(hosts: Hosts, tmp_path: Path) -> None:
    run(tmp_path, packages=True)
    assert told(hosts) == [
        *("drain b", "bring b", "up b/m b/vacate a/acceptance", "start b", "end b"),
        *("drain a", "bring a", "up a/m a/vacate a/acceptance", "start a", "end a"),
        "up all",
    ]


def test_without_the_option_no_host_is_asked_for_packages(hosts: Hosts, tmp_path: Path) -> None:
    run(tmp_path)
    assert told(hosts) == [*B_THEN_A, "up all"]
    assert hosts.due.keys() == {"a", "b"}


def test_a_preview_fetches_no_lists_and_says_what_would_change(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.kernels["b"] = ["2"]
    run(tmp_path, packages=True, preview=True)
    said = capsys.readouterr().out
    assert "1. b: m; packages: 2 packages; kernel 2; by lists of 1 d ago\n" in said
    assert "; reboots\n" in said
    assert told(hosts) == []


def test_a_host_without_pending_packages_and_changes_is_passed_over(hosts: Hosts, tmp_path: Path) -> None:
    hosts.stack.due, hosts.due = set(), {"b": ["openssl"]}
    run(tmp_path, packages=True)
    assert told(hosts) == ["drain b", "bring b", "start b", "up a/acceptance", "end b"]
    hosts.stack.told.clear()
    run(tmp_path, packages=True)
    assert told(hosts) == []


def test_a_host_that_reboots_is_drained_again_before_its_own_change(hosts: Hosts, tmp_path: Path) -> None:
    hosts.kernels["b"], hosts.runs, hosts.silent = ["2"], "2", 3
    run(tmp_path, packages=True, hosts=["b"])
    assert told(hosts)[:5] == ["drain b", "bring b", "reboot b", "drain b", "up b/m b/vacate a/acceptance"]
    assert hosts.stack.marks == {}


def test_a_reboot_that_nobody_foresaw_waits_for_leave_where_it_takes_the_front_along(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.wants_reboot, hosts.stack.due = {"a", "b"}, set()
    hosts.kernels = {}
    run(tmp_path, packages=True, as_json=True)
    assert [each for each in told(hosts) if each.startswith("reboot")] == ["reboot b"]
    said = capsys.readouterr()
    assert "a is still to be rebooted: due" in said.err
    brought = {
        each["host"]: each["packages"]["brought"] for group in json.loads(said.out)["order"] for each in group["hosts"]
    }
    assert (brought["a"]["rebooted"], brought["a"]["reboot_due"]) == (False, "due")
    assert (brought["b"]["rebooted"], brought["b"]["reboot_due"], brought["b"]["changed"]) == (
        True,
        None,
        ["openssl", "libc6"],
    )


def test_with_leave_it_reboots(hosts: Hosts, tmp_path: Path) -> None:
    hosts.wants_reboot, hosts.stack.due = {"a"}, set()
    run(tmp_path, packages=True, allow_outage=True)
    assert "reboot a" in told(hosts)


def test_a_reboot_that_is_foreseen_needs_leave_before_anything(hosts: Hosts, tmp_path: Path) -> None:
    hosts.kernels["a"] = ["2"]
    with pytest.raises(UserError, match="nothing was touched: nobody would answer for gateway litellm"):
        run(tmp_path, packages=True)
    assert told(hosts) == []


def test_packages_that_fail_leave_the_host_out_of_service_and_not_rebooted(hosts: Hosts, tmp_path: Path) -> None:
    hosts.fails, hosts.kernels["b"] = {"b"}, ["2"]
    with pytest.raises(UserError) as stopped:
        run(tmp_path, packages=True)
    assert str(stopped.value).startswith("b: the packages failed: b: apt-get dist-upgrade failed: E: …\n")
    assert "b stays out of service" in str(stopped.value)
    assert "`slipway upgrade s --packages` goes on at b" in str(stopped.value)
    assert told(hosts) == ["drain b", "bring b"]
    assert hosts.stack.marks.keys() == {"b"}
    # Both ways on.
    hosts.stack.told.clear()
    hosts.fails, hosts.runs = set(), "2"
    run(tmp_path, packages=True)
    assert told(hosts)[:3] == ["drain b", "bring b", "reboot b"]


def test_back_is_a_run_without_packages(hosts: Hosts, tmp_path: Path) -> None:
    hosts.fails, hosts.stack.due = {"b"}, set()
    with pytest.raises(UserError):
        run(tmp_path, packages=True)
    hosts.stack.told.clear()
    run(tmp_path)
    assert told(hosts) == ["drain b", "start b", "up a/acceptance", "end b"]
    assert hosts.stack.marks == {}


def test_a_host_that_boots_its_old_kernel_again_is_told(hosts: Hosts, tmp_path: Path) -> None:
    hosts.kernels["b"], hosts.runs = ["2"], "1"
    with pytest.raises(
        UserError, match=r"b was rebooted for kernel 2, and runs 1: see what its boot loader takes"
    ) as stopped:
        run(tmp_path, packages=True)
    # Mark and timer are gone with the boot.
    assert str(stopped.value).startswith("b: the reboot failed: ")
    assert "stays out of service" not in str(stopped.value)
    assert "what b has runs as after each boot" in str(stopped.value)


def test_a_host_that_is_drained_again_after_its_reboot_stays_out_where_its_change_fails(
    hosts: Hosts, tmp_path: Path
) -> None:
    hosts.kernels["b"], hosts.runs, hosts.stack.fails = ["2"], "2", {"b/m"}
    with pytest.raises(UserError, match="b stays out of service"):
        run(tmp_path, packages=True)


def test_hosts_that_were_not_asked_for_are_not_asked(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*given: Any, **more: Any) -> dict[str, Any]:
        return {"error": "known not to build"} if given[1].name == "a" else hosts.asked(*given, **more)

    monkeypatch.setattr(packages, "asked", asked)
    run(tmp_path, packages=True, hosts=["b"])
    assert told(hosts)[:2] == ["drain b", "bring b"]


def test_a_reboot_that_was_put_off_stops_no_later_run(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.stack.due, hosts.wants_reboot, hosts.kernels = set(), {"a"}, {"a": ["2"]}
    hosts.due.pop("a")
    run(tmp_path, packages=True)
    assert "put off: a is to be rebooted (kernel 2 waits)" in capsys.readouterr().out
    assert told(hosts)[:2] == ["drain b", "bring b"]
    assert "reboot a" not in told(hosts)


def test_an_interrupted_run_says_how_it_goes_on(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(what: str) -> None:
        if what == "bring b":
            raise KeyboardInterrupt

    hosts.stack.breaks = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, packages=True)
    assert "`slipway upgrade s --packages` goes on with it" in capsys.readouterr().out


def test_a_host_that_does_not_come_back_is_told(hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.kernels["b"], hosts.silent = ["2"], 10
    monkeypatch.setattr(packages, "REBOOT_S", 0)
    with pytest.raises(UserError, match="b did not come back from its reboot within 0 min"):
        run(tmp_path, packages=True)


@pytest.mark.parametrize(
    "at", ["drain b", "bring b", "reboot b", "up b/m b/vacate a/acceptance", "start b", "end b", "bring a"]
)
def test_killed_anywhere_it_converges(hosts: Hosts, tmp_path: Path, at: str) -> None:
    class Killed(BaseException):
        pass

    def kill(what: str) -> None:
        if what == at:
            raise Killed

    hosts.kernels["b"], hosts.runs = ["2"], "2"
    hosts.stack.breaks = kill
    with pytest.raises(Killed):
        run(tmp_path, packages=True)
    hosts.stack.breaks = lambda _: None
    run(tmp_path, packages=True)
    assert (hosts.due, hosts.stack.due, hosts.stack.marks, hosts.stack.out) == ({}, set(), {}, set())
    hosts.stack.told.clear()
    run(tmp_path, packages=True)
    assert told(hosts) == []


def test_a_host_whose_packages_cant_be_told_stops_it_before_anything(hosts: Hosts, tmp_path: Path) -> None:
    asked = hosts.asked

    def refuses(*given: Any, **more: Any) -> dict[str, Any]:
        return {"error": "known not to build"} if given[3].endswith("look") else asked(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "asked", refuses)
        with pytest.raises(UserError, match="nothing was touched: a: known not to build"):
            run(tmp_path, packages=True)
    assert told(hosts) == []


def test_the_drivers_role_runs_again_after_a_new_kernel(hosts: Hosts, root: Path) -> None:
    stack = on_gpus()
    ran: list[tuple[list[str], bool]] = []

    class Pulumi:
        def resources(self) -> dict[str, Any]:
            return {urn(key): {} for key in ("a/driver", "b/driver", "a/m")}

        def up(self, *, to_stderr: bool, targets: Sequence[str], refresh: bool) -> None:
            assert to_stderr
            ran.append((list(targets), refresh))

    for new, expected in (["2"], [([urn("a/driver")], True)]), ([], []):
        hosts.due["a"], hosts.kernels["a"], hosts.runs, hosts.driver = ["linux-image-amd64"], new, "2", {"a"}
        carried = Packages(stack, root, ["a"])
        pending = carried.pending([stack.machines["a"]], fresh=True)
        (group,) = plan(stack, [], seen(stack, packages=pending)).groups
        brought = dict(carried.turn(group, Pulumi(), allow_outage=False, to_stderr=True))  # type: ignore[arg-type]
        assert brought["a"].rebooted == bool(new)
        assert ran == expected
        ran.clear()


def test_the_drivers_role_runs_also_where_the_kernel_came_in_a_run_that_was_killed(hosts: Hosts, root: Path) -> None:
    stack = on_gpus()
    ran: list[Sequence[str]] = []

    class Pulumi:
        def resources(self) -> dict[str, Any]:
            return {urn(key): {} for key in ("a/driver", "a/m")}

        def up(self, *, targets: Sequence[str], **_: Any) -> None:
            ran.append(targets)
            if len(ran) == 1:
                raise UserError("the role failed")

    hosts.due, hosts.role_due = {}, {"a"}
    carried = Packages(stack, root, ["a"])
    for runs in (1, 2):
        pending = carried.pending([stack.machines["a"]], fresh=True)
        assert pending["a"].kernels == ()
        (group,) = plan(stack, [], seen(stack, packages=pending)).groups
        with contextlib.suppress(UserError):
            dict(carried.turn(group, Pulumi(), allow_outage=False, to_stderr=True))  # type: ignore[arg-type]
        assert ran == [[urn("a/driver")]] * runs
    assert carried.pending([stack.machines["a"]], fresh=True) == {}


def test_a_driver_that_is_still_to_come_is_none_of_the_hosts_and_brings_no_up_of_the_whole(
    hosts: Hosts, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = on_gpus()
    given: list[Any] = []

    class Pulumi:
        def resources(self) -> dict[str, Any]:
            return {urn("a/m"): {}}

        def up(self, **_: Any) -> None:
            raise AssertionError("an `up` without a target is one of the whole stack")

    def asked(*told: Any, **more: Any) -> dict[str, Any]:
        given.append(told[4]["driver"])
        return hosts.asked(*told, **more)

    monkeypatch.setattr(packages, "asked", asked)
    hosts.due["a"], hosts.kernels["a"], hosts.runs = ["linux-image-amd64"], ["2"], "2"
    carried = Packages(stack, root, [])
    pending = carried.pending([stack.machines["a"]], fresh=True)
    (group,) = plan(stack, [], seen(stack, packages=pending)).groups
    brought = dict(carried.turn(group, Pulumi(), allow_outage=False, to_stderr=True))  # type: ignore[arg-type]
    assert brought["a"].rebooted
    assert set(given) == {None}


def test_the_replicas_only_host_needs_leave(hosts: Hosts, tmp_path: Path) -> None:
    file = tmp_path / "stacks/Pulumi.s.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"]["slipway:platform"]["models"]["m"]["replicas"] = 1
    file.write_text(yaml.safe_dump(document))
    hosts.stack.due, hosts.due = set(), {"a": ["openssl"]}
    with pytest.raises(UserError, match="nobody would answer for model m while a changes"):
        run(tmp_path, packages=True)
    assert told(hosts) == []
