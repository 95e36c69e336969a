"""Decides which Pulumi engine is used, and puts it beside the virtual environment's Python.

usage: python -m tools.pulumi.install [--bin DIR] [--cache DIR]

An official `pulumi` on PATH of a fitting version is used as it is. Otherwise the pinned version is built with Go (see
`build`) and linked into --bin. Where the official `pulumi-language-python` is missing, our own language host is linked
beside it. What lies in --bin and is not a link of ours is never touched; links of ours that are needed no longer are
removed, for they would hide the official ones.

Nothing here needs more than the standard library: it runs before the project is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.gobuild import CACHE, BuildError, Go, Pin, Report, reporter, run_command
from tools.pulumi.build import EXECUTOR, WAYS, build, built_engine, executor_only, find_go, pinned

ENGINE = "pulumi"
HOST = "pulumi-language-python"
LINKS = (ENGINE, HOST, EXECUTOR)

OLDEST = (3, 200, 0)
"""The oldest official engine that is used. Within a major version Pulumi keeps its protocols, and SDK and engine
negotiate features, so any 3.x from the pinned one on fits. Some older ones are let in on the same promise, so that a
site need not upgrade at once; nobody tried those before this one, and where one fails, upgrading it is the mend."""

_SHIM = """\
#!/bin/sh
# The language host of Slipway (tools/pulumi/language_host.py), run by the Python beside the link that was called.
here=${0%/*}
python=$here/python
if [ ! -x "$python" ]; then
    real=$(readlink -f "$0")
    read -r python < "${real%/*}/python-path"
fi
exec "$python" -P -m tools.pulumi.language_host --executor "$here/pulumi-language-python-exec" "$@"
"""


@dataclass(frozen=True)
class Engine:
    """The engine in use: its executable, its version, and whether it and its language host are official ones."""

    path: Path
    version: str
    official: bool
    official_host: bool


@dataclass(frozen=True)
class Official:
    """An official `pulumi` on PATH; `version` is empty when it does not say one."""

    path: Path
    version: str

    def fits(self) -> bool:
        """Whether the pinned SDK can be run with it."""
        numbers = _numbers(self.version)
        return numbers >= OLDEST and numbers[0] == OLDEST[0]


def install(bin_dir: Path, cache: Path, report: Report) -> Engine:
    """Puts a working engine in place and returns it; a second call finds it and does nothing.

    Raises:
        BuildError: there is none and none can be built.
    """
    pin = pinned()
    official = find_official(bin_dir, cache)
    host = _on_path(HOST, bin_dir, cache)
    if official is not None and official.fits():
        if host is not None:
            _unlink(bin_dir, cache, LINKS)
            return Engine(official.path, official.version, official=True, official_host=True)
        report(f"{official.path} came without {HOST}: using Slipway's own.")
        folder = executor_only(cache, pin, _go(pin), report)
        _unlink(bin_dir, cache, [ENGINE])
        _link_host(folder, bin_dir, cache)
        return Engine(official.path, official.version, official=True, official_host=False)

    folder = built_engine(cache, pin)
    if not all((folder / name).is_file() for name in (ENGINE, EXECUTOR)):
        folder = build(cache, pin, _go(pin, official), report)
    if official is not None:
        report(
            f"{official.path} is Pulumi {official.version or 'of no known version'}, which Slipway can't use (3.x from "
            f"3.{OLDEST[1]} on): using {pin.version}, built here. Put {bin_dir} before it on PATH."
        )
    _link(folder / ENGINE, bin_dir, cache)
    # A host beside an engine that does not fit is as old as that engine.
    if host is None or official is not None:
        _link_host(folder, bin_dir, cache)
        return Engine(bin_dir / ENGINE, pin.version, official=False, official_host=False)
    _unlink(bin_dir, cache, [HOST, EXECUTOR])
    return Engine(bin_dir / ENGINE, pin.version, official=False, official_host=True)


def find_official(bin_dir: Path, cache: Path) -> Official | None:
    """The first `pulumi` on PATH that is no link of ours."""
    path = _on_path(ENGINE, bin_dir, cache)
    if path is None:
        return None
    try:
        said = subprocess.run(
            [path, "version"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"v?(\d+\.\d+\.\d+\S*)", said)
    return Official(path, f"v{found[1]}" if found else "")


def _on_path(name: str, bin_dir: Path, cache: Path) -> Path | None:
    for folder in dict.fromkeys([*os.environ.get("PATH", os.defpath).split(os.pathsep), str(bin_dir)]):
        candidate = Path(folder or ".", name)
        if os.access(candidate, os.X_OK) and candidate.is_file() and not _is_ours(candidate, cache):
            return candidate.absolute()
    return None


def _is_ours(path: Path, cache: Path) -> bool:
    return path.resolve().is_relative_to((cache / "engine").resolve())


def _go(pin: Pin, official: Official | None = None) -> Go:
    go = find_go(pin)
    if go is None:
        found = "There is no Pulumi engine on PATH"
        if official is not None:
            found = f"{official.path} is Pulumi {official.version or 'of no known version'}, which does not fit"
        raise BuildError(f"{found}, and no Go to build one. {WAYS.format(pin=pin)}")
    return go


def _link_host(folder: Path, bin_dir: Path, cache: Path) -> None:
    # The host lies beside the engine and is linked from --bin, since the engine warns on every command of a language
    # host on PATH that is not, links resolved, the one beside itself.
    _write(folder / HOST, _SHIM, 0o755)
    # For a --bin that is no virtual environment's; the last install wins.
    _write(folder / "python-path", f"{sys.executable}\n", 0o644)
    for name in (HOST, EXECUTOR):
        _link(folder / name, bin_dir, cache)


def _link(target: Path, bin_dir: Path, cache: Path) -> None:
    link = bin_dir / target.name
    if link.is_symlink() and link.readlink() == target:
        return
    if os.path.lexists(link) and not (link.is_symlink() and _is_ours(link, cache)):
        raise BuildError(f"{link} exists and is not Slipway's: remove it, or choose another folder with --bin")
    bin_dir.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _unlink(bin_dir: Path, cache: Path, names: Sequence[str]) -> None:
    for name in names:
        link = bin_dir / name
        if link.is_symlink() and _is_ours(link, cache):
            link.unlink()


def _write(file: Path, text: str, mode: int) -> None:
    if file.is_file() and file.read_text() == text:
        return
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(text)
    new.chmod(mode)
    new.replace(file)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(part) for part in found.groups()) if found else (0, 0, 0)


def _describe(engine: Engine) -> Iterator[str]:
    yield f"Pulumi engine: {engine.version}, {'official' if engine.official else 'built here'}, {engine.path}"
    yield f"Language host: {'official' if engine.official_host else 'of Slipway'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.pulumi.install", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--bin", type=Path, default=Path(sysconfig.get_path("scripts")), help="where links go (default: %(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="(default: %(default)s)")
    options = parser.parse_args(arguments)

    def command() -> str:
        return "\n".join(_describe(install(options.bin.absolute(), options.cache.absolute(), reporter())))

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
