"""`python -m tools.review.stand_ins STACK`: empty SSH keys where a stack names ones that this machine does not have.

A preview reaches no host, yet the settings are refused where a host's key is missing; and no key that opens a host has any
business where a branch's code runs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from slipway.paths import ROOT
from slipway.settings import SettingsError
from slipway.settings.load import read_public


def main(stack: str) -> None:
    """Make them."""
    try:
        hosts = read_public(stack, ROOT).hosts
    except SettingsError:
        # The preview says it.
        return
    for file in {host.key_file for host in hosts if host.key_file is not None}:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


if __name__ == "__main__":
    main(sys.argv[1])
