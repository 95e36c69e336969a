#!/usr/bin/python
"""Ansible module: the checks of a GPU host. It changes nothing; the checks themselves are module_utils/gpu_host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host.examine import examine, problems, unseen

DOCUMENTATION = r"""
module: gpu_checks
short_description: Check that a host's GPUs are what the stack promises, and well
description:
  - Reads the PCI bus, the driver's library, device nodes and the kernel log.
  - Runs a kernel on every GPU where the order has a check that needs it.
  - Changes nothing on the host.
options:
  order:
    description: What is promised and which checks are made, as slipway.doctor.order makes it.
    type: dict
    required: true
  ptx:
    description: The kernel of the proof; without one none is run.
    type: str
    default: ""
author:
  - Slipway
"""

RETURN = r"""
problems:
  description: Of each critical check that failed, one line with the consequence and the mend.
  returned: always
  type: list
notes:
  description: The same of checks that are no reason to refuse the host.
  returned: always
  type: list
unseen:
  description: Of each check that could say nothing, one line with the reason, what is unproven for it, and the mend.
  returned: always
  type: list
report:
  description: What was found.
  returned: always
  type: dict
"""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"order": {"type": "dict", "required": True}, "ptx": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    report = examine({**arguments["order"], "ptx": arguments["ptx"]}, Path("/"))
    module.exit_json(
        changed=False,
        manages=[],
        problems=problems(report, "critical"),
        notes=problems(report, "warning"),
        unseen=unseen(report),
        report=report,
    )


if __name__ == "__main__":
    main()
