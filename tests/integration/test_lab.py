"""The lab on this machine: real hosts, real kills, and nothing left behind.

Names and addresses are the tests' own, so that they run beside a lab in use. The base system comes from the cache.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tools.lab import Host, HostSpec, Lab, LabError, Places
from tools.lab.drivers import Driver
from tools.lab.drivers.nspawn import Nspawn
from tools.lab.drivers.podman import Podman
from tools.lab.hosts import Machine
from tools.lab.roots import mounts_below, unmount_below

ONE = HostSpec("test-lab-1", "10.213.77.221")
TWO = HostSpec("test-lab-with-a-long-name-2", "10.213.77.222")
NSPAWN, PODMAN = Nspawn(), Podman()
DRIVERS: dict[str, Driver] = {"nspawn": NSPAWN, "podman": PODMAN}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    default = Places.default()
    # A comma and a colon: overlayfs and the shell of the keeper must not stumble over a user's folder names.
    return Places(tmp_path / "a, b" / "lab", default.cache, default.uv_cache, tmp_path / "known_hosts")


@pytest.fixture
def lab(places: Places) -> Iterator[Lab]:
    before = _traces(places)
    lab = Lab(places, patience=90)
    try:
        yield lab
    finally:
        lab.down()
        assert lab.list() == []
        after = _traces(places)
        # Where another lab came or went meanwhile, the bridge tells nothing.
        common = before.keys() & after.keys()
        assert {key: after[key] for key in common} == {key: before[key] for key in common}


def _traces(places: Places) -> dict[str, object]:
    """All that hosts of these tests could leave behind."""
    names = ["test-lab-1", Machine(TWO.name, "", Path(), Path()).identity]
    links = [link["ifname"] for link in json.loads(_output("ip", "-json", "link"))]
    entries = [str(path) for folder in ("/run", "/run/netns") for path in Path(folder).glob("slipway-*")]
    entries += [str(path) for path in Path("/run/systemd/nspawn").glob("*/*") if path.name in names]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("**/slipway-lab-*")]
    others = any(path.name not in {ONE.name, TWO.name} for path in Path("/run/slipway-lab/leases").glob("*"))
    traces: dict[str, object] = {
        "processes": [
            process.cmdline()
            for process in psutil.process_iter()
            if any(str(places.state) in argument for argument in _arguments(process)) and process.pid != os.getpid()
        ],
        "mounts": mounts_below(places.state),
        "links": [link for link in links if any(name in link for name in names)],
        "state": places.state.exists(),
        "named": [entry for entry in (*entries, *groups) if any(name in entry for name in names)],
        "forward": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }
    if not others:
        traces["bridge"] = "slipway0" in links
        traces["tables"] = "slipway_lab" in _output("nft", "list", "tables")
        traces["run"] = entries
    return traces


def _arguments(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _ssh(host: Host, command: str, *, check: bool = True) -> str:
    known = host.key_file.parent / "test_known_hosts"
    known.write_text(f"{host.address} {host.host_key}\n")
    options = ["BatchMode=yes", f'UserKnownHostsFile="{known}"', "StrictHostKeyChecking=yes", "ConnectTimeout=5"]
    done = subprocess.run(
        [
            *("ssh", "-F", "none", "-i", str(host.key_file), *(f"-o{option}" for option in options)),
            *(f"{host.user}@{host.address}", command),
        ],
        check=check,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("driver", DRIVERS)
def test_two_hosts_live_reboot_and_go(lab: Lab, places: Places, driver: str) -> None:
    lab = Lab(places, [DRIVERS[driver]], patience=90)
    said: list[str] = []
    one, two = lab.up([ONE, TWO], said.append)
    assert [_ssh(host, "hostname") for host in (one, two)] == [ONE.name, TWO.name]
    assert one.host_key != two.host_key
    assert len({_ssh(host, "cat /etc/machine-id") for host in (one, two)}) == 2
    assert _ssh(one, "sudo systemctl --failed --no-legend") == ""
    assert (
        _ssh(
            one,
            f"ping -c1 -W5 {two.address} >/dev/null 2>&1 || python3 -c 'import socket; "
            f'socket.create_connection(("{two.address}", 22), 5)\'; echo $?',
        )
        == "0"
    )
    # A service that stops takes its children with it, though its twin runs on the other host: no group is shared.
    for host in (one, two):
        _ssh(host, "sudo systemd-run --quiet --unit=twin sh -c 'sleep 1000 & sleep 1001'")
    _ssh(two, "sudo systemctl stop twin")
    assert _ssh(two, "systemctl is-active twin; pgrep -x sleep", check=False) == "inactive"
    assert _ssh(one, "systemctl is-active twin; pgrep -cx sleep") == "active\n2"

    before = {status.name: status for status in lab.list()}
    assert {status.state for status in before.values()} == {"running"}
    assert {status.driver for status in before.values()} == {driver}
    assert lab.up([ONE, TWO], said.append) == [one, two]
    assert {status.name: status for status in lab.list()} == before

    _ssh(one, "echo kept | sudo tee /etc/kept")
    _reboot(one)
    assert _ssh(one, "cat /etc/kept") == "kept"

    lab.down([ONE.name])
    lab.down([ONE.name])
    assert [status.name for status in lab.list()] == [TWO.name]
    assert _ssh(two, "hostname") == TWO.name


def test_the_outside_answers_from_inside(lab: Lab) -> None:
    (host,) = lab.up([ONE])
    assert "Err:" not in _ssh(host, "sudo apt-get update")
    _ssh(host, "sudo python3 -m venv /opt/probe && sudo /opt/probe/bin/pip --quiet download --no-deps idna")


def test_a_reboot_changes_the_boot_id(lab: Lab) -> None:
    (host,) = lab.up([ONE])
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = _ssh(host, boot_id)
    _reboot(host)
    assert _ssh(host, boot_id) != before


def _reboot(host: Host) -> None:
    """Reboot from inside, and wait without `up`: nobody but the host's keeper may bring it back."""
    started = "cut -d' ' -f22 /proc/1/stat"
    before = _ssh(host, started)
    _ssh(host, "sudo systemctl reboot", check=False)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        after = _ssh(host, f"systemctl is-system-running --wait >&2; {started}", check=False)
        if after not in {"", before}:
            return
        time.sleep(0.2)
    raise AssertionError(f"{host.name} did not come back")


def test_a_killed_host_boots_again_with_what_was_on_it(lab: Lab) -> None:
    (host,) = lab.up([ONE])
    _ssh(host, "echo kept | sudo tee /etc/kept; sync")
    before = lab.list()[0].pid
    _kill(lab)
    (again,) = lab.up([ONE])
    assert again == host
    assert _ssh(host, "cat /etc/kept") == "kept"
    assert lab.list()[0].pid != before


def test_a_host_in_memory_boots_again_and_is_made_anew_after_the_machine_has(lab: Lab, places: Places) -> None:
    """The fixture sees that none of its mounts stays."""
    lab = Lab(replace(places, memory="1G"), patience=90)
    (host,) = lab.up([ONE])
    system = places.hosts / ONE.name / "system"
    assert _output("findmnt", "--noheadings", "--output", "FSTYPE", str(system)).strip() == "tmpfs"
    _ssh(host, "echo kept | sudo tee /etc/kept")
    _kill(lab)
    lab.up([ONE])
    assert _ssh(host, "cat /etc/kept") == "kept"
    _kill(lab)
    unmount_below(system)
    assert list(system.iterdir()) == []
    (anew,) = lab.up([ONE])
    assert _ssh(anew, "hostname; cat /etc/kept", check=False) == ONE.name


def _kill(lab: Lab) -> None:
    (status,) = lab.list()
    assert status.pid
    os.kill(status.pid, signal.SIGKILL)
    psutil.wait_procs([process for process in [_process(status.pid)] if process], timeout=10)


def _process(pid: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
    return None


_CRASH = """
import os, signal, sys
from pathlib import Path
from tools.lab import HostSpec, Lab, Places
from tools.lab.drivers.nspawn import Nspawn

def die(): os.kill(os.getpid(), signal.SIGKILL)

class Crashing(Nspawn):
    def create(self, machine, base):
        if sys.argv[1] == "before the file system": die()
        super().create(machine, base)
        if sys.argv[1] == "after the file system": die()
    def start(self, machine, base):
        if sys.argv[1] == "before the boot": die()
        super().start(machine, base)
        if sys.argv[1] == "after the boot": die()
    def destroy(self, machine):
        super().destroy(machine)
        if sys.argv[1] == "while removing": die()

places = Places(*(Path(path) for path in sys.argv[2:6]))
lab = Lab(places, [Crashing()])
lab.up([HostSpec("test-lab-1", "10.213.77.221")])
lab.down()
"""
POINTS = ("before the file system", "after the file system", "before the boot", "after the boot", "while removing")


@pytest.mark.parametrize("then", ["up", "down"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_it_goes_on(lab: Lab, places: Places, point: str, then: str) -> None:
    folders = [str(path) for path in (places.state, places.cache, places.uv_cache, places.known_hosts)]
    crashed = subprocess.run([sys.executable, "-c", _CRASH, point, *folders], check=False, cwd="/", timeout=120)
    assert crashed.returncode == -signal.SIGKILL
    assert [status.name for status in lab.list()] == [ONE.name]
    if then == "up":
        (host,) = lab.up([ONE])
        assert _ssh(host, "hostname") == ONE.name
    # Else the fixture takes it down, and looks for traces.


def test_two_commands_at_once_take_turns(lab: Lab, places: Places) -> None:
    code = (
        "import sys; from pathlib import Path; from tools.lab import HostSpec, Lab, Places\n"
        "Lab(Places(*(Path(path) for path in sys.argv[1:5]))).up([HostSpec(sys.argv[5], sys.argv[6])])"
    )
    folders = [str(path) for path in (places.state, places.cache, places.uv_cache, places.known_hosts)]
    commands = [
        subprocess.Popen([sys.executable, "-c", code, *folders, spec.name, spec.address], cwd="/")
        for spec in (ONE, TWO)
    ]
    assert [command.wait(120) for command in commands] == [0, 0]
    assert [status.state for status in lab.list()] == ["running", "running"]


def test_a_remade_host_is_forgotten_by_its_clients(lab: Lab, places: Places) -> None:
    places.known_hosts.write_text(f"{ONE.address} ssh-ed25519 AAAAC3Nza\n{TWO.address} ssh-ed25519 AAAAC3Nzb\n")
    lab.up([ONE])
    assert places.known_hosts.read_text() == f"{TWO.address} ssh-ed25519 AAAAC3Nzb\n"
    assert [path.name for path in places.known_hosts.parent.glob("known_hosts*")] == ["known_hosts"]


def test_another_labs_host_keeps_its_name_address_and_bridge(lab: Lab, places: Places, tmp_path: Path) -> None:
    other = Lab(Places(tmp_path / "other", places.cache, places.uv_cache, places.known_hosts), patience=90)
    try:
        (theirs,) = other.up([TWO])
        with pytest.raises(LabError, match=r"10\.213\.77\.222 runs on this machine already"):
            lab.up([HostSpec("test-lab-1", TWO.address)])
        lab.down()
        assert _ssh(theirs, "hostname") == TWO.name
    finally:
        other.down()


def test_without_overlays_a_host_is_a_copy(lab: Lab, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.lab.roots._mount", lambda *_: "unknown filesystem type 'overlay'")
    (host,) = lab.up([ONE])
    assert _ssh(host, "hostname") == ONE.name
    assert mounts_below(places.state) == []


def test_a_moved_host_is_refused_while_it_runs(lab: Lab) -> None:
    lab.up([ONE])
    with pytest.raises(LabError, match=r"runs at 10\.213\.77\.221 and is wanted at 10\.213\.77\.223"):
        lab.up([HostSpec(ONE.name, "10.213.77.223")])


def test_a_host_that_does_not_boot_says_its_last_words(places: Places) -> None:
    class Dead(Nspawn):
        def command(self, machine: Machine) -> list[str]:
            return ["/bin/sh", "-c", "echo a kernel of despair; exit 7", f"--directory={machine.root}"]

    driver: Driver = Dead()
    lab = Lab(places, [driver], patience=30)
    try:
        with pytest.raises(LabError, match=r"(?s)test-lab-1 ended while booting.*a kernel of despair"):
            lab.up([ONE])
        assert [status.state for status in lab.list()] == ["stopped"]
    finally:
        lab.down()
    assert not places.state.exists()
