"""Packages with an owner, with dnf and rpm themselves: those of Debian 12, dnf 4.14 as in RHEL 9, with packages made for it.

A lab host is made to look like Rocky Linux; RHEL's own archives are not asked, so what is in them is not proved. Rare: dnf
comes from Debian's archive first.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import KEY_FILE, ssh
from tools.lab import HostSpec, Lab

pytestmark = pytest.mark.rare

SPEC = HostSpec("e2e-dnf", "10.213.77.162", "bookworm")
TOOLS = "dnf dnf-plugins-core rpm createrepo-c"
RELEASE = 'ID="rocky"\nVERSION_ID="9.4"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n'
REPOSITORY = "[test]\nname=test\nbaseurl=file:///srv/repo\ngpgcheck=0\nenabled=1\n"
LONG = "a-package-with-a-name-that-is-far-too-long-for-its-column"
# name, version, what it requires, what it recommends
PACKAGES = [
    ("python3-dnf-plugin-versionlock", "4", "", ""),
    ("bash", "5", "", ""),
    ("front", "1", "front-common", "weak"),
    ("front-common", "1", "", ""),
    ("weak", "1", "", ""),
    ("own", "1", "front-common", ""),
    (LONG, "1", "front-common", ""),
    ("kmod-nvidia-open", "1", "", ""),
    ("kmod-nvidia-open", "2", "", ""),
]
SPEC_FILE = """Name: {name}
Version: {version}
Release: 1.el9
Summary: {name}
License: none
BuildArch: noarch
{more}
%description
{name}
%files
"""


@pytest.fixture(scope="module")
def host() -> Iterator[HostSpec]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        ssh(SPEC.address, f"sudo apt-get update -q && sudo apt-get install -y -q --no-install-recommends {TOOLS}")
        write("/etc/yum.repos.d/test.repo", REPOSITORY)
        ssh(SPEC.address, "sudo sed -i 's/^enabled.*/enabled=0/' /etc/dnf/plugins/local.conf")
        for name, version, requires, recommends in PACKAGES:
            more = [f"Requires: {requires}"] if requires else []
            more += [f"Recommends: {recommends}"] if recommends else []
            text = SPEC_FILE.format(name=name, version=version, more="\n".join(more))
            write(f"/srv/specs/{name}-{version}.spec", text)
            options = "--define '_rpmdir /srv/repo' --define '_topdir /srv/build'"
            ssh(SPEC.address, f"sudo rpmbuild -bb --quiet {options} /srv/specs/{name}-{version}.spec")
        ssh(SPEC.address, "sudo createrepo_c -q /srv/repo && sudo dnf install -y -q bash kmod-nvidia-open-1")
        ssh(SPEC.address, "sudo rm /etc/os-release")
        write("/etc/os-release", RELEASE)
        yield SPEC
    finally:
        lab.down([SPEC.name])


def write(path: str, text: str) -> None:
    ssh(SPEC.address, f"sudo install -D /dev/null {path} && sudo tee {path} >/dev/null <<'END'\n{text}END")


def state() -> tuple[str, str, str]:
    """Packages, who was asked for, and locks."""
    options = "'--disablerepo=*' --quiet"
    return (
        ssh(SPEC.address, "sudo rpm -qa --queryformat '%{NAME}-%{EVR}\\n' | sort"),
        ssh(SPEC.address, f"sudo dnf repoquery {options} --userinstalled --queryformat '%{{name}}' | sort"),
        ssh(SPEC.address, f"sudo dnf versionlock list {options} | sort"),
    )


def apply(root: Path, folder: Path, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """The module by Ansible itself; what it returned."""
    command = [
        *(
            str(Path(sys.executable).parent / "ansible"),
            "all",
            "-i",
            f"{SPEC.name},",
            "--become",
            "--tree",
            str(folder),
        ),
        *(["--check"] if check else []),
        *("-m", "owned_packages", "-a", json.dumps(arguments)),
    ]
    settings = {
        "ANSIBLE_CONFIG": str(root / "playbooks/ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "0",
        "ANSIBLE_SSH_ARGS": f"-o HostName={SPEC.address} -o User=slipway -o IdentityFile={KEY_FILE} "
        "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    }
    done = subprocess.run(
        command, cwd=root / "playbooks", env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / SPEC.name).read_text())
    return found


def test_what_came_goes_and_nothing_else(host: HostSpec, root: Path, tmp_path: Path) -> None:
    before = state()
    foreseen = apply(root, tmp_path, check=True, owner="front", names=["front", LONG, "bash"])
    assert state() == before
    came = apply(root, tmp_path, owner="front", names=["front", LONG, "bash"])
    assert came["installed"] == foreseen["installed"] == sorted([LONG, "front", "front-common"])
    assert not apply(root, tmp_path, owner="front", names=["front", LONG, "bash"])["changed"]
    assert apply(root, tmp_path, owner="front", state="absent")["removed"] == came["installed"]
    assert state() == before


def test_a_held_package_is_not_upgraded_and_the_lock_goes(host: HostSpec, root: Path, tmp_path: Path) -> None:
    before = state()
    held = apply(root, tmp_path, owner="base", hold=["kmod-*"])
    assert held["installed"] == ["python3-dnf-plugin-versionlock"]
    assert not apply(root, tmp_path, owner="base", hold=["kmod-*"])["changed"]
    ssh(host.address, "sudo dnf upgrade -y -q")
    assert "kmod-nvidia-open-1-1.el9" in state()[0]
    apply(root, tmp_path, owner="base", state="absent")
    assert state() == before
    ssh(host.address, "sudo dnf upgrade -y -q")
    assert "kmod-nvidia-open-2-1.el9" in state()[0]


def test_what_the_administrator_built_on_ours_stays_whole(host: HostSpec, root: Path, tmp_path: Path) -> None:
    apply(root, tmp_path, owner="front", names=["front"])
    ssh(host.address, "sudo dnf install -y -q own")
    assert apply(root, tmp_path, owner="front", state="absent")["removed"] == ["front"]
    assert "front-common-1-1.el9" in state()[0]
