"""Nothing that a caller writes stays behind: a word in every field, header and path, on all ways, and on none of the records.

Exempt is X-Request-ID, which callers send so that it is noted; it has to look like a number, and can be no sentence.
"""

import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.front import Front, backend, model, peer, team
from tests.integration.gateway import KEYS, Gateway, deployment, key
from tests.integration.security.fuzz import FAMILIES, Strict

WORD = "kanarienvogel-4711"
KEY = f"Bearer {KEYS['open']}"


def mark(place: str) -> str:
    """The word, and where it was put, for whoever has to find out how it got out."""
    return f"{WORD}-{place}"


MESSAGES = [
    {"role": "system", "content": mark("system")},
    {"role": "user", "content": [{"type": "text", "text": mark("part")}], "name": mark("name")},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": mark("call"), "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": mark("argument")})}}]},
    {"role": "tool", "tool_call_id": mark("call"), "content": mark("result")},
]  # fmt: skip
SCHEMA = {"type": "object", "description": mark("schema"), "properties": {mark("property"): {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": mark("tool"), "parameters": SCHEMA}}]
COMMON: dict[str, Any] = {"user": mark("user"), "stop": [mark("stop")], "metadata": {mark("key"): mark("value")}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": MESSAGES,
        "tools": TOOLS,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        **COMMON,
    },
    "/v1/completions": {"prompt": [mark("prompt"), mark("second")], "suffix": mark("suffix"), "user": mark("user")},
    "/v1/responses": {"input": mark("input"), "instructions": mark("instructions"), "metadata": {"a": mark("value")}},
    "/v1/messages": {
        "max_tokens": 5,
        "system": mark("system"),
        "messages": [{"role": "user", "content": mark("content")}],
        "stop_sequences": [mark("stop")],
        "metadata": {"user_id": mark("user")},
    },
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": mark("content")}]},
    "/v1/embeddings": {"input": [mark("input")], "user": mark("user")},
    "/v1/rerank": {"query": mark("query"), "documents": [mark("document")]},
    "/tokenize": {"prompt": mark("prompt")},
    "/detokenize": {"tokens": [1]},
}
HEADERS = {
    name: mark(name)
    for name in (
        *(
            "user-agent",
            "referer",
            "cookie",
            "accept",
            "accept-language",
            "anthropic-beta",
            "anthropic-version",
            "openai-beta",
        ),
        *(
            "openai-organization",
            "openai-project",
            "x-forwarded-for",
            "x-forwarded-host",
            "forwarded",
            "via",
            "x-custom",
        ),
        *("x-stainless-lang", "traceparent", "origin", "from", "if-match", "x-litellm-tags", "x-litellm-num-retries"),
    )
} | {"host": f"{WORD}.test"}


def mistakes(body: dict[str, Any]) -> Iterator[bytes]:
    """Bodies that some part refuses, each in a way of its own."""
    yield json.dumps(body)[:-20].encode()
    yield json.dumps({**body, mark("field"): mark("value")}).encode()
    yield json.dumps({**body, "model": mark("model")}).encode()
    yield json.dumps({**body, "model": [mark("model")]}).encode()
    yield json.dumps({**body, "api_base": f"http://{WORD}.test"}).encode()
    yield json.dumps([mark("list")]).encode()
    yield json.dumps(mark("text")).encode()
    yield b"\xff\xfe" + json.dumps(body).encode("utf-16-le")
    for field in body:
        yield json.dumps({**body, "model": body["model"], field: {mark("wrong"): [mark("type")]}}).encode()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Gateway, list[Strict]]]:
    """A front, with a model on the fast path and one through the gateway, and a gateway that falls back."""
    folder = tmp_path_factory.mktemp("canary")
    gateway, front = Gateway(folder / "litellm"), Front(folder / "nginx")
    engines = [Strict("engine"), Strict("provider")]
    front.start()
    gateway.start()
    try:
        front.wait()
        gateway.wait()
        gateway.keys(key("open"))
        here = deployment("slow", engines[0].url, native=FAMILIES)
        gateway.use(routes=gateway.routes([here, deployment("cloud", engines[1].url, here=False)]))
        through = [peer("127.0.0.1", gateway.port, health="/health/liveliness")]
        fast = backend("fast", engines[0].url, native=FAMILIES)
        models = {"fast": model(fast), "slow": model(backend("slow", engines[0].url)), "cloud": model(provided=True)}
        front.serve(team("open"), models=models, through={"open": through, "private": None})
        yield front, gateway, engines
    finally:
        front.close()
        gateway.stop()
        for engine in engines:
            engine.kill()


def send(client: httpx.Client, url: str, content: bytes, authorization: str = KEY, method: str = "POST") -> None:
    """Whatever the answer is; where the engine died under it, there is none."""
    headers = {**HEADERS, "content-type": "application/json", "authorization": authorization}
    with contextlib.suppress(httpx.RemoteProtocolError):
        client.request(method, url, content=content, headers=headers)


def on_the_ways(front: Front, gateway: Gateway) -> int:
    """All kinds of requests on all ways to a model; returns how many there were."""
    ways = [("fast", front), ("slow", front), ("cloud", front), ("slow", gateway), ("cloud", gateway)]
    count = 0
    for (name, part), (path, fields) in itertools.product(ways, BODIES.items()):
        body, url = {**fields, "model": name}, part.url + path
        whole = json.dumps(body).encode()
        bodies = [whole, json.dumps({**body, "stream": True}).encode()]
        # What is refused before a way is chosen is the same on all of them.
        if name == "fast" or (part is gateway and path in {"/v1/chat/completions", "/v1/messages"}):
            bodies += mistakes(body)
        for content in bodies:
            send(front.client, url, content)
        count += len(bodies)
        send(front.client, url, whole, f"Bearer {mark('wrong-key')}")
        send(front.client, url, whole, f"Basic {mark('scheme')}")
        send(front.client, f"{url}?api_key={mark('query')}", whole)
        send(front.client, f"{url}/{mark('path')}", whole)
        send(front.client, url, whole, method=WORD.upper().replace("-", ""))
    return count


def on_other_paths(front: Front, gateway: Gateway) -> None:
    """With the word in them."""
    paths = (
        f"/v1/models/{mark('listed')}",
        f"/{mark('root')}",
        f"/openai/deployments/{mark('azure')}/chat/completions",
    )
    content = json.dumps(BODIES["/v1/chat/completions"]).encode()
    for part, path, method in itertools.product((front, gateway), paths, ("GET", "POST", "OPTIONS")):
        send(front.client, part.url + path, content, method=method)
    too_large = b'{"model":"fast","user":"' + WORD.encode() + b"a" * (65 * 2**20) + b'"}'
    send(front.client, f"{front.url}/v1/chat/completions?{WORD}", too_large)


def while_engines_fail(front: Front, gateway: Gateway, engines: list[Strict]) -> None:
    """In each of their ways."""
    ways = [("fast", front), ("cloud", front), ("slow", gateway)]
    modes = ("400", "500", "503", "401", "middle", "error", "die")
    for engine, mode in itertools.product(engines, modes):
        engine.mode = mode
        for (name, part), stream in itertools.product(ways, (False, True)):
            assert gateway.process is not None
            assert gateway.process.poll() is None, gateway.journal[-3000:]
            user = mark(f"mode-{mode}-{engine.name}-{stream}")
            body = {"messages": MESSAGES, "model": name, "user": user, "stream": stream}
            send(front.client, part.url + "/v1/chat/completions", json.dumps(body).encode())
        engine.mode = "well"


def test_no_word_of_a_caller_is_kept(parts: tuple[Front, Gateway, list[Strict]]) -> None:
    front, gateway, engines = parts
    front.client.timeout = httpx.Timeout(20)
    assert on_the_ways(front, gateway) > 200
    on_other_paths(front, gateway)
    while_engines_fail(front, gateway, engines)
    # It did reach the engines, so that it was there to be kept.
    assert all(any(WORD.encode() in asked.raw for asked in engine.asked) for engine in engines)
    time.sleep(1)  # what waits to be written
    found: dict[str, str] = {}

    def look(where: str, text: str) -> None:
        at = text.lower().find(WORD)
        if at < 0:
            at = text.lower().find(WORD.replace("-", ""))
        if at >= 0:
            found[where] = text[max(0, at - 300) : at + 200]

    for folder in (front.folder, gateway.folder):
        for path in folder.rglob("*"):
            # Journals, access log, usage records, what a process left behind, and core files.
            if path.is_file():
                look(str(path.relative_to(folder.parent)), path.read_bytes().decode(errors="replace"))
    look("metrics of the front", front.client.get(front.url + "/metrics").text)
    look("metrics of the gateway", gateway.client.get(gateway.url + "/metrics").text)
    look("state of the front", front.client.get(front.url + "/slipway/state").text)
    look(
        "process list", subprocess.run(["ps", "axww", "-o", "args"], check=True, capture_output=True, text=True).stdout
    )
    for process in (front.process, gateway.process):
        assert process is not None
        look("environment", Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace"))
    assert found == {}
    # The records are there, and say who and what without it.
    assert front.usage
    assert {"team", "model", "status", "seconds"} <= set(front.usage[0])
