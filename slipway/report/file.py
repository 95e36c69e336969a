"""Put a text in a file whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from slipway.errors import UserMistake

_NOTHING = "nothing was written"


class ReportError(UserMistake):
    """A file that the page can't go to: one line with what is wrong and what to do."""


def put(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, with a temporary file beside it that takes its place in one step.

    A file that is there keeps its mode, and a link keeps pointing to it.

    Raises:
        ReportError: It can't be written; what was there before still is.
    """
    target = _target(path)
    # Arguments that are not UTF-8 reach Python as surrogates, which no file can hold.
    content = text.encode("utf-8", errors="replace")
    temporary = None
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise ReportError(
            f"{path} can't be written ({error.strerror or error}); {_NOTHING}; name another file"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file itself, links followed.

    Raises:
        ReportError: There is something that is no file, or no folder to hold it.
    """
    try:
        target = path.resolve()
        kind = target.stat().st_mode if target.exists() else None
        has_folder = target.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a character that no name can have
        raise ReportError(f"{str(path)!r} can't be written ({error}); {_NOTHING}; name another file") from error
    if kind is not None and stat.S_ISDIR(kind):
        raise ReportError(f"{path} is a folder; {_NOTHING}; name a file, for instance {path / 'plan.html'}")
    # Taking the place of a device, as root, would leave the machine without it.
    if kind is not None and not stat.S_ISREG(kind):
        raise ReportError(f"{path} is not a regular file; {_NOTHING}; name one, for instance plan.html")
    if not has_folder:
        raise ReportError(
            f"the folder {target.parent} of {path.name} does not exist; {_NOTHING}; make it, or name another"
        )
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
