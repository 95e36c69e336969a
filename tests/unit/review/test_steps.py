"""The steps of a review: whose variables a stack gets, and the stand-ins for files that are not there."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.pipeline.stand_ins import Maker, make, remove
from cli.pipeline.variables import chosen, named
from slipway.settings.load import parse


def test_a_stack_gets_the_variables_that_it_names() -> None:
    text = "HF_TOKEN=hf_x=y==\r\n\r\nLD_PRELOAD=/evil\nSLIPWAY_KEY_OTHER=secret-1\nsecret-2\n"
    found, dropped = chosen(text, ["HF_TOKEN", "SLIPWAY_KEY_A"])
    assert found == {"HF_TOKEN": "hf_x=y=="}
    assert dropped == ["LD_PRELOAD", "SLIPWAY_KEY_OTHER", "line 5, which is no NAME=VALUE"]
    assert "secret" not in str(dropped)


def test_names_come_from_the_stacks_file() -> None:
    assert named("poc") == ["SLIPWAY_KEY_PLATFORM"]
    assert named("no-such-stack") == []


def settings(root: Path, folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((root / "stacks/Pulumi.poc.yaml").read_text())["config"][
        "slipway:platform"
    ]
    document["pools"]["gpu"]["hosts"]["gpu-1"]["key_file"] = str(folder / "ssh/id")
    document["gateway"] = {"teams": {"a": {"key": os.urandom(32).hex()}}}
    gguf = {"source": {"path": str(folder / "small/m.gguf")}, "engine": "llama_cpp"}
    document["models"] = {"m": {"source": {"path": str(folder / "model")}}, "g": gguf}
    document["front"] = {
        "certificate_file": str(folder / "tls/host.pem"),
        "key_file": str(folder / "tls/host.key"),
        "ca_file": str(folder / "ca.pem"),
    }
    return document


def test_what_is_missing_is_made_and_removed(root: Path, tmp_path: Path) -> None:
    listing = tmp_path / "listing"
    folder = tmp_path / "machine"
    make(parse(settings(root, folder), "x"), Maker(listing))
    assert (folder / "ssh/id").read_bytes() == b""
    assert (folder / "model/config.json").read_text() == "{}\n"
    assert (folder / "small/m.gguf").is_file()
    # One that a server takes.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "tls/host.pem", folder / "tls/host.key")
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.rglob("*"))
    remove(listing)
    assert not folder.exists()


def test_what_is_there_stays(root: Path, tmp_path: Path) -> None:
    listing = tmp_path / "listing"
    folder = tmp_path / "machine"
    (folder / "model").mkdir(parents=True)
    (folder / "ca.pem").write_text("own")
    (folder / "ssh").mkdir()
    (folder / "ssh/id").symlink_to("nowhere")
    make(parse(settings(root, folder), "x"), Maker(listing))
    assert not (folder / "model/config.json").exists()
    (folder / "tls/came-later").touch()
    remove(listing)
    left = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))
    assert not (folder / "small").exists()
    assert left == ["ca.pem", "model", "ssh", "ssh/id", "tls", "tls/came-later"]
    assert (folder / "ca.pem").read_text() == "own"


def test_where_nothing_can_be_made_the_preview_says_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = settings(root, tmp_path)
    document["front"] = {}
    document["models"] = {"m": {"source": {"path": "/proc/self/none"}}}
    make(parse(document, "x"), Maker(tmp_path / "listing"))
    assert "/proc/self/none/config.json: no stand-in can be made" in capsys.readouterr().err
