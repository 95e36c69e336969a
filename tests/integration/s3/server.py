"""A double of S3 on loopback: moto's server, and before it what moto leaves out of presigned addresses, and what a test asks for.

It runs in an environment of its own: ``python server.py FOLDER``. Checked is a presigned GET as S3 does it: whose access key,
the signature (recomputed by botocore), its age, and whether that key may read. Requests with a signature in a header are the
tests' own, which fill buckets, and pass unchecked; whoever signs nothing is refused. ``FOLDER/port`` has the port once it
listens, ``FOLDER/seen`` a line of JSON for each request, and ``FOLDER/orders.json`` how to answer: ``cut_after`` bytes of a
body and no more,
``answer`` {status, code, message, headers} instead of all else, ``pace`` bytes a second.
"""

import hmac
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Environment = dict[str, Any]
STAMP = "%Y%m%dT%H%M%SZ"
BLOCK = 1 << 16


class _Clockless(botocore.auth.S3SigV4QueryAuth):
    """Signs as of a time that is given, for a server that verifies."""

    def verified(self, url: str, stamp: str) -> str:
        request = AWSRequest(method="GET", url=url)
        request.context["timestamp"] = stamp
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        return self.signature(text, request)


class Double:
    """The application; `keys` are ``{access key: {"secret", "token", "reads"}}``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, dict[str, Any]] = json.loads((folder / "keys.json").read_text())
        self.inner = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environment: Environment, start: Callable[..., Any]) -> Iterator[bytes]:
        orders = json.loads((self.folder / "orders.json").read_text())
        query = {name: values[0] for name, values in parse_qs(environment["QUERY_STRING"]).items()}
        mine = "HTTP_AUTHORIZATION" in environment
        refusal = None if mine else (orders.get("answer") or self._refusal(environment, query))
        if refusal is not None:
            yield from self._refused(environment, start, refusal)
            return
        begun: list[Any] = []
        body = self.inner(environment, lambda status, headers, *_: begun.append((status, headers)))
        parts = b"".join(body)
        status, headers = begun[0]
        self._note(environment, int(status.split()[0]))
        start(status, headers)
        whole = len(parts)
        if not mine and orders.get("cut_after") is not None:
            parts = parts[: orders["cut_after"]]
        for begin in range(0, len(parts), BLOCK):
            yield parts[begin : begin + BLOCK]
            if not mine and orders.get("pace"):
                time.sleep(BLOCK / orders["pace"])
        if len(parts) < whole:
            raise ConnectionAbortedError

    def _refusal(self, environment: Environment, query: dict[str, str]) -> dict[str, Any] | None:
        denied = {"status": 403, "code": "AccessDenied", "message": "Access Denied"}
        if "X-Amz-Signature" not in query or environment["REQUEST_METHOD"] != "GET":
            return denied
        key, day, region, service, _ = query["X-Amz-Credential"].split("/")
        known = self.keys.get(key)
        if known is None:
            return {"status": 403, "code": "InvalidAccessKeyId", "message": "The key does not exist in our records."}
        credentials = Credentials(key, known["secret"], known["token"] or None)
        stamp, lives = query["X-Amz-Date"], int(query["X-Amz-Expires"])
        path = quote(environment["PATH_INFO"].encode("latin-1"), safe="/~")
        rest = "&".join(f"{name}={quote(value)}" for name, value in query.items() if not name.startswith("X-Amz-"))
        url = f"http://{environment['HTTP_HOST']}{path}{'?' if rest else ''}{rest}"
        right = _Clockless(credentials, service, region, lives).verified(url, stamp)
        if not stamp.startswith(day) or not hmac.compare_digest(right, query["X-Amz-Signature"]):
            return {"status": 403, "code": "SignatureDoesNotMatch", "message": "It does not match."}
        if known["token"] != query.get("X-Amz-Security-Token", ""):
            return {"status": 403, "code": "InvalidToken", "message": "The provided token is invalid."}
        if datetime.now(UTC) > datetime.strptime(stamp, STAMP).replace(tzinfo=UTC) + timedelta(seconds=lives):
            return {"status": 403, "code": "AccessDenied", "message": "Request has expired"}
        return None if known["reads"] else denied

    def _refused(self, environment: Environment, start: Callable[..., Any], how: dict[str, Any]) -> Iterator[bytes]:
        self._note(environment, how["status"])
        code = f"<Code>{how['code']}</Code>" if how.get("code") else ""
        body = f'<?xml version="1.0"?><Error>{code}<Message>{how.get("message", "")}</Message></Error>'.encode()
        more = list(how.get("headers", {}).items())
        start(
            f"{how['status']} Refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *more]
        )
        yield body

    def _note(self, environment: Environment, status: int) -> None:
        said = {
            "method": environment["REQUEST_METHOD"],
            "path": environment["PATH_INFO"],
            "query": environment["QUERY_STRING"],
            "range": environment.get("HTTP_RANGE", ""),
            "signed": "HTTP_AUTHORIZATION" not in environment,
            "status": status,
        }
        with (self.folder / "seen").open("a") as seen:
            seen.write(json.dumps(said) + "\n")


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing on the tests' output."""


def main() -> None:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    server = make_server("127.0.0.1", 0, Double(folder), threaded=True, request_handler=_Quiet)
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").rename(folder / "port")
    server.serve_forever()


if __name__ == "__main__":
    main()
