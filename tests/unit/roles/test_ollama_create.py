"""An Ollama server gets its one model: linked and not copied, with a template or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

ollama_create = load("roles/ollama/files/ollama_create.py")


class Ollama(ThreadingHTTPServer):
    """As much of Ollama as is asked: models by name, and the template that it makes of a model."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, Any]] = {}
        self.detected = ollama_create.NO_TEMPLATE
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Ollama

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_DELETE = do_GET  # noqa: N815 -- the library's names

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        self.server.asked.append(f"{self.command} {self.path}")
        models = self.server.models
        said: Any = None
        status = 200
        match self.path:
            case "/api/version":
                said = {"version": "0"}
            case "/api/create":
                if body.get("template") == "{{ broken":
                    status, said = 400, {"error": "template error"}
                else:
                    models[f"{body['model']}:latest"] = body
                    said = {"status": "success"}
            case "/api/tags":
                said = {"models": [{"name": name} for name in models]}
            case "/api/delete":
                del models[body["model"]]
            case "/api/show":
                template = models[f"{body['model']}:latest"].get("template", self.server.detected)
                said = {"template": template}
        text = json.dumps(said).encode() if said is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the library's
        pass


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    with Ollama() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Instance:
    """An instance's folders and the file with what is wanted."""

    def __init__(self, folder: Path, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = folder / "state" / "models"
        self.store.parent.mkdir()
        self.gguf = folder / "m.gguf"
        self.gguf.write_bytes(b"GGUF one")
        self.file = folder / "model.json"
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{ollama.server_address[1]}")
        monkeypatch.setenv("OLLAMA_MODELS", str(self.store))

    def create(self, **more: Any) -> int:
        wanted = {"model": "tiny", "file": str(self.gguf), "chat": True, **more}
        self.file.write_text(json.dumps(wanted))
        code: int = ollama_create.main([str(self.file)])
        return code

    def blobs(self) -> dict[str, Path]:
        return {blob.name: blob.readlink() for blob in (self.store / "blobs").iterdir()}

    def blob(self) -> str:
        return f"sha256-{hashlib.sha256(self.gguf.read_bytes()).hexdigest()}"


@pytest.fixture
def instance(tmp_path: Path, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> Instance:
    return Instance(tmp_path, ollama, monkeypatch)


def test_the_file_is_linked_and_the_model_made(instance: Instance, ollama: Ollama) -> None:
    assert instance.create(template="{{ .Messages }}", parameters={"num_ctx": 4096}, parser="") == 0
    assert instance.blobs() == {instance.blob(): instance.gguf}
    assert ollama.models["tiny:latest"] == {
        "model": "tiny",
        "files": {"m.gguf": instance.blob().replace("-", ":")},
        "stream": False,
        "template": "{{ .Messages }}",
        "parameters": {"num_ctx": 4096},
    }


def test_a_second_run_reads_the_file_no_more(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    assert instance.create(template="x") == 0
    monkeypatch.setattr(ollama_create.hashlib, "sha256", None)
    assert instance.create(template="x") == 0


def test_another_file_at_the_same_place_is_another_model(instance: Instance) -> None:
    assert instance.create(template="x") == 0
    instance.gguf.write_bytes(b"GGUF another")
    assert instance.create(template="x") == 0
    assert instance.blobs()[instance.blob()] == instance.gguf


def test_what_was_served_before_goes(instance: Instance, ollama: Ollama) -> None:
    ollama.models |= {"old:latest": {}, "tiny:7b": {}}
    assert instance.create(template="x") == 0
    assert list(ollama.models) == ["tiny:latest"]


def test_a_chat_model_without_a_template_is_refused(
    instance: Instance, ollama: Ollama, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instance.create() == 1
    said = capsys.readouterr().err
    assert said.startswith("ollama-create: error: Ollama knows no template like the chat template of")
    assert "give the engine's option template" in said
    ollama.detected = "{{ .System }}{{ .Prompt }}"
    assert instance.create() == 0


@pytest.mark.parametrize("more", [{"chat": False}, {"renderer": "qwen3-coder"}])
def test_others_need_none(instance: Instance, more: dict[str, Any]) -> None:
    assert instance.create(**more) == 0


def test_the_servers_own_words_are_handed_on(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    assert instance.create(template="{{ broken") == 1
    assert "Ollama answered 400 to /api/create: template error" in capsys.readouterr().err


def test_a_file_that_is_not_there(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    instance.gguf.unlink()
    assert instance.create(template="x") == 1
    assert "No such file" in capsys.readouterr().err


def test_nobody_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ollama_create.CreateError, match="does not answer after 0 s"):
        ollama_create.Server("127.0.0.1:1").wait(0.3)
