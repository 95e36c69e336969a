"""The commands that the documents show."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^[ ]*```console\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


def console_lines(file: Path) -> list[str]:
    """Every line of the file's ``console`` blocks, in order."""
    return [line.strip() for block in _BLOCK.findall(file.read_text()) for line in block.splitlines() if line.strip()]
