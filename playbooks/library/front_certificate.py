#!/usr/bin/python
"""Ansible module: run the front's certificate.py, in check mode also on a host that does not have it yet.

The settings, which may hold the site's key, go through a pipe: never to a command line, an environment or a file.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: front_certificate
short_description: Keep the front's certificate
description:
  - Runs the program that keeps the certificate of a private authority, or puts the site's own in place.
options:
  program:
    description: Path of certificate.py on the host.
    type: path
    required: true
  settings:
    description: The settings of that program.
    type: dict
    required: true
  site_key:
    description: The key of the site's own certificate as PEM; empty for the private authority.
    type: str
    default: ""
  seed:
    description: A secret from which the private authority's key is made; empty for one of this host's own.
    type: str
    default: ""
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Keep the certificate
  front_certificate:
    program: /opt/slipway/nginx/certificate.py
    settings: {folder: /etc/slipway/nginx/tls, names: [llm.example.org]}
"""

RETURN = r"""
ca_certificate:
  description: The private authority's certificate as PEM; empty with the site's own, or where it is still to be made.
  type: str
  returned: always
not_after:
  description: When the certificate ends.
  type: str
  returned: always
digest:
  description: SHA-256 of the file with key and certificate; empty where it is still to be made.
  type: str
  returned: always
reasons:
  description: Why files were, or in check mode would be, written.
  type: list
  returned: always
manages:
  description: What there is to look at on the host, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: success
"""

RENEWED_BEFORE = 30 * 24 * 3600
"""Seconds before a certificate's end in which certificate.py has something to do, or something to say."""

NOTHING: dict[str, Any] = {"changed": True, "ca_certificate": "", "not_after": "", "digest": ""}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "settings": {"type": "dict", "required": True},
            "site_key": {"type": "str", "default": "", "no_log": True},
            "seed": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    program = Path(module.params["program"])
    command = ["/usr/bin/python3", "-I", "-B", str(program), "ensure", "--settings", "-"]
    if module.check_mode:
        # Before the first run there is neither the program nor the library that it needs.
        ready = ["/usr/bin/python3", "-I", "-c", "import cryptography"]
        if not program.exists() or subprocess.run(ready, capture_output=True, check=False).returncode:
            module.exit_json(**NOTHING, reasons=["nothing is there yet"], diff=difference(["nothing is there yet"]))
            return
        command.append("--check")
    text = json.dumps({**module.params["settings"], "key": module.params["site_key"], "seed": module.params["seed"]})
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if line.strip()]
        module.fail_json(msg=said[-1] if said else f"{program} ended with status {result.returncode}")
        return
    outcome: dict[str, Any] = json.loads(result.stdout)
    things = manages(Path(module.params["settings"]["folder"]))
    module.exit_json(**outcome, manages=things, diff=difference(outcome["reasons"]))


def manages(folder: Path) -> list[dict[str, Any]]:
    """The files, and whether the certificate's end has come close."""
    soon = ["openssl", "x509", "-noout", "-checkend", str(RENEWED_BEFORE), "-in", str(folder / "server.pem")]
    return [{"kind": "tree", "path": str(folder), "content": True}, {"kind": "command", "argv": soon}]


def difference(reasons: list[str]) -> dict[str, str]:
    """What a diff shows: the reasons, never what is in the files."""
    return {"before": "", "after": "".join(f"{reason}\n" for reason in reasons), "after_header": "certificate"}


if __name__ == "__main__":
    main()
