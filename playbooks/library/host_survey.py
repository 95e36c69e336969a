#!/usr/bin/python
"""Ansible module: look a host over before anything is installed on it, and say everything that stands in the way.

It only reads; deciding to fail is the role's. What it looks at is module_utils/host_survey.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_survey.survey import survey
from ansible.module_utils.slipway_system_checks import HOSTS

DOCUMENTATION = r"""
module: host_survey
short_description: Say what stands in the way of an installation on this host
description:
  - Reads the host's system, disk, memory, ports, clock and paths in a single call and changes nothing.
options:
  min_disk_gib:
    description: Disk space for Slipway, in GiB, what it already uses included.
    type: float
    default: 0
  min_memory_gib:
    description: Memory of the host as it is sold, in GiB.
    type: float
    default: 0
  ports:
    description: Ports that have to be free or taken by the given unit, as C(port) and C(unit); C(remote) where other hosts ask
      there; C(purpose) and C(setting) are for the message.
    type: list
    elements: dict
    default: []
  paths:
    description: Paths that have to be there, as C(path), C(purpose) and C(setting).
    type: list
    elements: dict
    default: []
  roles:
    description: Roles that the host has to run; some systems can't run all.
    type: list
    elements: str
    default: []
  hosts_setting:
    description: The setting that names the host, for messages.
    type: str
    default: hosts
  time:
    description: The controller's clock, in seconds since 1970; 0 for no comparison.
    type: float
    default: 0
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Look the host over
  host_survey:
    min_disk_gib: 40
    ports: [{port: 443, unit: slipway-nginx.service}]
"""

RETURN = r"""
problems:
  description: What stands in the way, one line each; empty when nothing does.
  type: list
  returned: always
host:
  description: Facts that do not change from run to run.
  type: dict
  returned: always
manages:
  description: Nothing, so a refresh that looks at the host has nothing to look at here.
  type: list
  returned: success
"""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "min_disk_gib": {"type": "float", "default": 0},
            "min_memory_gib": {"type": "float", "default": 0},
            "ports": {"type": "list", "elements": "dict", "default": []},
            "paths": {"type": "list", "elements": "dict", "default": []},
            "roles": {"type": "list", "elements": "str", "default": []},
            "hosts_setting": {"type": "str", "default": HOSTS},
            "time": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, manages=[], **survey(module.params))


if __name__ == "__main__":
    main()
