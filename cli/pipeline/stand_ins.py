"""Stand-ins for the files that a stack names and this machine does not have: SSH keys, a certificate and its key, a model.

`python -m cli.pipeline.stand_ins STACK LIST` makes them and writes what it made to the file LIST; `--remove LIST` removes it.

A preview reaches no host, yet the settings are refused where such a file is missing; and no key that opens a host has any
business where a branch's code runs. What is there is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slipway.paths import ROOT
from slipway.settings.errors import SettingsError
from slipway.settings.load import read_public
from slipway.settings.platform import Settings


class Maker:
    """Makes what is missing, and writes each path down before it is there."""

    def __init__(self, listing: Path) -> None:
        self._listing = listing

    def folder(self, folder: Path) -> None:
        """With those above it."""
        missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
        for each in reversed(missing):
            self._note(each)
            each.mkdir(mode=0o700)

    def file(self, file: Path, content: bytes) -> None:
        """Readable by this user alone."""
        self.folder(file.parent)
        if os.path.lexists(file):
            return
        self._note(file)
        with (
            suppress(FileExistsError),
            os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out,
        ):
            out.write(content)

    def _note(self, path: Path) -> None:
        with self._listing.open("ab") as listing:
            listing.write(os.fsencode(path.absolute()) + b"\0")


def make(settings: Settings, maker: Maker) -> None:
    """All that `settings` name."""
    wanted = {each.key_file: b"" for each in settings.machines.values() if each.key_file is not None}
    for model in settings.served.values():
        path = model.source.path
        if path is None or os.path.lexists(path):
            continue
        if model.source.gguf is not None:
            # Nothing looks into it before a host does.
            wanted[path if path.name == model.source.gguf else path / model.source.gguf] = b""
        else:
            # It says nothing of the model, so that the catalogue's entry counts.
            wanted[path / "config.json"] = b"{}\n"
    front = settings.front
    files = (front.certificate_file, front.key_file, front.ca_file)
    if any(file is not None and not os.path.lexists(file) for file in files):
        certificate, key = _certificate()
        pairs = zip(files, (certificate, key, certificate), strict=True)
        wanted |= {file: content for file, content in pairs if file is not None}
    for file, content in wanted.items():
        try:
            maker.file(file, content)
        except OSError as error:
            # The preview then says that it is missing.
            print(f"{file}: no stand-in can be made ({error.strerror})", file=sys.stderr)


def _certificate() -> tuple[bytes, bytes]:
    """Self-signed, valid for a day, and its key: both are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=stand-in.invalid",
        ]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return certificate.read_bytes(), key.read_bytes()


def remove(listing: Path) -> None:
    """What was made, the last first; a folder only where nothing else came into it."""
    for name in reversed([name for name in listing.read_bytes().split(b"\0") if name]):
        path = Path(os.fsdecode(name))
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def main(arguments: Sequence[str]) -> None:
    """Make them, or remove them."""
    first, listing = arguments
    if first == "--remove":
        remove(Path(listing))
        return
    try:
        settings = read_public(first, ROOT)
    except SettingsError:
        # The preview says it.
        return
    if shutil.which("openssl") is None:
        print("there is no openssl, so a certificate has no stand-in", file=sys.stderr)
        settings = settings.model_copy(update={"front": type(settings.front)()})
    make(settings, Maker(Path(listing)))


if __name__ == "__main__":
    main(sys.argv[1:])
