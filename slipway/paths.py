"""Where Slipway keeps things on the machine it runs on, outside every checkout.

State belongs to the machine and not to a checkout: two clones share one lab and one set of stacks.
"""

from pathlib import Path

STATE = Path("~/.local/state/slipway").expanduser()
CACHE = Path("~/.cache/slipway").expanduser()

PULUMI_STATE = STATE / "pulumi"
PASSPHRASE = STATE / "passphrase"
SECRETS = STATE / "secrets"
STACKS = STATE / "stacks"
MODELS = STATE / "models"
KNOWN_HOSTS = STATE / "known_hosts"
PLAYBOOK_LOG = STATE / "playbook.log"

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds Pulumi.yaml."""
