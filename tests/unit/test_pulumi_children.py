"""The processes of a language host: their output arrives whole, and their end does not wait for what hangs on."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import psutil
import pytest

from tools.pulumi.children import GRACE, Children


async def output_of(code: str, pause: float = 0.0) -> tuple[bytes, bytes, int]:
    """What a Python process wrote, read with a pause before each chunk, and its exit code."""
    children = Children()
    child = await children.start([sys.executable, "-S", "-c", code], cwd=None, env=dict(os.environ), captured=True)
    said = {"stdout": b"", "stderr": b""}
    async for channel, chunk in child.output():
        await asyncio.sleep(pause)
        said[channel] += chunk
    code_of_exit = await child.ended()
    await children.end(child)
    assert not children
    return said["stdout"], said["stderr"], code_of_exit


def has_ended(pid: int, within: float = 5.0) -> bool:
    """Whether an orphan ends; where init does not reap, it stays a zombie."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_slow_reader_loses_nothing() -> None:
    out, err, code = asyncio.run(
        output_of("import sys; sys.stdout.write('x' * 300_000); sys.stderr.write('end'); sys.exit(3)", pause=GRACE / 3)
    )
    assert (len(out), err, code) == (300_000, b"end", 3)


def test_what_keeps_the_output_open_is_not_waited_for() -> None:
    # The grandchild inherits both pipes and would hold them for a minute.
    began = time.monotonic()
    out, _, code = asyncio.run(output_of("import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"))
    assert code == 0
    assert time.monotonic() - began < 5
    assert has_ended(int(out))


def test_a_missing_command_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> int:
        children = Children()
        child = await children.start(["/gone/python"], cwd=None, env=dict(os.environ), captured=False)
        code = await child.ended()
        await children.end(child)
        return code

    assert asyncio.run(run()) == 1
    assert "could not start /gone/python" in capfd.readouterr().err
