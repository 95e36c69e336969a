"""Builds the pinned Ollama with Go, once per machine and version, and prints where it is.

usage: python -m tools.ollama.build [--level auto|v3|baseline] [--cache DIR]

Needs Go, a C and a C++ compiler, the Go module proxy and a Python package index. The result is kept in a folder named after
the version, the level, and the digest of all that it is built from; it appears there whole or not at all (see
`tools.gobuild`), and a build that was stopped goes on from what Go has compiled already.

The level is what CPUs the kernels are for: v3 is x86-64-v3 (AVX2, FMA), many times as fast as the baseline of x86-64, and
such a program ends with "illegal instruction" on a CPU without. auto takes v3 where this machine has it, which is right for
hosts on this machine. There is no GPU in it, and no choice at run time: for those take the official release.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools import gobuild
from tools.gobuild import CACHE, BuildError, Go, Pin, Report, reporter, run_command
from tools.ollama import headers

HERE = Path(__file__).parent

TOOL = "github.com/ollama/ollama"
LEVELS = {"v3": ("-O3", "-march=x86-64-v3"), "baseline": ("-O3",)}
"""Flags of the C and C++ compilers by level."""

V3 = frozenset(("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"))
"""x86-64-v3, in the words of /proc/cpuinfo."""

WAYS = (
    "Either take an official release of Ollama {pin.version} or newer, or install Go {pin.go} or newer and the packages "
    "gcc and g++, with which it is built here once (2 to 60 minutes on 2 cores). Then run this again."
)
"""The two ways to an Ollama; a format of `pin`."""


def level_of(machine: str, cpuinfo: str) -> str:
    """The level that a machine's CPU can run."""
    flags = next((line.split(":", 1)[1].split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])
    return "v3" if machine == "x86_64" and set(flags) >= V3 else "baseline"


def pinned(level: str, folder: Path = HERE) -> Pin:
    """Reads what is pinned; the digest is of everything that the program is built from."""
    return gobuild.read_pin(folder, TOOL, headers.pinned(), *LEVELS[level])


def built_program(cache: Path, level: str, pin: Pin) -> Path:
    """Where the program is, or will be."""
    return cache / "ollama" / f"{pin.version}-{level}-{pin.digest}" / "ollama"


def ensure(level: str = "auto", cache: Path = CACHE, report: Report | None = None) -> Path:
    """The built program; builds it unless it is there.

    Raises:
        BuildError: there is none and none can be built.
    """
    report = report or reporter()
    if level == "auto":
        level = level_of(platform.machine(), Path("/proc/cpuinfo").read_text())
    pin = pinned(level)
    program = built_program(cache, level, pin)
    if program.is_file():
        return program
    go = gobuild.find_go(pin, HERE, "Ollama", WAYS.format(pin=pin))
    missing = [name for name in (os.environ.get("CC", "gcc"), os.environ.get("CXX", "g++")) if not shutil.which(name)]
    if go is None or missing:
        raise BuildError(f"There is no {' and no '.join(missing or ['go'])} on PATH. {WAYS.format(pin=pin)}")
    folder = cache / "ollama"
    with gobuild.lock(folder, report):
        if not program.is_file():
            _build(go, pin, level, program, report)
    return program


def _build(go: Go, pin: Pin, level: str, program: Path, report: Report) -> None:
    report(
        f"Building Ollama {pin.version} ({level}) with Go, once for this machine: "
        "2 to 60 minutes on 2 cores, depending on how busy they are."
    )
    began = time.monotonic()
    folder = program.parent.parent
    included = headers.bring(folder, report)
    version = pin.version.removeprefix("v")
    flags = " ".join((*LEVELS[level], f"-ffile-prefix-map={included}=headers"))
    compilers = {
        "CGO_ENABLED": "1",
        "CGO_CPPFLAGS": f"-I{included}",
        "CGO_CFLAGS": flags,
        "CGO_CXXFLAGS": flags,
    }
    linked = f"-ldflags=-s -w -X {TOOL}/version.Version={version} -X {TOOL}/server.mode=release"
    with gobuild.scratch(folder) as scratch:
        made = scratch / program.name
        go.compile(("build", f"-o={made}", linked), TOOL, compilers, report)
        # No server is asked, neither one of this machine nor one of the environment.
        alone = {**os.environ, "OLLAMA_HOST": "127.0.0.1:1", "HOME": str(scratch)}
        said = subprocess.run([made, "--version"], env=alone, capture_output=True, text=True, check=False)
        if not said.stdout.strip().endswith(f"version is {version}"):
            raise BuildError(f"Ollama was built, but calls itself {said.stdout.strip()!r}: {said.stderr.strip()}", 1)
        size = made.stat().st_size
        gobuild.keep(scratch, program.parent)
    report(f"  built in {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.ollama.build", description=__doc__.splitlines()[0])
    parser.add_argument("--level", choices=("auto", *LEVELS), default="auto", help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    return run_command(lambda: str(ensure(options.level, options.cache.absolute())))


if __name__ == "__main__":
    sys.exit(main())
