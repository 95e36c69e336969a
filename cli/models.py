"""What MODEL on the command line stands for: a catalogue name, a folder, a config.json, or a repository of the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from slipway.catalog import Catalog, CatalogError
from slipway.catalog.load import find, find_or_none
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config, read_folder
from slipway.sizing.result import SizingError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_PATIENCE_S = 5


def named_architecture(model: str, catalog: Catalog) -> Architecture:
    """From the catalogue, a folder, a config.json, or the hub where it can be reached.

    Raises:
        SizingError: Nothing of this name is known, with the nearest names; or its config.json is faulty.
    """
    entry = find_or_none(catalog.models, model)
    if entry is not None:
        return read_config(entry.config, entry.id)
    path = Path(model)
    if path.exists() or model.endswith(".json") or model.startswith((".", "/", "~")):
        return read_folder(path.expanduser())
    hub = _from_hub(model) if _REPOSITORY.fullmatch(model) else ""
    if not isinstance(hub, str):
        return read_config(hub, model)
    try:
        find(catalog.models, model, "the model")
    except CatalogError as error:
        raise SizingError(f"{error}{hub}; or give a folder with a config.json") from None
    raise AssertionError(model)


def _from_hub(model: str) -> dict[str, Any] | str:
    """config.json of the hub's repository `model`, or why there is none, as the end of a sentence."""
    import json
    import os
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "").casefold() in ("1", "true", "yes", "on"):
        return ""
    if not endpoint.startswith(("https://", "http://")):
        raise SizingError(f"HF_ENDPOINT: {endpoint!r} is no address of a hub; give https://…")
    question = urllib.request.Request(f"{endpoint}/{model}/resolve/main/config.json")  # noqa: S310 - https or http, see above
    token = os.environ.get("HF_TOKEN")
    if token:
        # Not to wherever the hub may send us on to.
        question.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(question, timeout=_PATIENCE_S) as reply:  # noqa: S310
            content = json.load(reply)
    except OSError as error:
        return f"; {endpoint} did not give it ({getattr(error, 'reason', error)})"
    except ValueError:
        content = None
    return content if isinstance(content, dict) else f"; what {endpoint} has as its config.json is no JSON object"
