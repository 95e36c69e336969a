"""Root file systems: a thin layer over the shared base, or a copy of it; and taking them apart without accidents."""

import re
import time
from pathlib import Path

from tools.lab.errors import LabError
from tools.lab.shell import attempt, run


def hold_in_memory(system: Path, size: str) -> None:
    """Have what will be written to the folder `system` in memory, `size` of it at most.

    Raises:
        LabError: it can't be mounted.
    """
    run("mount", "--types", "tmpfs", "--options", f"size={size},mode=0700", "slipway-lab", str(system))


def make_root(base: Path, system: Path) -> None:
    """Make `system`/root from `base`: an overlay, or a copy where the file system under it carries no overlay."""
    for part in ("upper", "work", "root"):
        (system / part).mkdir(mode=0o755, exist_ok=True)
    if _mount(base, system) is None:
        return
    for part in ("upper", "work", "root"):
        remove_tree(system / part)
    run("cp", "--archive", "--reflink=auto", str(base), str(system / "root"), timeout=600)


def mount_root(base: Path, system: Path) -> None:
    """Have `system`/root mounted, as after a reboot of the machine. A copy needs nothing.

    Raises:
        LabError: the overlay cannot be mounted.
    """
    root = system / "root"
    if not (system / "upper").is_dir() or root.is_mount():
        return
    problem = _mount(base, system)
    if problem is not None:
        raise LabError(f"{root}: the overlay over {base} cannot be mounted: {problem}")


def _mount(base: Path, system: Path) -> str | None:
    """Mount the overlay; returns why not."""
    if (system / "root").is_mount():
        return None
    layers = {"lowerdir": base, "upperdir": system / "upper", "workdir": system / "work"}
    options = ",".join(f"{name}={escape(path, ',:')}" for name, path in layers.items())
    done = attempt("mount", "--types", "overlay", "slipway-lab", "--options", options, str(system / "root"))
    return None if done.returncode == 0 else done.stderr.strip()


def escape(path: Path, special: str) -> str:
    """A path for an option in which the characters of `special` separate values."""
    return re.sub(rf"([\\{special}])", r"\\\1", str(path))


def mounts_below(path: Path) -> list[Path]:
    """Every mount at or under `path`, the deepest and latest first."""
    # The kernel writes spaces and the like as octal escapes.
    points = (
        re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )
    return [point for point in reversed([Path(point) for point in points]) if point.is_relative_to(path)]


def unmount_below(path: Path) -> None:
    """Unmount everything at or under `path`; a mount that stays busy is detached and goes with its last user."""
    for point in mounts_below(path.resolve()):
        for _ in range(20):
            if attempt("umount", str(point)).returncode == 0:
                break
            time.sleep(0.1)
        else:
            run("umount", "--lazy", str(point))


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, and nothing that is mounted in it."""
    if not path.exists() and not path.is_symlink():
        return
    unmount_below(path)
    # One file system: should anything be mounted after all, its content survives.
    run("rm", "--recursive", "--force", "--one-file-system", "--", str(path), timeout=600)
