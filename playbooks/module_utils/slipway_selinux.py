"""SELinux, as RHEL has it enforcing: the label that a path ought to have by the host's own policy.

Programs need nothing else: below /opt the policy calls what lies in a folder `bin` a program, and systemd starts those of ours
in the domain of services that it does not confine. What Ansible copies is labelled by Ansible; what uv or tar wrote is not.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ENFORCE = Path("/sys/fs/selinux/enforce")


def relabel(path: Path) -> str:
    """Give a tree the labels of the policy; says why that failed, and does nothing where there is no SELinux."""
    if not ENFORCE.exists() or shutil.which("restorecon") is None:
        return ""
    done = subprocess.run(("restorecon", "-R", str(path)), capture_output=True, text=True, check=False)
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"restorecon of {path} failed: {said[-1] if said else done.returncode}" if done.returncode else ""
