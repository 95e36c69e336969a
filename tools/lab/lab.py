"""Making, listing and removing lab hosts.

Whatever is killed, and when: `up` goes on from there, and `down` finds everything. Nothing is assumed to be as a note
says; processes, mounts and leases are looked up.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tools.lab.apt import read_distribution
from tools.lab.base import ensure_base
from tools.lab.drivers import Driver, choose
from tools.lab.drivers.nspawn import Nspawn
from tools.lab.drivers.podman import Podman
from tools.lab.errors import LabError
from tools.lab.hosts import USER, Host, HostSpec, HostStatus, Machine, Record, check_name
from tools.lab.locks import locked
from tools.lab.network import Network
from tools.lab.outer import Outer
from tools.lab.personal import host_key, personalise
from tools.lab.places import Places, make_folder
from tools.lab.ready import wait_until_ready
from tools.lab.roots import hold_in_memory, mount_root, remove_tree
from tools.lab.shell import attempt, run

Progress = Callable[[str], None]
_PATIENCE = 180.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _System:
    """What hosts of one release are made of."""

    base: Path
    outer: Outer


def _silent(_: str) -> None:
    """Tell nobody."""


class Lab:
    """The lab hosts kept in one state folder.

    Args:
        places: where things are kept; the home folder's by default.
        drivers: what may run hosts, the preferred first.
        patience: seconds a host may take to boot.
    """

    release: ClassVar[str] = ""
    """What hosts run whose specification names no release; empty for the machine's own."""

    def __init__(
        self,
        places: Places | None = None,
        drivers: Sequence[Driver] | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._places = places or Places.default()
        self._drivers = tuple(drivers or (Nspawn(), Podman()))
        self._patience = patience
        self._network = Network(self._places.run)

    def up(self, hosts: Sequence[HostSpec], progress: Progress = _silent) -> list[Host]:
        """Make and boot `hosts`, all at once, and return them when each lets its user in.

        A host that runs is left alone, a stopped one boots again with what is on it, a half-made one is made anew.

        Raises:
            LabError: a host could not be made or did not come up; the others are up all the same.
        """
        _refuse_twins(hosts)
        _need_root()
        with self._locked(progress):
            driver = choose(self._drivers)
            systems = {release: self._system(release, progress) for release in {spec.release: None for spec in hosts}}
            for note in {note: None for system in systems.values() for note in system.outer.notes}:
                progress(f"note: {note}")
            self._ensure_key()
            make_folder(self._places.uv_cache)
            with ThreadPoolExecutor(min(len(hosts), _AT_ONCE) or 1) as pool:
                futures = [pool.submit(self._up_one, spec, driver, systems[spec.release], progress) for spec in hosts]
            problems = [error for future in futures if (error := future.exception()) is not None]
            for problem in problems:
                if not isinstance(problem, LabError):
                    raise problem
            if problems:
                raise LabError("\n".join(str(problem) for problem in problems))
            return [future.result() for future in futures]

    def _system(self, release: str, progress: Progress) -> _System:
        distribution = read_distribution(release=release or self.release)
        return _System(ensure_base(self._places.cache, distribution, progress), Outer.read(distribution))

    def down(self, names: Sequence[str] | None = None, progress: Progress = _silent) -> None:
        """Remove the hosts called `names`, or all of them; with the last one goes all the lab ever made but its cache.

        A name that is not there is no error.

        Raises:
            LabError: something of a host could not be removed.
        """
        _need_root()
        with self._locked(progress):
            problems = []
            for name in self._names() if names is None else names:
                machine = self._machine(check_name(name), "")
                if machine.folder.is_dir():
                    progress(f"{name}: removing")
                    try:
                        self._remove(machine)
                    except LabError as error:
                        problems.append(f"lab host {name} is not all gone, repeat the command: {error}")
            if problems:
                raise LabError("\n".join(problems))
            if not self._names():
                self._network.tidy()
                remove_tree(self._places.state)

    def list(self) -> list[HostStatus]:
        """The hosts of this lab, running or not, by name."""
        return [self._status(name) for name in self._names()]

    def _status(self, name: str) -> HostStatus:
        machine = self._machine(name, "")
        record = Record.read(machine.folder)
        if record is None or not record.made:
            known = (record.address, record.driver) if record else ("", "")
            return HostStatus(name, known[0], "half-made", known[1], None, None)
        running = self._driver(record.driver).running(machine)
        if running is None:
            return HostStatus(name, record.address, "stopped", record.driver, None, None)
        return HostStatus(name, record.address, "running", record.driver, running.pid, running.since)

    def _names(self) -> Sequence[str]:
        return sorted(folder.name for folder in self._places.hosts.glob("*") if folder.is_dir())

    def _machine(self, name: str, address: str) -> Machine:
        return Machine(name, address, self._places.hosts / name, self._places.uv_cache)

    def _driver(self, name: str) -> Driver:
        for driver in self._drivers:
            if driver.name == name:
                return driver
        raise LabError(f"lab host made with {name}, which this lab does not know; `slipway lab down`, then repeat")

    def _up_one(self, spec: HostSpec, driver: Driver, system: _System, progress: Progress) -> Host:
        machine = self._machine(spec.name, spec.address)
        base = system.base
        record = Record.read(machine.folder)
        if record and record.made and spec.release and record.release != spec.release:
            raise LabError(
                f"lab host {spec.name} is of {record.release} and is wanted of {spec.release}; "
                f"`slipway lab down {spec.name}` throws it away, then repeat"
            )
        running = record and record.made and self._driver(record.driver).running(machine)
        if record and running and record.address != spec.address:
            raise LabError(
                f"lab host {spec.name} runs at {record.address} and is wanted at {spec.address}; "
                f"`slipway lab down {spec.name}` throws it away, then repeat"
            )
        if record and running:
            progress(f"{spec.name}: runs already")
            return self._ready(machine, self._driver(record.driver))
        kept_base = self._places.cache / "base" / record.base if record else base
        # One that was in memory is gone with the machine's last boot.
        kept = record and record.made and (machine.system / "root").is_dir()
        if record and kept and record.address == spec.address and kept_base.is_dir():
            driver, base = self._driver(record.driver), kept_base
            progress(f"{spec.name}: booting again")
            mount_root(base, machine.system)
        else:
            progress(f"{spec.name}: making")
            self._make(machine, driver, base, system.outer)
        self._network.join(spec.name, spec.address, machine.folder)
        driver.start(machine, base)
        host = self._ready(machine, driver)
        progress(f"{spec.name}: ready at {spec.address}")
        return host

    def _make(self, machine: Machine, driver: Driver, base: Path, outer: Outer) -> None:
        if machine.folder.is_dir():
            self._remove(machine)
        make_folder(machine.folder)
        record = Record(machine.address, driver.name, base.name, made=False)
        record.write(machine.folder)
        make_folder(machine.system, 0o700)
        os.chown(machine.system, 0, 0)
        if self._places.memory:
            hold_in_memory(machine.system, self._places.memory)
        driver.create(machine, base)
        personalise(machine, self._places.key.with_suffix(".pub").read_text(), outer)
        self._forget_host_key(machine.name, machine.address)
        Record(machine.address, driver.name, base.name, made=True).write(machine.folder)

    def _ready(self, machine: Machine, driver: Driver) -> Host:
        key = host_key(machine)
        wait_until_ready(machine, key, self._places, lambda: driver.running(machine) is not None, self._patience)
        return Host(machine.name, machine.address, 22, USER, self._places.key, key)

    def _remove(self, machine: Machine) -> None:
        record = Record.read(machine.folder)
        if record:
            # Cut off halfway, it must not pass for a host that only needs to boot.
            replace(record, made=False).write(machine.folder)
        drivers = [self._driver(record.driver)] if record else self._drivers
        for driver in drivers:
            driver.stop(machine)
        for driver in drivers:
            driver.destroy(machine)
        remove_tree(machine.system)
        if record:
            self._forget_host_key(machine.name, record.address)
        self._network.leave(machine.name, machine.folder)
        # Last, with the record in it: a removal that is cut off can be repeated.
        remove_tree(machine.folder)

    def _forget_host_key(self, *addresses: str) -> None:
        """Take a host that is no more out of the clients' memory; its successor has another key."""
        file = self._places.known_hosts
        if not file.is_file():
            return
        owner, mode = file.stat(), file.stat().st_mode & 0o777
        for address in addresses:
            if attempt("ssh-keygen", "-F", address, "-f", str(file)).returncode == 0:
                run("ssh-keygen", "-R", address, "-f", str(file))
                file.with_name(f"{file.name}.old").unlink(missing_ok=True)
        os.chown(file, owner.st_uid, owner.st_gid)
        file.chmod(mode)

    def _ensure_key(self) -> None:
        make_folder(self._places.state)
        key, public = self._places.key, self._places.key.with_suffix(".pub")
        if key.is_file() and public.is_file():
            return
        making = self._places.state / ".key"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "slipway-lab", "-f", str(making / "key"))
        owner = self._places.state.stat()
        # The private half last: where it is, both are.
        for made, name in ((making / "key.pub", public), (making / "key", key)):
            os.chown(made, owner.st_uid, owner.st_gid)
            made.replace(name)
        making.rmdir()

    @contextmanager
    def _locked(self, progress: Progress) -> Iterator[None]:
        digest = hashlib.sha256(str(self._places.state).encode()).hexdigest()[:12]
        file = self._places.run.with_name(f"{self._places.run.name}-{digest}.lock")
        with locked(file, lambda: progress("waiting for another command that makes or removes lab hosts")):
            yield


def _refuse_twins(hosts: Sequence[HostSpec]) -> None:
    for attribute in ("name", "address"):
        values = [getattr(host, attribute) for host in hosts]
        twin = next((value for value in values if values.count(value) > 1), None)
        if twin is not None:
            raise LabError(f"two lab hosts have the {attribute} {twin}; each needs its own")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("lab hosts need root: mounts, network devices and first processes; repeat the command with sudo")
