"""The C headers that Ollama's Go module lacks, out of an sdist that carries them too.

Go leaves folders named `vendor` out of modules, and Ollama's copy of llama.cpp has nlohmann/json, stb and miniaudio in one.
The sdist of llama-cpp-python has the same three, and is pinned by its digest.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import venv
from pathlib import Path

from tools import gobuild
from tools.gobuild import BuildError, Report

HERE = Path(__file__).parent
SDIST = HERE / "headers.txt"
BACKEND = HERE / "backend.txt"
FOLDERS = ("miniaudio", "nlohmann", "stb")

_INSIDE = ("vendor", "llama.cpp", "vendor")
_SHOWN_LINES = 8


def pinned() -> str:
    """What of the headers counts in a build's identity."""
    return SDIST.read_text()


def bring(cache: Path, report: Report) -> Path:
    """The folder to include from; fetched unless it is there. To be called under the build's lock.

    Its name is always the same for the same sdist, so that Go's cache knows what was compiled with it.

    Raises:
        BuildError: it can't be fetched, or lacks one of the headers.
    """
    folder = cache / f"headers-{hashlib.sha256(pinned().encode()).hexdigest()[:12]}"
    if all((folder / name).is_dir() for name in FOLDERS):
        return folder
    report("  fetching headers")
    with gobuild.scratch(cache) as scratch:
        made = scratch / "headers"
        made.mkdir()
        extract(_download(scratch), made)
        gobuild.keep(made, folder)
    return folder


def extract(sdist: Path, target: Path) -> None:
    """Put the folders of headers into `target`.

    Raises:
        BuildError: one of them is not in the sdist.
    """
    with tarfile.open(sdist) as archive:
        for member in archive:
            parts = Path(member.name).parts
            # llama_cpp_python-…/vendor/llama.cpp/vendor/stb/stb_image.h
            if not member.isfile() or parts[1:4] != _INSIDE or parts[4] not in FOLDERS or ".." in parts:
                continue
            content = archive.extractfile(member)
            if content is not None:
                file = target.joinpath(*parts[4:])
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())
    if missing := [name for name in FOLDERS if not (target / name).is_dir()]:
        raise BuildError(f"{sdist.name} holds no {', '.join(missing)}: pin another in {SDIST}", 1)


def _download(scratch: Path) -> Path:
    environment = scratch / "pip"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    # pip runs the build backend for the sdist's name; so that it fetches none by itself, it is there already.
    _run(python, "-m", "pip", "install", "--require-hashes", "-r", str(BACKEND))
    _run(
        *(python, "-m", "pip", "download", "--require-hashes", "--no-deps", "--no-binary", ":all:"),
        *("--no-build-isolation", "--dest", str(scratch), "-r", str(SDIST)),
    )
    return next(scratch.glob("*.tar.gz"))


def _run(*command: str) -> None:
    done = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:])
        raise BuildError(
            f"`pip {command[3]}` failed, so Ollama was not built; pip's index has to be one that this machine reaches. "
            f"pip said:\n{tail}",
            1,
        )
