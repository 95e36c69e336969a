#!/usr/bin/python
"""Ansible module: an NVIDIA driver's kernel modules are there for each kernel, built where DKMS has not done so.

It does not install packages, and it loads nothing.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway_modules import build, module_of, wrong

DOCUMENTATION = r"""
module: kernel_modules
short_description: See that the NVIDIA driver's modules are there for each kernel
description:
  - Asks modinfo for the module of each kernel, compares the kernel it was built for and its version, and has DKMS build what is
    missing (DKMS alone picks the kernel that has headers, which need not be the one that runs or boots next).
options:
  kernels:
    description: Releases of the kernels.
    type: list
    elements: str
    required: true
  branch:
    description: The driver's branch.
    type: str
    required: true
  version:
    description: The driver's exact version; empty for any of the branch.
    type: str
    default: ""
  library:
    description: The package with the driver's libraries, which must be of the modules' very version.
    type: str
    default: ""
  setting:
    description: The driver's section in the stack, for messages.
    type: str
    default: driver
author:
  - Slipway
"""

EXAMPLES = r"""
- name: See that the modules are there
  kernel_modules:
    kernels: ["6.1.0-56-amd64"]
    branch: "535"
"""

RETURN = r"""
version:
  description: The version of the modules; empty where there are none.
  type: str
  returned: always
built:
  description: Kernels for which modules were, or in check mode would be, built.
  type: list
  returned: always
problems:
  description: What is wrong, one line each.
  type: list
  returned: always
manages:
  description: What to look at, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "kernels": {"type": "list", "elements": "str", "required": True},
            "branch": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "library": {"type": "str", "default": ""},
            "setting": {"type": "str", "default": "driver"},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    built: list[str] = []
    problems: list[str] = []
    versions: list[str] = []
    for kernel in arguments["kernels"]:
        found, why = module_of(kernel), ""
        if found is None:
            built.append(kernel)
            if module.check_mode:
                continue
            why = build(kernel)
            found = module_of(kernel)
        problems += wrong(kernel, found, arguments, why)
        versions += [found[1]] if found else []
    module.exit_json(
        changed=bool(built),
        built=built,
        version=versions[0] if versions else "",
        problems=problems,
        manages=[
            {
                "kind": "names",
                "paths": [f"/lib/modules/{kernel}"],
                "patterns": ["nvidia*"],
                "type": "any",
                "recurse": True,
            }
            for kernel in arguments["kernels"]
        ],
    )


if __name__ == "__main__":
    main()
