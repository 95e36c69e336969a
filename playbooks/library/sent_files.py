#!/usr/bin/python
"""Ansible module: files of this machine on their way to a host, by rsync, for some seconds at a time.

It runs where the `up` runs. What has arrived is gone on with at its end and not read again; whether it is right, the host says.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sent_files
short_description: Send files to a host with rsync
description:
  - Sends for at most so many seconds, and says how far it is; the role repeats it until it is done.
options:
  folder:
    description: Where the files are, on this machine.
    type: path
    required: true
  names:
    description: Their paths below it.
    type: list
    elements: str
    required: true
  target:
    description: The folder, as rsync writes it (C(USER@HOST:/PATH), or a path of this machine).
    type: str
    required: true
  rsh:
    description: The remote shell with its options; empty for a path of this machine.
    type: str
    default: ""
  seconds:
    description: The longest that it may take.
    type: float
    default: 15
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Send the files
  sent_files:
    folder: /home/me/models/tiny
    names: [config.json, model.safetensors]
    target: slipway@10.0.0.11:/var/lib/slipway/store/.tiny-0123456789ab.incoming
    rsh: ssh -p 22
  delegate_to: localhost
  register: sent
  until: sent is failed or sent.done
  retries: 10000
  delay: 0
"""

RETURN = r"""
done:
  description: Whether all has been sent.
  type: bool
  returned: always
"""

_MISSING = "rsync is not on this machine, and no file can be sent without it; install it (apt install rsync)"


def command(given: dict[str, Any]) -> list[str]:
    """What is run; rsync splits the remote shell itself."""
    how = ["--append", "--copy-links", "--files-from=-", "--from0", "--timeout=60", "--info=progress2", "--no-perms"]
    remote = [f"--rsh={given['rsh']}", "--rsync-path=sudo -n rsync"] if given["rsh"] else []
    return ["rsync", *how, *remote, f"{given['folder'].rstrip('/')}/", f"{given['target'].rstrip('/')}/"]


def told(said: str) -> str:
    """The last of rsync's figures: ``1,234,567 45% 12.34MB/s 0:01:02``."""
    figures = [part.strip() for part in re.split(r"[\r\n]", said) if "%" in part]
    return re.sub(r"\s+", " ", figures[-1].partition("(")[0]).strip() if figures else "begun"


def send(given: dict[str, Any]) -> tuple[int | None, str, str]:
    """Exit status, None where its time was over; figures; complaint.

    Raises:
        FileNotFoundError: rsync is not on this machine.
    """
    # In a file: a pipe that nobody reads would stop it.
    with (
        tempfile.TemporaryFile("w+", errors="replace") as said,
        tempfile.TemporaryFile("w+", errors="replace") as complaint,
    ):
        process = subprocess.Popen(command(given), stdin=subprocess.PIPE, stdout=said, stderr=complaint, text=True)
        status: int | None
        try:
            process.communicate("\0".join(given["names"]), timeout=given["seconds"])
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
            status = None
        said.seek(0)
        complaint.seek(0)
        lines = [line.strip() for line in complaint.read().splitlines() if line.strip()]
        return status, told(said.read()), lines[0] if lines else ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "target": {"type": "str", "required": True},
            "rsh": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 15},
        },
        supports_check_mode=False,
    )
    try:
        status, figures, complaint = send(module.params)
    except FileNotFoundError:
        module.fail_json(
            msg=f"{_MISSING}, or bring the model to the store's host and name its folder there in source.store_path"
        )
        return
    if status not in {None, 0}:
        full = "No space left" in complaint
        mend = "free some there (slipway store prune names what no stack needs)" if full else "look at the network"
        why = complaint or f"rsync ended with {status}"
        module.fail_json(
            msg=f"{module.params['folder']} could not be sent to {module.params['target']}: {why}; {mend}, then repeat: what has "
            "come is kept and not taken for whole"
        )
        return
    module.exit_json(changed=True, done=status == 0, progress=figures, msg=figures, manages=[])


if __name__ == "__main__":
    main()
