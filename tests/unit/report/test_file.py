"""A file is written whole or not at all."""

import os
import socket
import stat
from pathlib import Path

import pytest

from slipway.errors import UserMistake
from slipway.report.file import ReportError, put


def test_it_writes_utf_8(tmp_path: Path) -> None:
    put(tmp_path / "plan.html", "12\N{EN DASH}34\n")
    assert (tmp_path / "plan.html").read_bytes() == "12\N{EN DASH}34\n".encode()
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.html"]


def test_what_no_file_can_hold_becomes_a_question_mark(tmp_path: Path) -> None:
    put(tmp_path / "plan.html", "slipway plan \udce4")
    assert (tmp_path / "plan.html").read_text(encoding="utf-8") == "slipway plan ?"


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(tmp_path / "plan.html", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "plan.html").stat().st_mode) == 0o640


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    file, link = tmp_path / "plan.html", tmp_path / "latest.html"
    file.write_text("old")
    file.chmod(0o604)
    link.symlink_to(file.name)
    put(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def _folder(tmp: Path) -> Path:
    return tmp


def _link_to_a_folder(tmp: Path) -> Path:
    (tmp / "link").symlink_to(tmp, target_is_directory=True)
    return tmp / "link"


def _no_such_folder(tmp: Path) -> Path:
    return tmp / "reports" / "plan.html"


def _below_a_file(tmp: Path) -> Path:
    (tmp / "file").write_text("")
    return tmp / "file" / "plan.html"


def _device(_: Path) -> Path:
    return Path("/dev/null")


def _pipe(tmp: Path) -> Path:
    os.mkfifo(tmp / "pipe")
    return tmp / "pipe"


def _loop(tmp: Path) -> Path:
    (tmp / "loop").symlink_to("loop")
    return tmp / "loop"


def _too_long(tmp: Path) -> Path:
    return tmp / ("x" * 300)


def _nul(tmp: Path) -> Path:
    return tmp / "plan\0.html"


def _not_writable(_: Path) -> Path:
    return Path("/proc/plan.html")  # for root too


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_folder, "is a folder; nothing was written; name a file, for instance .*/plan.html"),
        (_link_to_a_folder, "is a folder"),
        (_no_such_folder, "the folder .*/reports of plan.html does not exist; nothing was written; make it"),
        (_below_a_file, "does not exist|can't be written"),
        (_device, "/dev/null is not a regular file; nothing was written"),
        (_pipe, "is not a regular file"),
        (_loop, "can't be written"),
        (_too_long, "can't be written"),
        (_nul, "can't be written"),
        (_not_writable, r"/proc/plan.html can't be written \(.*\); nothing was written; name another file"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path, make: object, message: str) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReportError, match=message) as caught:
        put(path, "new")
    assert isinstance(caught.value, UserMistake)
    assert "\n" not in caught.value.report
    assert sorted(tmp_path.rglob("*")) == before


def test_devices_are_still_there() -> None:
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    with pytest.raises(ReportError):
        put(Path(os.devnull), "new")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_sockets_stay(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        with pytest.raises(ReportError, match="not a regular file"):
            put(tmp_path / "s", "new")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    file = tmp_path / "plan.html"
    file.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(ReportError, match="No space left on device"):
        put(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
