"""Where Slipway keeps things on the machine it runs on, outside every checkout.

State belongs to the machine and not to a checkout: two clones share one lab and one set of stacks.
"""

import os
from pathlib import Path

MACHINE = Path("~/.local/state/slipway").expanduser()
"""What belongs to the machine as a whole: the lab, its model."""
STATE = Path(os.environ.get("SLIPWAY_STATE", MACHINE)).expanduser()
"""Stacks, secrets and logs; SLIPWAY_STATE moves them, so that tests and second users keep apart."""

PULUMI_STATE = STATE / "pulumi"
PASSPHRASE = STATE / "passphrase"
SECRETS = STATE / "secrets"
STACKS = STATE / "stacks"
MODELS = MACHINE / "models"
PLAYBOOK_LOG = STATE / "playbook.log"

_HERE = Path(__file__).resolve().parent.parent
ROOT = _HERE if (_HERE / "Pulumi.yaml").is_file() else Path.cwd()
"""The checkout: the folder that holds Pulumi.yaml. Installed as a package, apart from one, Slipway works where it is called."""
