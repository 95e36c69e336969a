"""Compiled Python kept between commands, where the environment keeps none.

Installers such as uv compile nothing, and PYTHONDONTWRITEBYTECODE, common in images, forbids to make up for it. Every command
then compiles the SDK anew, and Ansible its plugins in each process of each task: about half of its start. The variable is set
to keep sources free of litter, so what is kept lies elsewhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def keep() -> None:
    """Keeps bytecode in the user's cache, here and in all processes to come, if it would not be kept beside the sources."""
    if sys.dont_write_bytecode:
        folder = str(Path.home() / ".cache" / "slipway" / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        sys.pycache_prefix = folder
        sys.dont_write_bytecode = False
