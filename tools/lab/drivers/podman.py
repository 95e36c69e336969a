"""Hosts in podman, from the same base system and without any image or registry, for machines that lack nspawn.

podman's store and its network are not used: the containers live in a store of the lab's own, and the cable to the
lab's bridge is laid by hand, so that `down` leaves podman as it was. Differences to nspawn: a reboot is a restart of
the container by podman, and the boot id stays the kernel's.
"""

import contextlib
import resource
import shutil
from pathlib import Path

from tools.lab import cgroups
from tools.lab.drivers import missing_tools
from tools.lab.hosts import Machine
from tools.lab.network import BRIDGE
from tools.lab.outer import UV_CACHE
from tools.lab.processes import Running, kill, processes_naming, running, wait
from tools.lab.roots import make_root, mount_root, remove_tree
from tools.lab.shell import PATH, attempt, run

# What systemd and the services on a host need, near to what nspawn grants.
_CAPABILITIES = (
    *("AUDIT_CONTROL", "AUDIT_WRITE", "DAC_READ_SEARCH", "IPC_OWNER", "LEASE", "LINUX_IMMUTABLE", "MKNOD"),
    *("NET_ADMIN", "NET_BROADCAST", "NET_RAW", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_PTRACE", "SYS_TTY_CONFIG"),
)
_CAP_SYS_RESOURCE = 24
_UNLIMITED_ENOUGH = 4096
_NETNS = Path("/run/netns")


class Podman:
    """Runs hosts as podman containers with systemd as their first process."""

    name = "podman"

    def why_unusable(self) -> str | None:
        """What this machine lacks and how to install it; None if nothing."""
        reason = missing_tools(podman="podman")
        if reason is None and cgroups.hybrid() and shutil.which("runc", path=PATH) is None:
            return "crun refuses this machine's mix of cgroup v1 and v2, and there is no runc (`apt-get install runc`)"
        return reason

    def create(self, machine: Machine, base: Path) -> None:
        """Make the host's root folder from `base` and have it in place."""
        make_root(base, machine.system)

    def start(self, machine: Machine, base: Path) -> None:
        """Boot the host; does not wait for it."""
        mount_root(base, machine.system)
        self._remove_container(machine)
        self._lay_cable(machine)
        run(*self.command(machine), timeout=120)

    def command(self, machine: Machine) -> list[str]:
        """The command line that boots a host."""
        return [
            *self._podman(machine),
            "run",
            "--detach",
            f"--name={machine.identity}",
            "--restart=always",
            "--systemd=always",
            f"--network=ns:{_NETNS / _namespace(machine)}",
            "--uts=private",
            f"--hostname={machine.name}",
            "--no-hosts",
            "--dns=none",
            "--pids-limit=-1",
            # Quoted inside: both options are read as comma-separated values, and paths may have commas.
            f'--log-opt="path={machine.console}"',
            f'--mount=type=bind,"source={machine.uv_cache}",target={UV_CACHE}',
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--security-opt=label=disable",
            "--security-opt=unmask=ALL",
            *(f"--cap-add={capability}" for capability in _CAPABILITIES),
            *_limits(),
            # With systemd outside, podman asks it for a scope; else the group is ours to make and to remove.
            *([f"--cgroup-parent=/{cgroups.group(machine)}"] if cgroups.hybrid() else []),
            "--rootfs",
            str(machine.root),
            "/lib/systemd/systemd",
            "systemd.show_status=1",
        ]

    def stop(self, machine: Machine) -> None:
        """End the host's processes at once."""
        watchers = [process for process in processes_naming(machine.system / "store") if process.name() == "conmon"]
        watched = [child for watcher in watchers for child in watcher.children()]
        self._remove_container(machine)
        # podman tidies up in a process of its own; and should it have failed, here is the end of what it left.
        kill(wait(processes_naming(machine.system / "store")))
        kill(watched)
        cgroups.kill(machine)

    def destroy(self, machine: Machine) -> None:
        """Remove all there is of a stopped host outside its folder, and its root folder."""
        if (_NETNS / _namespace(machine)).exists():
            run("ip", "netns", "delete", _namespace(machine))
        attempt("ip", "link", "delete", machine.interface)
        remove_tree(machine.system)
        remove_tree(_runtime(machine))
        cgroups.remove(machine)

    def running(self, machine: Machine) -> Running | None:
        """The host's process; None if it does not run."""
        # conmon watches over the container, and its arguments are no secret from a user who lists the hosts.
        return running(processes_naming(machine.system / "store"), "conmon")

    def _podman(self, machine: Machine) -> list[str]:
        """The command with a store of the host's own: it goes with the host, and the user's containers are not in it."""
        command = [
            "podman",
            f"--root={machine.system / 'store'}",
            f"--runroot={_runtime(machine) / 'run'}",
            f"--tmpdir={_runtime(machine) / 'tmp'}",
            # There are no images, so there is nothing to gain from overlays, nor from their mount on the store.
            "--storage-driver=vfs",
        ]
        if cgroups.hybrid():
            command += ["--runtime=runc", "--cgroup-manager=cgroupfs"]
        return command

    def _remove_container(self, machine: Machine) -> None:
        if (machine.system / "store").is_dir():
            attempt(*self._podman(machine), "rm", "--force", "--time=0", machine.identity)

    def _lay_cable(self, machine: Machine) -> None:
        """A network namespace with `host0` in it, which outlives the container and so a reboot."""
        namespace = _namespace(machine)
        attempt("ip", "netns", "delete", namespace)
        attempt("ip", "link", "delete", machine.interface)
        run("ip", "netns", "add", namespace)
        cable = ("type", "veth", "peer", "name", "host0", "netns", namespace)
        run("ip", "link", "add", machine.interface, *cable)
        run("ip", "link", "set", machine.interface, "master", BRIDGE, "up")


def _namespace(machine: Machine) -> str:
    return f"slipway-{machine.identity}"


def _runtime(machine: Machine) -> Path:
    return Path("/run") / f"slipway-lab-podman-{machine.identity}"


def _limits() -> list[str]:
    """Limits for machines where root may not raise them (itself in a container): podman's own defaults fail there."""
    capabilities = 0
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        capabilities = int(status.split("CapEff:")[1].split()[0], 16)
    if capabilities >> _CAP_SYS_RESOURCE & 1:
        return []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = max(resource.getrlimit(resource.RLIMIT_NPROC)[1] // 4, _UNLIMITED_ENOUGH)
    return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}"]
