"""A stand-in for an engine or a provider: a server that speaks the OpenAI and Anthropic APIs, and fails as it is told.

It answers with fixed words, notes what it was asked, and knows whether a caller left while it was still talking.
"""

import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

WORDS = ("one ", "two ", "three ", "four")
PROBE = "slipway-probe"
CONTEXT = 4096
"""Tokens that it takes: who asks for an answer of more is refused in vLLM's words."""
"""By which a front's own requests are known."""
_PORTS: set[int] = set()
USAGE = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class Double:
    """One backend.

    Attributes:
        name: what the answers name as their model.
        mode: how it answers: "well"; "die" (closes at once); "fall" (is killed by the request); "headers" (sends the
            head of a stream, then closes); "empty" (a stream of no events); "middle" (closes after two events); "error"
            (a stream whose first event is an error); "hang" (no answer); "think" (none before the caller has left);
            "full" (no answer, while its metrics tell of work for others); "silent" (no answer, and no word about its
            health either); or a status.
        said: what it says beside a status.
        fingerprint: what chats and completions say of its release, beside the answer; nothing by default.
        pace_s: time between two events of a stream.
        words: what it answers; a stream says one after the other. A chat's may have whole deltas among them.
        go_on: while it is not set, a stream waits after its first event.
        asked: the requests so far.
        probed: how often a front looked whether it generates.
        left: set when a caller went away while it talked.
        resets_kept: closes a connection that was kept just as the next request comes on it, as a server does whose time for
            idle connections is over at that moment.
    """

    name: str
    mode: str = "well"
    said: str = ""
    fingerprint: str | None = None
    pace_s: float = 0.0
    words: tuple[Any, ...] = WORDS
    go_on: threading.Event = field(default_factory=_set)
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    probed: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    resets_kept: bool = False

    def __post_init__(self) -> None:
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"double": self})
        self.server = self._server(handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.open: set[socket.socket] = set()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def _server(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        """A server on its own port, or on one that no double of this process had before.

        A gateway knows a backend by its address: one that failed is left alone for a while, and so would be the
        double of the next test that the kernel gave the same port.
        """
        passed_over = []
        try:
            while True:
                server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
                if self.port or server.server_address[1] not in _PORTS:
                    _PORTS.add(server.server_address[1])
                    return server
                passed_over.append(server)
        finally:
            for server in passed_over:
                server.server_close()

    def kill(self) -> None:
        """As a process that is killed: nothing listens, and every connection breaks."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    double: ClassVar[Double]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.count = 0
        self.double.open.add(self.request)

    def finish(self) -> None:
        self.double.open.discard(self.request)
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.double.mode == "silent":
            self.double.left.wait(60)
        if self.path == "/metrics":
            steps = time.monotonic() if self.double.mode == "full" else 1
            self._send(f'# TYPE steps counter\nsteps_total{{model="x"}} {steps}\nother 3\n'.encode(), "text/plain", 200)
            return
        self._json({"status": "ok"}, 200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        self.count += 1
        if self.double.resets_kept and self.count > 1:
            # With data that nobody reads, and at once: the caller is told by a reset.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.request.detach())
            self.close_connection = True
            return
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("user-agent") == PROBE:
            self.double.probed += 1
        else:
            self.double.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, raw))
        try:
            self._answer(raw)
        except OSError:
            self.double.left.set()
            self.close_connection = True

    def _answer(self, raw: bytes) -> None:
        mode = self.double.mode
        if mode in {"hang", "full", "silent"}:
            self.double.left.wait(60)
        if mode == "think":
            # A caller that waits for a whole answer sends nothing more, so what can be read is its leaving.
            select.select([self.request], [], [], 60)
            self.close_connection = True
            if self.request.recv(1, socket.MSG_PEEK) == b"":
                self.double.left.set()
            return
        if mode == "fall":
            self.double.kill()
        if mode in {"die", "fall", "hang", "full", "silent"}:
            self.close_connection = True
            return
        if mode.isdigit() and not self.path.endswith("/token"):
            self._json(
                {
                    "error": {
                        "message": self.double.said or f"told to say {mode}",
                        "type": "t",
                        "param": None,
                        "code": None,
                    }
                },
                int(mode),
            )
            return
        body = json.loads(raw) if "json" in self.headers.get("content-type", "") else {}
        if (body.get("max_tokens") or 0) > CONTEXT:
            message = f"This model's maximum context length is {CONTEXT} tokens. However, you requested more."
            self._json({"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}, 400)
        elif body.get("stream"):
            self._stream(body)
        else:
            found = _whole(self.path, body, self.double.name, self.double.words)
            self._json(self._with_fingerprint(found) or {"detail": "Not Found"}, 200 if found else 404)

    def _json(self, data: Any, status: int) -> None:
        self._send(json.dumps(data).encode(), "application/json", status)

    def _send(self, content: bytes, kind: str, status: int) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if self.double.mode == "headers":
            time.sleep(0.2)
            self.close_connection = True
            return
        events = [{"error": {"message": "the core is dead", "type": "InternalServerError", "code": 500}}]
        if self.double.mode == "empty":
            self._chunk("")
            return
        if self.double.mode != "error":
            events = _events(self.path, body, self.double.name, self.double.words)
        for number, event in enumerate(events):
            if self.double.mode == "middle" and number == 2:
                self.close_connection = True
                return
            kind = f"event: {event['type']}\n" if "type" in event else ""
            self._chunk(f"{kind}data: {json.dumps(self._with_fingerprint(event))}\n\n")
            self.double.go_on.wait(60)
            time.sleep(self.double.pace_s)
        if "messages" not in self.path and "responses" not in self.path:
            self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _with_fingerprint(self, data: dict[str, Any] | None) -> dict[str, Any] | None:
        if data and "choices" in data and self.double.fingerprint:
            return data | {"system_fingerprint": self.double.fingerprint}
        return data

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())


def _whole(path: str, body: dict[str, Any], name: str, words: tuple[str, ...]) -> dict[str, Any] | None:
    text = "".join(words)
    path = path.partition("?")[0]
    if path.endswith("chat/completions"):
        return _chat(body, name, text)
    if path.endswith("/completions"):
        choice = {"index": 0, "finish_reason": "stop", "text": text, "logprobs": None}
        return {
            "id": "c",
            "object": "text_completion",
            "created": 1,
            "model": name,
            "choices": [choice],
            "usage": USAGE,
        }
    if path.endswith("/embeddings"):
        vector: Any = "AACAPwAAAEA=" if body.get("encoding_format") == "base64" else [1.0, 2.0]
        entry = {"object": "embedding", "index": 0, "embedding": vector}
        return {"object": "list", "model": name, "data": [entry], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    if path.endswith("/count_tokens"):
        return {"input_tokens": 17}
    if path.endswith("/messages"):
        usage = {"input_tokens": 5, "output_tokens": 4}
        content = [{"type": "text", "text": text}]
        head = {"id": "m", "type": "message", "role": "assistant", "model": name, "stop_reason": "end_turn"}
        return {**head, "content": content, "usage": usage}
    if path.endswith("/responses"):
        return _response(name, text)
    if path.endswith("/rerank"):
        return {
            "id": "k",
            "model": name,
            "results": [{"index": 1, "relevance_score": 0.9}],
            "usage": {"total_tokens": 6},
        }
    if path.endswith("/transcriptions"):
        return {"text": text, "model": name}
    if path.endswith("tokenize"):
        return {"path": path, "tokens": [1, 2, 3], "count": 3, "model": name}
    return _of_a_cloud(path, name, text)


def _of_a_cloud(path: str, name: str, text: str) -> dict[str, Any] | None:
    if path.endswith("/converse"):  # Bedrock
        message = {"role": "assistant", "content": [{"text": text}]}
        usage = {"inputTokens": 5, "outputTokens": 4, "totalTokens": 9}
        return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
    if path.endswith(":generateContent"):  # Vertex
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 4, "totalTokenCount": 9}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": name}
    if path.endswith("/token"):  # Google's, for a service account
        return {"access_token": "token-of-google", "expires_in": 3600, "token_type": "Bearer"}
    return None


def _chat(body: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "reasoning": "thought"}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
    if "tools" in body:
        message |= {"content": None, "tool_calls": [_CALL]}
        choice["finish_reason"] = "tool_calls"
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": "one", "logprob": -0.5, "bytes": [111], "top_logprobs": []}]}
    choices = [{**choice, "index": number} for number in range(body.get("n") or 1)]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": choices, "usage": USAGE}


_CALL = {"id": "t", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}


def _response(name: str, text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": content}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "metadata": {}}
    head = {"id": "r", "object": "response", "created_at": 1, "model": name, "status": "completed"}
    usage = {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9}
    return {**head, "output": [message], "usage": usage, **more}


def _delta(word: str | dict[str, Any]) -> dict[str, Any]:
    return {"content": word} if isinstance(word, str) else word


def _events(path: str, body: dict[str, Any], name: str, words: tuple[Any, ...]) -> list[dict[str, Any]]:
    if path.endswith("/messages"):
        start = {"id": "m", "role": "assistant", "model": name, "usage": {"input_tokens": 5, "output_tokens": 1}}
        deltas = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": word}} for word in words]
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
        return [{"type": "message_start", "message": start}, *deltas, end, {"type": "message_stop"}]
    if path.endswith("/responses"):
        place = {"item_id": "i", "output_index": 0, "content_index": 0}
        deltas = [{"type": "response.output_text.delta", "delta": word, **place} for word in words]
        return [*deltas, {"type": "response.completed", "response": _response(name, "".join(words))}]
    chat = path.endswith("chat/completions")
    head = {"id": "c", "object": "chat.completion.chunk" if chat else "text_completion", "created": 1, "model": name}
    count = body.get("n") or 1
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": index, **({"delta": _delta(word)} if chat else {"text": word})}]}
        for word in words
        for index in range(count)
    ]
    if "tools" in body:
        chunks = [{**head, "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **_CALL}]}}]}]
    if "n" in body or "tools" in body:
        reason = "tool_calls" if "tools" in body else "length"
        ends = [{"index": index, "delta": {}, "finish_reason": reason} for index in range(count)]
        chunks += [{**head, "choices": [end]} for end in ends]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": USAGE})
    return chunks
