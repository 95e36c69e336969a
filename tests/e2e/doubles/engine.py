#!/usr/bin/python3 -B
"""A double: it stands for an engine or a gateway in the tests of the roles, and serves nothing but what they look at.

`engine.py PORT [ADDRESS:PORT]`; with an address, the very first thing it does is to connect there.
"""

import http.server
import json
import os
import socket
import sys
import urllib.parse


def attempt(target: str) -> str:
    """Say how a connection went."""
    address, _, port = target.rpartition(":")
    try:
        with socket.create_connection((address, int(port)), timeout=3):
            return "connected"
    except OSError as error:
        return type(error).__name__


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers like an engine as far as the roles can tell."""

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        answers = {
            "/health": lambda: {"ok": True},
            "/version": lambda: {"version": "1.2.3"},
            "/environment": lambda: dict(os.environ),
            "/arguments": lambda: sys.argv[1:],
            "/connect": lambda: attempt(asked["to"]),
            "/read": lambda: read(asked["path"]),
        }
        body = json.dumps(answers[url.path]()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def read(path: str) -> str:
    """Say what is in a file, or why that is not to be known."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 -- as plain as can be
            return file.read()
    except OSError as error:
        return type(error).__name__


if __name__ == "__main__":
    if len(sys.argv) > 2 and ":" in sys.argv[2]:
        print(f"first connection: {attempt(sys.argv[2])}", flush=True)
    print("Double KV cache size: 1,048,576 tokens, 512.50x", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
