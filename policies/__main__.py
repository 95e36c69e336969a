"""The policy pack: `pulumi preview --policy-pack policies`."""

import sys
from pathlib import Path

# The engine starts packs in the project's folder, and Python looks there first: a project may have policies of its own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.pack.server import main

main()
