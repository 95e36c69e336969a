"""Doubles of GitHub's and GitLab's REST API on loopback: as much of each as posts one comment. No service is asked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MARKER = "<!-- slipway-review -->"


@dataclass
class Service:
    """What the double holds, and what it was asked."""

    flavour: str
    token: str
    comments: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: int = 0
    """The status with which everything that writes is refused."""
    port: int = 0

    OURS = "github-actions[bot]"
    OUR_ID = 41

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, body: str, login: str, number: int = 0) -> dict[str, Any]:
        who = {"login": login, "id": number}
        comment = {"id": 1000 + len(self.comments), "body": body, "user" if self.flavour == "github" else "author": who}
        self.comments.append(comment)
        return comment

    def crowd(self) -> None:
        """Two pages of other people's comments, one of which looks like ours."""
        for number in range(150):
            self.add(f"{MARKER} not ours" if number == 3 else f"comment {number}", "stranger", 7)

    @property
    def ours(self) -> list[str]:
        return [
            each["body"] for each in self.comments if (each.get("user") or each.get("author"))["login"] == self.OURS
        ]

    def allowed(self, headers: Any) -> bool:
        if self.flavour == "github":
            return bool(headers.get("Authorization") == f"Bearer {self.token}")
        return bool(headers.get("PRIVATE-TOKEN") == self.token)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any]:
        listing, one = (
            (r"/repos/owner/name/issues/7/comments", r"/repos/owner/name/issues/comments/(\d+)")
            if self.flavour == "github"
            else (r"/projects/5/merge_requests/7/notes", r"/projects/5/merge_requests/7/notes/(\d+)")
        )
        if method == "GET" and path == "/user" and self.flavour == "gitlab":
            return 200, {"id": self.OUR_ID}
        if method == "GET" and re.fullmatch(listing, path):
            size, page = int(query["per_page"][0]), int(query["page"][0])
            return 200, self.comments[(page - 1) * size : page * size]
        if self.refuse:
            return self.refuse, {"message": "Resource not accessible by integration"}
        if method == "POST" and re.fullmatch(listing, path):
            return 201, self.add(body["body"], self.OURS, self.OUR_ID)
        found = re.fullmatch(one, path)
        if method == ("PATCH" if self.flavour == "github" else "PUT") and found:
            (comment,) = (each for each in self.comments if each["id"] == int(found[1]))
            comment["body"] = body["body"]
            return 200, comment
        return 404, {"message": "Not Found"}


@contextmanager
def double(flavour: str, token: str) -> Iterator[Service]:
    """One that runs."""
    service = Service(flavour, token)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            service.requests.append((self.command, self.path))
            status, answer = (
                service.answer(self.command, parts.path, parse_qs(parts.query), body)
                if service.allowed(self.headers)
                else (401, {"message": "Bad credentials"})
            )
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = handle_any  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
