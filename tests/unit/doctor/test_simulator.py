"""The simulated host is the tests' own: nothing that ships knows of it, so no stack can be served by one."""

import re
from pathlib import Path

import pytest

from tests.fixtures.gpu_simulator.simulator import LIBRARIES

SHIPPED = ("slipway", "cli", "components", "provider", "playbooks", "policies", "stacks", "tools")
"""What is packaged or run for a stack. Ours is below `tests`."""
NAMED = re.compile(
    r"gpu[_-]simulator|simulated[_-]gpus|GpuHost|\btests[./]fixtures|^\s*(?:from|import) tests\b",
    re.IGNORECASE | re.MULTILINE,
)


def shipped(root: Path) -> list[Path]:
    """Its files, and those of the project's root folder that an `up` reads."""
    found = [file for folder in SHIPPED for file in (root / folder).rglob("*") if file.is_file()]
    return [*found, root / "__main__.py", root / "Pulumi.yaml", root / "requirements.txt"]


def test_nothing_that_ships_names_it(root: Path) -> None:
    files = [file for file in shipped(root) if "__pycache__" not in file.parts and ".venv" not in file.parts]
    assert len(files) > 500
    assert [str(file) for file in files if NAMED.search(file.read_text(encoding="utf-8", errors="replace"))] == []


@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != "libnccl.so.2"])
def test_the_vendors_library_is_opened_by_its_name_alone(root: Path, library: str) -> None:
    """No setting and no variable of ours names another."""
    modules = [file.read_text() for file in (root / "playbooks/module_utils/gpu_host").glob("*.py")]
    assert any(f'= "{library}"' in text for text in modules)
    assert not [text for text in modules if re.search(r"\.environ\b(?!\.update)|getenv", text)]
