"""Hosts in systemd-nspawn: a few hundred kilobytes more than the host itself, and a reboot that is a reboot."""

import contextlib
import subprocess
from pathlib import Path

import psutil

from tools.lab import cgroups
from tools.lab.drivers import missing_tools
from tools.lab.hosts import Machine
from tools.lab.network import BRIDGE
from tools.lab.outer import UV_CACHE
from tools.lab.processes import Running, kill, processes_naming, running, wait
from tools.lab.roots import escape, make_root, mount_root, remove_tree
from tools.lab.shell import PATH, attempt

# nspawn that is not a service ends with 133 when its host reboots, and leaves starting it again to who started it.
_KEEPER = 'while :; do "$@"; status=$?; [ "$status" -eq 133 ] || exit "$status"; done'
_ENTER = 'groups=$1; shift; for group in $groups; do echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'
_WITH_SYSTEMD = Path("/run/systemd/system")
_RUN = Path("/run/systemd/nspawn")


class Nspawn:
    """Runs hosts with systemd-nspawn, each in a session and a control group of its own."""

    name = "nspawn"

    def why_unusable(self) -> str | None:
        """What this machine lacks and how to install it; None if nothing."""
        return missing_tools(systemd_nspawn="systemd-container")

    def create(self, machine: Machine, base: Path) -> None:
        """Make the host's root folder from `base` and have it in place."""
        make_root(base, machine.system)

    def start(self, machine: Machine, base: Path) -> None:
        """Boot the host; does not wait for it."""
        mount_root(base, machine.system)
        attempt("ip", "link", "delete", machine.interface)
        with machine.console.open("wb") as console:
            # setsid forks: the host is nobody's child, and outlives the command that boots it.
            subprocess.run(
                ["setsid", "--fork", "/bin/sh", "-c", _KEEPER, "slipway-lab", *self.command(machine)],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            )

    def command(self, machine: Machine) -> list[str]:
        """The command line that boots a host."""
        if _WITH_SYSTEMD.is_dir():
            own_group = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
        else:
            groups = " ".join(str(group) for group in cgroups.make(machine))
            own_group = ["/bin/sh", "-c", _ENTER, "slipway-lab", groups]
        return [
            *own_group,
            "systemd-nspawn",
            "--quiet",
            "--settings=no",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            f"--machine={machine.identity}",
            f"--hostname={machine.name}",
            f"--directory={machine.root}",
            f"--network-bridge={BRIDGE}",
            "--resolv-conf=off",
            "--timezone=off",
            f"--bind={escape(machine.uv_cache, ':')}:{UV_CACHE}",
            # A console without a terminal stays empty (`pipe`); this one shows what the boot is waiting for.
            "--console=read-only",
            "--boot",
            "systemd.show_status=1",
        ]

    def stop(self, machine: Machine) -> None:
        """End the host's processes at once."""
        processes = processes_naming(machine.root)
        keepers = [process for process in processes if process.name() != "systemd-nspawn"]
        kill(keepers)  # first, or it would take the end for a reboot
        # The host's first process takes all others with it; nspawn then tidies up after it and ends.
        supervisors = [process for process in processes if process not in keepers]
        for supervisor in supervisors:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill(supervisor.children())
        kill(wait(supervisors))
        cgroups.kill(machine)

    def destroy(self, machine: Machine) -> None:
        """Remove all there is of a stopped host outside its folder, and its root folder."""
        attempt("ip", "link", "delete", machine.interface)
        with contextlib.suppress(FileNotFoundError):
            place = machine.root.stat()
            (_RUN / "locks" / f"inode-{place.st_dev}:{place.st_ino}").unlink(missing_ok=True)
        remove_tree(_RUN / "propagate" / machine.identity)
        remove_tree(_RUN / "unix-export" / machine.identity)
        remove_tree(machine.system)
        cgroups.remove(machine)

    def running(self, machine: Machine) -> Running | None:
        """The host's process; None if it does not run."""
        return running(processes_naming(machine.root), "systemd-nspawn")
