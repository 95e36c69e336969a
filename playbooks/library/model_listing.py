#!/usr/bin/python
"""Ansible module: the files of a model in a folder of this machine, with their sizes and checksums. It changes nothing.

It runs where the `up` runs, before a model goes to the store.
"""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.model_store.folders import counted

DOCUMENTATION = r"""
module: model_listing
short_description: Sizes and checksums of a model's files
description:
  - Reads all files of a folder, or one file. Links are followed.
options:
  path:
    description: The folder or file.
    type: path
    required: true
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Count the files
  model_listing:
    path: ~/models/tiny
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: Of each file size and sha256, as JSON.
  type: str
  returned: always
"""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        files = counted(Path(module.params["path"]))
    except OSError as error:
        module.fail_json(msg=f"{module.params['path']} can't be read: {error.strerror}")
        return
    module.exit_json(changed=False, files=json.dumps(files), manages=[])


if __name__ == "__main__":
    main()
