"""The clients that people use, through the front, on the fast path and through the gateway, with a real engine behind them.

Engines are vLLM for CPUs with tiny models; what they say is nonsense or scripted, and how they say it is vLLM's. The matrix
of what each client can do is in docs/clients.md, which is compared with what came out.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from slipway.engines.vllm.launch import Vllm
from tests.e2e.sweep import NAMED, PLAIN, generated, sweep
from tests.integration.client_matrix import ABILITIES, CLIENTS, ask, modules, reasons, table
from tests.integration.engine import EMBEDDING, Engine
from tests.integration.front import Front, backend, model, team
from tests.integration.gateway import KEYS, Gateway, deployment, key
from tests.integration.scripted_model import make_scripted_model
from tools.lab.model import make_tiny_llama

PATHS = ("fast path", "gateway", "provider")
"""Straight to the engine; through the gateway, which passes on what the engine speaks itself; and translated by LiteLLM, for
which the engine is some provider's."""
PROVIDED = "cloud-"
TOOLS = {"enable-auto-tool-choice": True, "tool-call-parser": "hermes", "max-model-len": 32768}
Results = dict[str, dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose start has begun. One that embeds compares texts by their vectors, too."""
    folder = tmp_path_factory.mktemp("embedding")
    names = [f"{prefix}{name}-inside" for prefix in ("", PROVIDED) for name in ("embed", "rank")]
    engine = Engine(folder / "engine", make_tiny_llama(folder / "random"), names, EMBEDDING)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def fronts(embedding: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Front]]:
    """By path, in front of the same engines and of one gateway: what is provided goes through that anyway."""
    folder = tmp_path_factory.mktemp("clients")
    chat = Engine(
        folder / "chat", make_scripted_model(folder / "scripted"), [f"{PROVIDED}tiny-inside", "tiny-inside"], TOOLS
    )
    gateway = Gateway(folder / "litellm")
    with ExitStack() as running:
        for one in (chat, gateway):
            running.callback(one.stop)
            one.start()
        native = sorted(Vllm().native)
        gateway.keys(key("open"))
        of_gateway = [
            deployment("tiny", chat.url, native=native),
            deployment("embed", embedding.url, native=native, task="embedding"),
            deployment("rank", embedding.url, native=native, task="rerank"),
            deployment(f"{PROVIDED}tiny", chat.url, here=False),
            deployment(f"{PROVIDED}embed", embedding.url, here=False, task="embedding"),
            # LiteLLM knows no rerank of OpenAI's.
            deployment(f"{PROVIDED}rank", embedding.url, task="rerank"),
        ]
        routes = gateway.routes(of_gateway)
        found = {path: Front(folder / path.split(maxsplit=1)[0], gateway=("127.0.0.1", gateway.port)) for path in PATHS}
        for one in found.values():
            running.callback(one.close)
            one.start()
        for part in (chat, embedding, gateway, *found.values()):
            part.wait()
        gateway.use(routes=routes, timeout_s=60)
        embeds = {"path": "/v1/embeddings", "body": {"model": "embed-inside", "input": "x"}}
        models = {
            "tiny": model(backend("tiny", chat.url, native=native), context_window=32768, max_output_tokens=512),
            "embed": model(backend("embed", embedding.url, native=native, probe=embeds), task="embedding"),
            "rank": model(backend("rank", embedding.url, native=native, probe=embeds), task="rerank"),
            f"{PROVIDED}tiny": model(provided=True),
            f"{PROVIDED}embed": model(provided=True, task="embedding"),
            f"{PROVIDED}rank": model(provided=True, task="rerank"),
        }
        for path, front in found.items():
            front.serve(team("open"), models=models, fast_path=path == "fast path")
        yield found


@pytest.fixture(scope="module")
def results(fronts: dict[str, Front], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """By client, path and ability what went wrong; empty where nothing did."""
    folder = tmp_path_factory.mktemp("homes")
    scripts, began = modules(folder / "node"), time.monotonic()
    found: Results = {client.name: {} for client in CLIENTS}

    def one(number: int, path: str) -> None:
        client, front, home = CLIENTS[number], fronts[path], folder / f"{number}-{path.split(maxsplit=1)[0]}"
        ca_file = home.with_suffix(".pem")
        # Without the key that nginx has in the same file.
        ca_file.write_text((front.folder / "tls/server.pem").read_text().partition("-----BEGIN PRIVATE")[0])
        at = time.monotonic()
        found[client.name][path] = ask(
            client,
            folder=home,
            scripts=scripts,
            url=front.url,
            key=KEYS["open"],
            ca_file=Path(ca_file),
            prefix=PROVIDED if path == "provider" else "",
        )
        print(f"{client.name}, {path}: {time.monotonic() - at:.1f} s")

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(one, number, path) for number in range(len(CLIENTS)) for path in PATHS]
        for each in asked:
            each.result()
    print(f"all clients: {time.monotonic() - began:.0f} s\n{table(found)}")
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_does_all_that_it_can(results: Results, client: object, path: str) -> None:
    """Each ability is asked for, or named with the reason why the client lacks it."""
    (known,) = (each for each in CLIENTS if each is client)
    found = results[known.name][path]
    assert {ability: detail for ability, detail in found.items() if detail} == {}
    assert sorted([*found, *known.lacks]) == sorted(ABILITIES)


def test_each_path_is_the_one_that_it_is_called(results: Results, fronts: dict[str, Front]) -> None:
    """Else the matrix would say nothing of one of them."""
    assert results
    found = {
        path: {
            (record["model"], str(record["backend"]).partition("@")[0]) for record in front.usage if "model" in record
        }
        for path, front in fronts.items()
    }
    names = ("tiny", "embed", "rank")
    assert found["fast path"] == {(name, name) for name in names}
    assert found["gateway"] == {(name, "gateway") for name in names}
    assert found["provider"] == {(f"{PROVIDED}{name}", "gateway") for name in names}


def test_the_document_says_what_came_out(results: Results, root: Path) -> None:
    text = (root / "docs/clients.md").read_text()
    assert table(results) in text
    assert reasons() in text


def test_an_engine_that_embeds_survives_what_its_api_documents(embedding: Engine) -> None:
    """As one that chats does, on a host: tests/e2e/test_1_lab.py."""
    embedding.wait()
    process = embedding.process
    assert process is not None
    with httpx.Client(base_url=embedding.url.removesuffix("/v1"), trust_env=False) as api:
        cases = NAMED["embedding"] | dict(generated(api.get("/openapi.json").json(), "embedding"))
        assert len(cases) > 100
        found = sweep(api, "embed-inside", lambda: f"{process.pid} {process.poll()}", cases, PLAIN["embedding"])
    assert found == []
