"""A double of an OpenAI-compatible server elsewhere (LM Studio on a desktop, a cloud): it answers one chat with fixed words.

It stands in for what can't be had in tests, runs in a lab host of its own and needs nothing but the standard library. Usage:
provider.py PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = "the neighbour answers"


class Provider(BaseHTTPRequestHandler):
    """Answers /v1/chat/completions, streamed or whole, and /v1/models."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "tiny-llama", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not body.get("stream"):
            self._send(self._answer("chat.completion", {"message": {"role": "assistant", "content": WORDS}}, "stop"))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in WORDS.split(" "):
            self._event(self._answer("chat.completion.chunk", {"delta": {"role": "assistant", "content": word}}, None))
        self._event(self._answer("chat.completion.chunk", {"delta": {}}, "stop"))
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self, kind: str, choice: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {
            "id": "double",
            "object": kind,
            "created": 1,
            "model": "tiny-llama",
            "choices": [{"index": 0, "finish_reason": reason, **choice}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        }

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())

    def _send(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Provider).serve_forever()
