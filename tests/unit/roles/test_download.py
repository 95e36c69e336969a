"""A download from a hub is whole or has failed; the hub's client itself has a way of calling neither by its name.

The client is a double: what it does with a hub that answers is tried in tests/e2e.
"""

import io
import json
import os
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.roles.loading import load

TOKEN = "canary-0123456789abcdef"


class Client:
    """huggingface_hub, as far as it is used; `comes` are the files that it brings, `error` what goes wrong."""

    def __init__(self) -> None:
        self.has = ["config.json", "model.safetensors", "README.md"]
        self.comes: list[str] | None = None
        self.error: Exception | None = None

    def list_repo_files(self, repository: str, revision: str) -> list[str]:
        assert (repository, revision) == ("o/n", "a" * 40)
        assert os.environ["HF_ENDPOINT"] == "http://hub"
        if self.error:
            raise self.error
        return self.has

    def snapshot_download(self, repository: str, *, local_dir: str, allow_patterns: list[str] | None, **_: Any) -> None:
        for name in self.has if self.comes is None else self.comes:
            if allow_patterns is None or any(fnmatch(name, pattern) for pattern in allow_patterns):
                Path(local_dir, name).touch()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    hub, utils = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.utils")
    vars(hub).update(HfApi=lambda: made, snapshot_download=made.snapshot_download)
    vars(utils).update(
        filter_repo_objects=lambda names, allow_patterns: (
            name for name in names if not allow_patterns or any(fnmatch(name, pattern) for pattern in allow_patterns)
        )
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
    return made


def download(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> str:
    """Why it failed; empty when it did not."""
    given = {
        "endpoint": "http://hub",
        "repository": "o/n",
        "revision": "a" * 40,
        "patterns": [],
        "folder": str(folder),
        "mark": ".slipway-a",
        "token": TOKEN,
        **changes,
    }
    here, umask, environment = Path.cwd(), os.umask(0), dict(os.environ)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
    try:
        load("roles/model/files/download.py").main()
    except SystemExit as ended:
        return str(ended.code)
    finally:
        os.chdir(here)
        os.umask(umask)
        os.environ.clear()
        os.environ.update(environment)
    return ""


def test_all_files_and_then_the_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client) -> None:
    assert download(monkeypatch, tmp_path) == ""
    assert {path.name for path in tmp_path.iterdir()} == {*client.has, ".slipway-a"}


def test_only_the_files_that_were_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client) -> None:
    assert download(monkeypatch, tmp_path, patterns=["*.json"]) == ""
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", ".slipway-a"}
    assert download(monkeypatch, tmp_path, patterns=["*.gguf"]) == "none of its 3 files matches *.gguf"


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client) -> None:
    client.error = OSError(f"no route\nwith {TOKEN}")
    assert download(monkeypatch, tmp_path) == "OSError: no route with [token]"
    assert not list(tmp_path.iterdir())


def test_a_download_that_is_not_whole_has_no_mark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client
) -> None:
    client.comes = ["config.json"]
    assert download(monkeypatch, tmp_path) == "model.safetensors did not come; the hub stopped answering"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
