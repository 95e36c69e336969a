"""A package of ours in a text for a host's Python, with what it takes from beside itself."""

import subprocess
from pathlib import Path

import pytest

from cli import packages
from cli.carried import answer, program


@pytest.mark.parametrize("beside", [packages._BESIDE, ()])
def test_a_package_finds_what_it_takes_from_where_ansible_has_it_and_nothing_else(
    root: Path, beside: tuple[str, ...]
) -> None:
    text = program(root, "system_packages.turn.running", {}, beside)
    # Of the environment that tests run in it sees nothing.
    done = subprocess.run(
        ("/usr/bin/python3", "-I", "-B", "-"), input=text, capture_output=True, text=True, check=False
    )
    if beside:
        assert answer(done.stdout).keys() == {"boot_id", "kernel", "reboot"}, done.stderr
    else:
        assert "No module named 'ansible" in done.stderr
