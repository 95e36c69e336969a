#!/usr/bin/python
"""Ansible module: a model's files in a folder, fetched in rounds and verified before they take their places.

The work is module_utils/model_store's. One call is one round of some seconds, so that a person sees how far it is, and so that a
killed run leaves nothing that goes on for long: the role repeats it until it is done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.model_store.delivery import Delivery
from ansible.module_utils.model_store.manifest import StoreError
from ansible.module_utils.model_store.sources import source

DOCUMENTATION = r"""
module: stored_files
short_description: Bring a model's files to a folder, verified
description:
  - Fetches with rsync or curl, goes on where an earlier run was cut off, and verifies every file's SHA-256.
  - Looks for room before anything is written. A folder with C(.slipway-manifest.json) and C(.slipway.json) is whole.
  - In check mode it verifies what is there, and asks no source.
options:
  folder:
    description: The model's folder.
    type: path
    required: true
  what:
    description: What messages call the model.
    type: str
    required: true
  record:
    description: Content of the mark; another one is another model.
    type: str
    required: true
  source:
    description: Where the files come from; the kinds are those of C(model_store/sources.py).
    type: dict
    required: true
  files:
    description: For the kind pushed, what C(model_listing) told, as JSON.
    type: str
    default: ""
  token:
    description: Token for the hub.
    type: str
    default: ""
  signed:
    description: For the kind s3, of each file the address that was signed for this round; the action of this name signs them.
    type: dict
    default: {}
  unsigned:
    description: For the kind s3, why no address could be signed.
    type: str
    default: ""
  seconds:
    description: The longest that a round may fetch.
    type: float
    default: 20
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Bring the files
  stored_files:
    folder: /var/lib/slipway/models/tiny
    what: tiny
    record: "{}\n"
    source: {kind: store, url: "rsync://10.0.0.11:8730/store/tiny-0123456789ab"}
  register: result
  until: result is failed or result.done
  retries: 10000
  delay: 0
"""

RETURN = r"""
done:
  description: Whether all has come, and is verified and in its place.
  type: bool
  returned: always
whole:
  description: Whether the folder holds all that it ought to, and nothing else.
  type: bool
  returned: in check mode
missing:
  description: Files that have not come wholly.
  type: list
  returned: always
incoming:
  description: Where files arrive.
  type: str
  returned: always
manages:
  description: What of the host is the model's.
  type: list
  returned: always
"""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "what": {"type": "str", "required": True},
            "record": {"type": "str", "required": True},
            "source": {"type": "dict", "required": True},
            "files": {"type": "str", "default": ""},
            "token": {"type": "str", "default": "", "no_log": True},
            # Whoever has one can read the file as long as it lives.
            "signed": {"type": "dict", "default": {}, "no_log": True},
            "unsigned": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 20},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    folder = Path(given["folder"])
    delivery = Delivery(folder, given["record"], given["what"])
    manages = [{"kind": "tree", "path": str(folder)}]
    if module.check_mode:
        whole = delivery.is_whole()
        module.exit_json(changed=not whole, whole=whole, done=True, missing=[], incoming="", manages=manages)
        return
    try:
        files = json.loads(given["files"]) if given["files"] else None
        more = {key: given[key] for key in ("token", "signed", "unsigned")}
        found = delivery.step(source(given["source"], files=files, **more), given["seconds"])
    except (StoreError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(
        changed=found.changed,
        done=found.done,
        missing=list(found.missing),
        incoming=str(delivery.incoming),
        progress=found.said,
        msg=found.said,
        manages=manages,
    )


if __name__ == "__main__":
    main()
