"""Run by vLLM's own interpreter on an engine's host: what its media connector fetches, with the hosts that the unit allows.

Arguments: the values of the unit's `--allowed-media-domains`. A server of this program's own stands for the network that a
caller wants to have looked at. Printed is one JSON object: by URL how it ended, and `asked`, the requests that the server got.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from vllm.multimodal.media import ImageMediaIO, MediaConnector

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
asked: list[str] = []


class Server(BaseHTTPRequestHandler):
    """Sends whoever comes on to itself."""

    def do_GET(self) -> None:
        asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing: what is printed is read."""


def main() -> None:
    """Ask for data, for the server by its names, and for a file."""
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    connector = MediaConnector(allowed_media_domains=sys.argv[1:])
    ended = {}
    for name, url in {
        "data": f"data:image/png;base64,{PIXEL}",
        "address": f"http://127.0.0.1:{port}/a.png",
        "name": f"http://localhost:{port}/a.png",
        "user": f"http://none@127.0.0.1:{port}/a.png",
        "no host": "http:///a.png",
        "file": "file:///etc/passwd",
    }.items():
        try:
            connector.load_from_url(url, ImageMediaIO())
            ended[name] = "loaded"
        except Exception as error:  # noqa: BLE001 -- any way to fail is one
            ended[name] = type(error).__name__
    print(json.dumps({"ended": ended, "asked": asked}))


if __name__ == "__main__":
    main()
