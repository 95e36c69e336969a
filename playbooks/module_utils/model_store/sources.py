"""Where files come from: by its ``kind`` the source of what a role says."""

from __future__ import annotations

import urllib.parse
from typing import Any

from .base import Pushed, Source
from .folders import Beside, Folder, Store
from .manifest import Files, checked
from .s3 import Bucket
from .web import Hub, Web


def source(
    given: dict[str, Any],
    *,
    files: Files | None,
    token: str = "",
    signed: dict[str, str] | None = None,
    unsigned: str = "",
) -> Source:
    """From what a role says: ``kind`` and what goes with it. For a bucket the `signed` addresses, or why there are none."""
    kind = given["kind"]
    if kind == "store":
        return Store(given["url"])
    if kind == "beside":
        return Beside(given["path"])
    if kind == "folder":
        return Folder(given["path"])
    if kind == "pushed":
        return Pushed(checked(files or {}))
    if kind == "hub":
        return Hub(given["endpoint"], given["repository"], given["revision"], list(given.get("files") or ()), token)
    if kind == "s3":
        return Bucket(given["url"], given["sha256sums"], signed or {}, unsigned)
    base, sums = given["url"].rstrip("/"), given["sha256sums"]
    return Web(
        {name: f"{base}/{urllib.parse.quote(name)}" for name in sums}, {name: {"sha256": sums[name]} for name in sums}
    )
