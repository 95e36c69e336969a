#!/usr/bin/python
"""Ansible module: a Python virtual environment that holds exactly what a hash-locked requirements file says.

It notices a changed lock, a package that somebody added, removed or upgraded by hand, an interpreter that a system
upgrade took away, and an installation that was cut off. It resolves nothing: the lock is complete or the install fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway_selinux import relabel
from ansible.module_utils.slipway_systems import OWN_PYTHON, this_system

DOCUMENTATION = r"""
module: python_environment
short_description: Keep a virtual environment equal to a hash-locked requirements file
description:
  - Installs with uv, or with the environment's own pip where C(uv) is empty.
  - Every distribution must be in the lock with its hashes; nothing else stays in the environment.
options:
  path:
    description: The environment's folder.
    type: path
    required: true
  lock:
    description: The text of the requirements file, with hashes.
    type: str
    default: ""
  python:
    description: The interpreter it is made from; empty for the one that this system's programs run in, as role C(base) has it
      ready (C(module_utils/slipway_systems.py)).
    type: path
    default: ""
  uv:
    description: Path of uv; empty to use pip.
    type: path
    default: ""
  cache:
    description: uv's cache, unless the host's own configuration of uv names one.
    type: path
    default: /var/lib/slipway/cache/uv
  environment:
    description: More environment variables for the installer, such as an index with a password.
    type: dict
    default: {}
  state:
    description: Whether the environment is to be there.
    type: str
    choices: [present, absent]
    default: present
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Install the gateway
  python_environment:
    path: /opt/slipway/litellm
    uv: /opt/slipway/uv/bin/uv
    lock: "{{ lookup('ansible.builtin.file', 'requirements.txt', rstrip=false) }}"
"""

RETURN = r"""
reason:
  description: Why the environment was, or in check mode would be, changed.
  type: str
  returned: always
manages:
  description: What there is to look at on the host, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

STAMP = "slipway.json"
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*==\s*([^\s;\\]+)", re.MULTILINE)


class InstallError(Exception):
    """The installer failed; the text is for the person at the keyboard."""


def normal(name: str) -> str:
    """A distribution's name as all tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(path: Path) -> list[str]:
    """What is installed, as name==version, without running anything from the environment."""
    found = []
    for entry in path.glob("lib/python3*/site-packages/*.dist-info"):
        name, _, version = entry.name[: -len(".dist-info")].rpartition("-")
        found.append(f"{normal(name)}=={version}")
    return sorted(found)


def interpreter(path: Path) -> str:
    """Version of an interpreter; empty when it does not run."""
    command = (str(path), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    except OSError:
        return ""


def stamp(path: Path) -> dict[str, Any]:
    """What the last complete installation left in the environment; empty without one."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((path / STAMP).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}


def reason(arguments: dict[str, Any]) -> str:
    """Why the environment has to be installed; empty when it is as it ought to be."""
    path = Path(arguments["path"])
    if not path.is_dir():
        return "it is not there"
    was = stamp(path)
    if not was:
        return "its installation was not completed"
    if was.get("lock") != digest(arguments["lock"]):
        return "the lock has changed"
    if interpreter(path / "bin" / "python") != was.get("python"):
        return "its interpreter is another one or does not run"
    now, then = set(distributions(path)), set(was.get("distributions", []))
    if now != then:
        return f"changed by hand: {', '.join(sorted([f'+{name}' for name in now - then] + [f'-{name}' for name in then - now]))}"
    return ""


def digest(lock: str) -> str:
    """Identity of a lock: its pins and hashes, not its comments."""
    lines = [line.strip() for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def run(command: list[str], extra: dict[str, Any]) -> str:
    """Run a step of the installation; InstallError with its last words when it fails."""
    environment = {
        "HOME": "/root",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # The host's own trust store: a site's mirror has the site's certificate.
        "UV_SYSTEM_CERTS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        **os.environ,
        **{key: str(value) for key, value in extra.items()},
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        said = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        text = " / ".join(said[-5:])
        for value in extra.values():
            text = text.replace(str(value), "***")
        raise InstallError(f"{Path(command[0]).name} failed: {text}")
    return result.stdout


def own_interpreter() -> str:
    """The interpreter that this system's programs run in."""
    system = this_system()
    return system.interpreter if system else OWN_PYTHON


def install(arguments: dict[str, Any], why: str) -> None:
    """Bring the environment to the lock; the stamp goes first and comes back last, so a cut-off run shows."""
    path, uv = Path(arguments["path"]), arguments["uv"]
    arguments = {**arguments, "python": arguments["python"] or own_interpreter()}
    version = interpreter(Path(arguments["python"]))
    if not version:
        raise InstallError(f"{arguments['python']} does not run: apply role base, which has it ready")
    (path / STAMP).unlink(missing_ok=True)
    if interpreter(path / "bin" / "python") != version or why.startswith("its i"):
        shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.parent / f".{path.name}.lock.txt"
    lock.write_text(arguments["lock"], encoding="utf-8")
    try:
        if uv:
            with_uv(uv, path, lock, arguments)
        else:
            with_pip(path, lock, arguments)
    finally:
        lock.unlink(missing_ok=True)
    now = distributions(path)
    pinned = {f"{normal(name)}=={pin}" for name, pin in PINNED.findall(arguments["lock"])}
    foreign = [name for name in now if name not in pinned and name.split("==")[0] not in ("pip", "setuptools")]
    if foreign:
        raise InstallError(f"{path} holds {', '.join(foreign)}, which the lock does not name")
    if problem := relabel(path):
        raise InstallError(problem)
    content = {"lock": digest(arguments["lock"]), "python": version, "distributions": now}
    temporary = path / f"{STAMP}.tmp"
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path / STAMP)


def with_uv(uv: str, path: Path, lock: Path, arguments: dict[str, Any]) -> None:
    """Install with uv: exact, and quick enough for gigabytes."""
    extra = dict(arguments["environment"])
    # Left alone, root's home would keep gigabytes that nobody takes away on removal.
    home = str(Path(os.environ.get("HOME", "/root")) / ".cache" / "uv")
    if run([uv, "cache", "dir"], extra).strip() == home:
        extra["UV_CACHE_DIR"] = arguments["cache"]
    if not (path / "bin" / "python").exists():
        run([uv, "venv", "--quiet", "--python", arguments["python"], str(path)], extra)
    run([uv, "pip", "sync", "--quiet", "--python", str(path / "bin" / "python"), "--require-hashes", str(lock)], extra)


def with_pip(path: Path, lock: Path, arguments: dict[str, Any]) -> None:
    """Install with pip, which every host has; only for what comes before uv."""
    if not (path / "bin" / "pip").exists():
        run([arguments["python"], "-m", "venv", "--clear", str(path)], arguments["environment"])
    python = str(path / "bin" / "python")
    wanted = {normal(name) for name, _ in PINNED.findall(arguments["lock"])} | {"pip", "setuptools"}
    extra = [name.split("==")[0] for name in distributions(path) if name.split("==")[0] not in wanted]
    if extra:
        run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *extra], arguments["environment"])
    run(
        [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-deps", "--require-hashes", "-r", str(lock)],
        arguments["environment"],
    )


def manages(path: Path, state: str) -> list[dict[str, Any]]:
    """What `reason` looks at; not the many files of the distributions, which it doesn't look at either."""
    if state == "absent":
        return [{"kind": "path", "path": str(path), "look": "presence"}]
    return [
        {"kind": "path", "path": str(path / STAMP)},
        {"kind": "path", "path": str(path / "bin" / "python")},
        {
            "kind": "names",
            "paths": [f"{path}/lib/python3*/site-packages"],
            "patterns": ["*.dist-info"],
            "type": "any",
        },
    ]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "lock": {"type": "str", "default": ""},
            "python": {"type": "path", "default": ""},
            "uv": {"type": "path", "default": ""},
            "cache": {"type": "path", "default": "/var/lib/slipway/cache/uv"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    path = Path(arguments["path"])
    if arguments["state"] == "absent":
        why = "it is there" if path.is_dir() else ""
        if why and not module.check_mode:
            shutil.rmtree(path)
    else:
        why = reason(arguments)
        if why and not module.check_mode:
            # Files of an environment are for everybody to read, whatever root's umask is.
            os.umask(0o022)
            try:
                install(arguments, why)
            except InstallError as error:
                module.fail_json(msg=f"{path} could not be installed: {error}")
                return
    module.exit_json(
        changed=bool(why),
        reason=why,
        manages=manages(path, arguments["state"]),
        diff={
            "before_header": str(path),
            "after_header": str(path),
            "before": "",
            "after": f"{arguments['state']}: {why}\n" if why else "",
        },
    )


if __name__ == "__main__":
    main()
