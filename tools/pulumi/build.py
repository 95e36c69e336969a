"""Builds the pinned Pulumi engine with Go, once per machine and version.

Only the Go module proxy is needed. The result is kept in a folder named after the version and the digest of go.mod and
go.sum, and appears there whole or not at all (see `tools.gobuild`).
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from tools import gobuild
from tools.gobuild import BuildError, Go, Pin, Report

HERE = Path(__file__).parent

TOOL = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK = "github.com/pulumi/pulumi/sdk/v3"
EXECUTOR = "pulumi-language-python-exec"

_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

WAYS = (
    "Either install Pulumi {pin.version} or any newer 3.x from Pulumi's own packages, so that `pulumi` and "
    "`pulumi-language-python` are on PATH, or install Go {pin.go} or newer, with which it is built here "
    "once (about 5 minutes on 2 cores). Then run this again."
)
"""The two ways to an engine; a format of `pin`."""


def pinned(folder: Path = HERE) -> Pin:
    """Reads go.mod and go.sum."""
    return gobuild.read_pin(folder, "github.com/pulumi/pulumi/pkg/v3")


def find_go(pin: Pin) -> Go | None:
    """The Go on PATH, or None.

    Raises:
        BuildError: there is one, but it is too old and may not fetch a newer one.
    """
    return gobuild.find_go(pin, HERE, "Pulumi", WAYS.format(pin=pin))


def built_engine(cache: Path, pin: Pin) -> Path:
    """The folder that holds, or will hold, the engine and its language host."""
    return cache / "engine" / pin.key / "bin"


def build(cache: Path, pin: Pin, go: Go, report: Report) -> Path:
    """Returns the folder of the built engine and the program executor; builds them unless they are there.

    Raises:
        BuildError: the build failed.
    """
    folder = built_engine(cache, pin)
    with gobuild.lock(cache / "engine", report):
        if (folder / "pulumi").is_file() and (folder / EXECUTOR).is_file():
            return folder
        with gobuild.scratch(cache / "engine") as scratch:
            target = scratch / "bin"
            target.mkdir()
            _copy_executor(go, target)
            if (folder / "pulumi").is_file():
                shutil.copy2(folder / "pulumi", target / "pulumi")
            else:
                _compile(go, pin, target, report)
            gobuild.keep(scratch, folder.parent)
    return folder


def executor_only(cache: Path, pin: Pin, go: Go, report: Report) -> Path:
    """The same for an official engine that came without its language host: only the program executor."""
    folder = cache / "engine" / f"{pin.key}-host" / "bin"
    with gobuild.lock(cache / "engine", report):
        if not (folder / EXECUTOR).is_file():
            with gobuild.scratch(cache / "engine") as scratch:
                (scratch / "bin").mkdir()
                _copy_executor(go, scratch / "bin")
                gobuild.keep(scratch, folder.parent)
    return folder


def _copy_executor(go: Go, folder: Path) -> None:
    go.run("mod", "download", SDK)
    source = go.run("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SDK).strip()
    target = folder / EXECUTOR
    shutil.copyfile(Path(source, "python", "cmd", EXECUTOR), target)
    target.chmod(0o755)


def _compile(go: Go, pin: Pin, folder: Path, report: Report) -> None:
    report(f"Building Pulumi {pin.version} with Go: about 5 minutes on 2 cores, once for this machine.")
    began = time.monotonic()
    flags = ("-tags=osusergo,grpcnotrace", f"-ldflags=-s -w -X {_VERSION_VARIABLE}={pin.version}")
    go.compile(("install", *flags), TOOL, {"GOBIN": str(folder), "CGO_ENABLED": "0"}, report)
    said = subprocess.run([folder / "pulumi", "version"], capture_output=True, text=True, check=False)
    if said.stdout.strip() != pin.version:
        raise BuildError(f"the engine was built, but calls itself {said.stdout.strip()!r}: {said.stderr.strip()}", 1)
    report(f"  built in {time.monotonic() - began:.0f} s")
