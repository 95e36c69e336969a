"""Stack documents for tests: a good one, and a way to change one key of it."""

import copy
from typing import Any

GOOD_KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
OTHER_KEY = "0f9e8d7c6b5a493827160f5e4d3c2b1a"


def good() -> dict[str, Any]:
    """A complete document with one host."""
    return {
        "hosts": [{"name": "gpu-1", "address": "10.0.0.11", "user": "ubuntu"}],
        "model": {"name": "m", "source": {"host_path": "/srv/models/m"}},
        "gateway": {"keys": [{"team": "a", "key": GOOD_KEY}]},
    }


def pair() -> dict[str, Any]:
    """A complete document with two hosts."""
    document = good()
    document["hosts"].append({"name": "gpu-2", "address": "10.0.0.12", "user": "ubuntu"})
    document["engine"] = {"key": OTHER_KEY}
    return document


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `document` with the key at `path` (``a.0.b``) set to `value`."""
    result = copy.deepcopy(document)
    current: Any = result
    *folders, last = path.split(".")
    for part in folders:
        current = current[int(part)] if isinstance(current, list) else current.setdefault(part, {})
    current[int(last) if isinstance(current, list) else last] = value
    return result
