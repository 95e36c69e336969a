"""What the catalogue's YAML says, remembered as msgpack: a command that only computes must not parse 6,000 lines of YAML first.

One file per kind under ~/.cache/slipway (or $XDG_CACHE_HOME/slipway). Its head is a digest of the YAML and of the rest of the
file, so that an old, foreign or damaged one is not believed. It is put in place by a rename: readers see a whole file or
none, whoever else writes and whoever is killed. Where the folder can't be written nothing is remembered, and nothing said.
Only the catalogue's own files are kept here, never a user's.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

_DIGEST = sha256().digest_size


def remembered(kind: str, files: Sequence[tuple[str, bytes]], parse: Callable[[str, bytes], Any]) -> list[Any]:
    """What `parse` makes of each of `files` (name and content), in their order.

    Args:
        kind: The kind of entries: the name of the file in the cache.
        files: All files of the kind.
        parse: Called for every file unless all of them are remembered; gives plain data.
    """
    source = sha256()
    for name, content in files:
        source.update(b"%s\0%d\0" % (name.encode(), len(content)))
        source.update(content)
    folder = _folder()
    if folder is None:
        return [parse(*file) for file in files]
    place = folder / f"{kind}.msgpack"
    known = _read(place, source.digest())
    if known is None:
        known = [parse(*file) for file in files]
        _write(place, source.digest(), msgspec.msgpack.encode(known))
    return known


def _folder() -> Path | None:
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(named) if named else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return base / "slipway" if base.is_absolute() else None


def _read(place: Path, source: bytes) -> list[Any] | None:
    try:
        content = place.read_bytes()
        body = content[_DIGEST:]
        if content[:_DIGEST] != sha256(source + body).digest():
            return None
        known = msgspec.msgpack.decode(body)
    except (OSError, msgspec.DecodeError):
        return None
    return known if isinstance(known, list) else None


def _write(place: Path, source: bytes, body: bytes) -> None:
    # One name per process, so that a killed writer's leftover is overwritten sooner or later and never read.
    part = place.with_name(f"{place.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(sha256(source + body).digest() + body)
            part.replace(place)
        except OSError:
            part.unlink(missing_ok=True)
