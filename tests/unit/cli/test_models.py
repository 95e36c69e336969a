"""A model by the name of its repository on a hub; the hub is a double on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from cli.models import named_architecture
from slipway.catalog import load
from slipway.sizing.result import SizingError
from tests.unit.sizing.models import LLAMA_8B

CATALOG = load()


class Hub(BaseHTTPRequestHandler):
    """Double of a hub: three repositories, of which one sends the asker on to another host name."""

    asked: ClassVar[list[tuple[str, str | None, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"], self.headers["Authorization"]))
        answers = {"/team/model": json.dumps(LLAMA_8B), "/team/list": "[]", "/team/prose": "no JSON"}
        if self.path.startswith("/team/moved/"):
            self.send_response(302)
            port = self.server.server_address[1]
            self.send_header("Location", f"http://localhost:{port}/team/model/resolve/main/config.json")
            self.end_headers()
            return
        body = answers.get(self.path.removesuffix("/resolve/main/config.json"))
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, *args: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", f"{address}/")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    Hub.asked.clear()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_is_asked_with_the_token(hub: str) -> None:
    assert named_architecture("team/model", CATALOG).parameters == 8_030_261_248
    ((path, _, authorization),) = Hub.asked
    assert (path, authorization) == ("/team/model/resolve/main/config.json", "Bearer hf_canary")


def test_the_token_goes_nowhere_else(hub: str) -> None:
    assert named_architecture("team/moved", CATALOG).hidden_size == 4096
    (_, _, first), (_, host, second) = Hub.asked
    assert (first, second) == ("Bearer hf_canary", None)
    assert str(host).startswith("localhost:")


def test_the_catalogue_goes_before_the_hub(hub: str) -> None:
    assert named_architecture("meta-llama/Llama-3.1-8B-Instruct", CATALOG).vocabulary == 128256
    assert Hub.asked == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("team/none", "; {hub} did not give it (Not Found); or give a folder with a config.json"),
        ("team/list", "; what {hub} has as its config.json is no JSON object; or give"),
        ("team/prose", "; what {hub} has as its config.json is no JSON object; or give"),
    ],
)
def test_what_the_hub_does_not_have(hub: str, model: str, said: str) -> None:
    with pytest.raises(SizingError) as caught:
        named_architecture(model, CATALOG)
    assert said.format(hub=hub) in str(caught.value)
    assert "hf_canary" not in str(caught.value)


@pytest.mark.parametrize("model", ["../../etc/passwd?x=", "a/b/c", "team/mod el", "team/é"])
def test_odd_names_are_not_asked_for(hub: str, model: str) -> None:
    with pytest.raises(SizingError):
        named_architecture(model, CATALOG)
    assert Hub.asked == []


def test_offline_is_respected(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SizingError, match="is not in the catalogue"):
        named_architecture("team/model", CATALOG)
    assert Hub.asked == []


def test_an_unreachable_hub_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SizingError, match=r"http://127.0.0.1:9 did not give it \(.*refused"):
        named_architecture("team/model", CATALOG)
