#!/usr/bin/python
"""Ansible module: the interpreter that environments are made from, where the system's own is too old for them.

Which systems that concerns stands in module_utils/slipway_systems.py. uv brings in one of its own builds then: it holds the
SHA-256 of each, and refuses another file, wherever it comes from. Elsewhere the module only sees that the interpreter is there.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway_selinux import relabel
from ansible.module_utils.slipway_systems import PYTHON_FOLDER, SUPPORTED, System, this_system

DOCUMENTATION = r"""
module: python_interpreter
short_description: Have the interpreter that environments are made from
description:
  - Installs one of uv's own builds of Python where the system has none that is new enough; looks for the system's elsewhere.
  - An interpreter of an earlier release stays, as environments run from it.
options:
  uv:
    description: Path of uv.
    type: path
    default: /opt/slipway/uv/bin/uv
  mirror:
    description: Where uv's builds are fetched from, laid out as uv's own place; empty for that one, or what the host's
      configuration of uv names.
    type: str
    default: ""
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Have an interpreter for the programs
  python_interpreter:
    mirror: https://mirror.example.com/python
"""

RETURN = r"""
path:
  description: The interpreter.
  type: str
  returned: success
manages:
  description: What there is to look at on the host, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: success
"""


def release(path: str) -> str:
    """The release of an interpreter, such as 3.12.16; empty when it does not run."""
    command = (path, "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    except OSError:
        return ""


def missing(system: System) -> bool:
    """Whether the interpreter is not there, or is not the release that it ought to be."""
    found = release(system.interpreter)
    return found != system.standalone if system.standalone else not found


def fetch(system: System, uv: str, mirror: str) -> str:
    """Have uv install its build; says why that failed, in uv's own last words."""
    environment = {
        "HOME": "/root",
        # The host's own trust store: a site's mirror has the site's certificate.
        "UV_SYSTEM_CERTS": "1",
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "manual",
        **({"UV_PYTHON_INSTALL_MIRROR": mirror} if mirror else {}),
    }
    command = (
        uv,
        "python",
        "install",
        "--quiet",
        "--no-bin",
        "--reinstall",
        "--install-dir",
        PYTHON_FOLDER,
        system.standalone,
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    # The two digests of a file that is not what it ought to be come last, and say less.
    told = [line for line in said if line.startswith(("error:", "cause:"))] or said
    return " / ".join(told[-4:]) if done.returncode else ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "uv": {"type": "path", "default": "/opt/slipway/uv/bin/uv"},
            "mirror": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    system = this_system()
    if system is None:
        module.fail_json(msg=f"this system is not supported; Slipway needs {SUPPORTED}")
        return
    changed = missing(system)
    problem = ""
    if changed and not module.check_mode:
        # An interpreter is for everybody to run, whatever root's umask is.
        os.umask(0o022)
        if system.standalone:
            where = f"from {arguments['mirror']}" if arguments["mirror"] else "from where uv's configuration says"
            problem = fetch(system, arguments["uv"], arguments["mirror"]) or relabel(Path(PYTHON_FOLDER))
            problem = (
                problem
                and f"Python {system.standalone} could not be had {where}: {problem}; set python_mirror of the pool"
            )
        if not problem and missing(system):
            problem = (
                f"{system.interpreter} does not run, and the programs need it: install it as {system.name} brings it"
            )
    if problem:
        module.fail_json(msg=problem)
        return
    module.exit_json(
        changed=changed,
        path=system.interpreter,
        manages=[{"kind": "path", "path": system.interpreter}] if system.standalone else [],
        diff={"before": "", "after": f"{system.interpreter}\n" if changed else ""},
    )


if __name__ == "__main__":
    main()
