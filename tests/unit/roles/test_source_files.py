"""A folder that holds just the files that it is told to."""

from pathlib import Path

import pytest

from tests.unit.roles.loading import load

source_files = load("library/source_files.py")
FILES = {"main.py": "a = 1\n", "inner/part.py": "b = 'ü'\n"}


def shown(folder: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
    }


def test_a_new_folder_gets_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert source_files.keep(folder, FILES, check=True) == ([".", "inner", "inner/part.py", "main.py"], [])
    assert not folder.exists()
    source_files.keep(folder, FILES, check=False)
    assert shown(folder) == {"inner": None, **FILES}
    assert [(folder / path).stat().st_mode & 0o777 for path in (".", "inner", "main.py")] == [0o755, 0o755, 0o644]
    assert source_files.keep(folder, FILES, check=True) == ([], [])


@pytest.mark.parametrize(
    ("spoil", "written", "removed"),
    [
        (lambda folder: (folder / "main.py").write_text("a = 2\n"), ["main.py"], []),
        (lambda folder: (folder / "main.py").chmod(0o666), ["main.py"], []),
        (lambda folder: (folder / "main.py").unlink(), ["main.py"], []),
        (lambda folder: (folder / "inner").chmod(0o777), ["inner"], []),
        (lambda folder: (folder / "old.py").write_text("x"), [], ["old.py"]),
        (lambda folder: (folder / "old/deep").mkdir(parents=True), [], ["old"]),
        (lambda folder: (folder / "inner/link.py").symlink_to("/etc/passwd"), [], ["inner/link.py"]),
        (lambda folder: (folder / ".main.py.new").write_text("half"), [], [".main.py.new"]),
    ],
)
def test_what_differs_is_mended(tmp_path: Path, spoil: object, written: list[str], removed: list[str]) -> None:
    source_files.keep(tmp_path / "folder", FILES, check=False)
    spoil(tmp_path / "folder")  # type: ignore[operator]
    before = shown(tmp_path / "folder")
    assert source_files.keep(tmp_path / "folder", FILES, check=True) == (written, removed)
    assert shown(tmp_path / "folder") == before
    assert source_files.keep(tmp_path / "folder", FILES, check=False) == (written, removed)
    assert shown(tmp_path / "folder") == {"inner": None, **FILES}
    assert source_files.keep(tmp_path / "folder", FILES, check=True) == ([], [])


def test_links_and_folders_in_a_files_place_make_way(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.mkdir()
    (outside / "part.py").write_text(FILES["inner/part.py"], encoding="utf-8")
    (outside / "part.py").chmod(0o644)
    folder.mkdir(mode=0o755)
    (folder / "main.py").mkdir()
    (folder / "inner").symlink_to(outside)
    source_files.keep(folder, FILES, check=False)
    assert shown(folder) == {"inner": None, **FILES}
    assert not (folder / "inner").is_symlink()
    assert shown(outside) == {"part.py": FILES["inner/part.py"]}


def test_bytecode_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    source_files.keep(folder, FILES, check=False)
    (folder / "inner/__pycache__").mkdir()
    assert source_files.keep(folder, FILES, check=False) == ([], [])
    assert (folder / "inner/__pycache__").is_dir()
