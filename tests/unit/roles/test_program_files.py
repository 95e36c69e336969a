"""Programs from executables and archives: whole or not at all, verified, and repaired."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.unit.roles.loading import load

program_files = load("library/program_files.py")

SCRIPT = b"#!/bin/sh\necho tool 1\n"


class Place:
    """A host's folder of one program, and the file that it comes from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / ".part"
        self.folder = root / "none"

    def single(self, content: bytes = SCRIPT) -> None:
        self.source.write_bytes(content)
        self._name()

    def archive(self, *entries: tuple[str, bytes, int], mode: str = "w:gz") -> None:
        with tarfile.open(self.source, mode) as packed:  # type: ignore[call-overload]
            for name, content, permissions in entries:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), permissions
                packed.addfile(entry, io.BytesIO(content))
        self._name()

    def _name(self) -> None:
        self.folder = self.root / hashlib.sha256(self.source.read_bytes()).hexdigest()[:16]

    def reason(self) -> str:
        said: str = program_files.reason(self.folder, "tool")
        return said

    def install(self, sha256: str = "") -> None:
        program_files.install(self.folder, "tool", self.source, sha256)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return Place(tmp_path)


def test_a_single_executable(place: Place) -> None:
    place.single()
    assert place.reason() == "it is not there"
    place.install(hashlib.sha256(SCRIPT).hexdigest().upper())
    assert place.reason() == ""
    assert place.files() == ["bin/tool", "slipway.json"]
    assert (place.folder / "bin/tool").stat().st_mode & 0o777 == 0o755
    # Nothing of the way there is left.
    assert list(place.root.iterdir()) == [place.folder]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_with_bin_and_lib(place: Place, mode: str) -> None:
    place.archive(("./bin/tool", SCRIPT, 0o755), ("./lib/tool/a.so", b"x", 0o600), mode=mode)
    place.install()
    assert place.files() == ["bin/tool", "lib/tool/a.so", "slipway.json"]
    assert (place.folder / "lib/tool/a.so").stat().st_mode & 0o777 == 0o644


def test_an_archive_in_a_folder_of_its_own(place: Place) -> None:
    place.archive(("tool-1/README", b"x", 0o644), ("tool-1/bin/tool", SCRIPT, 0o755))
    place.install()
    assert place.files() == ["README", "bin/tool", "slipway.json"]


def test_a_flat_archive_keeps_libraries_beside_the_program(place: Place) -> None:
    place.archive(("tool-1/tool", SCRIPT, 0o755), ("tool-1/libx.so", b"x", 0o644))
    place.install()
    assert place.files() == ["bin/libx.so", "bin/tool", "slipway.json"]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("bin/other", SCRIPT, 0o755)], "it holds no executable named tool"),
        ([("tool", b"docs", 0o644)], "it holds no executable named tool"),
        ([("a/tool", SCRIPT, 0o755), ("b/tool", SCRIPT, 0o755)], "it holds several executables named tool"),
        (
            [("bin/tool", b"#!/bin/sh\necho no library >&2; exit 127", 0o755)],
            r"does not start .* \(exit code 127\): no lib",
        ),
        (
            [("bin/tool", b"#!/bin/sh\nkill -ILL $$", 0o755)],
            r"does not start on this host \(signal 4\): it said nothing",
        ),
    ],
)
def test_what_can_not_be_installed_leaves_nothing(
    place: Place, entries: list[tuple[str, bytes, int]], said: str
) -> None:
    place.archive(*entries)
    with pytest.raises(program_files.ProgramError, match=said):
        place.install()
    assert list(place.root.iterdir()) == [place.source]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"PK\3\4zip", "ZIP archive: pack it anew"), (b"<html>", "neither a program nor a tar archive")],
)
def test_what_is_no_program_at_all(place: Place, content: bytes, said: str) -> None:
    place.single(content)
    with pytest.raises(program_files.ProgramError, match=said):
        place.install()


def test_another_file_than_was_asked_for(place: Place) -> None:
    place.single()
    with pytest.raises(program_files.ProgramError, match="it is another file, or not whole"):
        place.install("0" * 64)
    place.folder = place.root / ("0" * 16)
    with pytest.raises(program_files.ProgramError, match="and so it belongs in"):
        place.install()
    place.source.unlink()
    with pytest.raises(program_files.ProgramError, match="it is not there"):
        place.install()


def test_damage_is_noticed_and_mended(place: Place) -> None:
    place.archive(("bin/tool", SCRIPT, 0o755), ("lib/a", b"abc", 0o644))
    kept = place.source.read_bytes()
    place.install()
    # What others put beside it, such as a launcher, is not its own.
    (place.folder / "bin/more").write_text("x")
    assert place.reason() == ""
    (place.folder / "lib/a").write_text("ab")
    (place.folder / "bin/tool").chmod(0o644)
    assert place.reason() == "changed by hand: bin/tool, lib/a"
    place.source.write_bytes(kept)
    place.install()
    assert place.reason() == ""
    (place.folder / program_files.STAMP).unlink()
    assert place.reason() == "its installation was not completed"
