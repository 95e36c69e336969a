"""Which driver is taken, what is said when there is none, and the command lines."""

import resource
import shutil
from pathlib import Path

import pytest

from tools.lab import LabError, cgroups
from tools.lab.drivers import Driver, choose
from tools.lab.drivers.nspawn import Nspawn
from tools.lab.drivers.podman import Podman
from tools.lab.hosts import Machine

MACHINE = Machine("engine-1", "10.213.77.2", Path("/state/hosts/engine-1"), Path("/cache/u:v"))


def _installed(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool, path="": None if tool in missing else f"/usr/bin/{tool}")


def test_nspawn_is_preferred_and_podman_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers: list[Driver] = [Nspawn(), Podman()]
    _installed(monkeypatch)
    assert choose(drivers).name == "nspawn"
    _installed(monkeypatch, "systemd-nspawn")
    assert choose(drivers).name == "podman"


def test_with_neither_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, "systemd-nspawn", "podman", "debootstrap")
    with pytest.raises(LabError) as caught:
        choose([Nspawn(), Podman()])
    message = str(caught.value)
    assert "nspawn: no systemd-nspawn, debootstrap (`apt-get install debootstrap systemd-container`)" in message
    assert "podman: no podman, debootstrap (`apt-get install debootstrap podman`)" in message
    assert "hosts of your own" in message
    assert "\n" not in message


def test_podman_needs_runc_beside_cgroup_v1(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, "runc")
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    assert "apt-get install runc" in (Podman().why_unusable() or "")
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    assert Podman().why_unusable() is None


def test_nspawn_on_a_machine_with_systemd_runs_in_a_scope(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tools.lab.drivers.nspawn._WITH_SYSTEMD", tmp_path)
    command = Nspawn().command(MACHINE)
    assert command[:2] == ["systemd-run", "--scope"]
    assert "--property=Delegate=yes" in command
    assert "--directory=/state/hosts/engine-1/system/root" in command
    assert r"--bind=/cache/u\:v:/var/cache/slipway-uv" in command


def test_podman_keeps_to_a_store_of_the_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    command = Podman().command(MACHINE)
    assert command[:3] == [
        "podman",
        "--root=/state/hosts/engine-1/system/store",
        "--runroot=/run/slipway-lab-podman-engine-1/run",
    ]
    assert "--runtime=runc" not in command
    assert "--network=ns:/run/netns/slipway-engine-1" in command
    assert command[-4:] == [
        "--rootfs",
        "/state/hosts/engine-1/system/root",
        "/lib/systemd/systemd",
        "systemd.show_status=1",
    ]
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    assert {"--runtime=runc", "--cgroup-parent=/slipway-lab-engine-1"} <= set(Podman().command(MACHINE))


@pytest.mark.parametrize(("capabilities", "limits"), [("000001ffffffffff", 0), ("000001fffeffffff", 2)])
def test_limits_only_where_root_may_not_raise_them(
    monkeypatch: pytest.MonkeyPatch, capabilities: str, limits: int
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"Name:\tx\nCapEff:\t{capabilities}\nCapBnd:\t0\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20000))
    command = Podman().command(MACHINE)
    assert len([argument for argument in command if argument.startswith("--ulimit=")]) == limits
