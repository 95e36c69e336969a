"""Requests that schemathesis makes of an engine's OpenAPI: lines of JSON, half of them valid and half not.

`python generate.py OPENAPI COUNT SEED`, in the environment of this folder's lock. Each line is one request: method, path with its
query, headers, and the body in base64. The same seed makes the same requests. It sends nothing.
"""

import base64
import itertools
import json
import sys
import warnings
from pathlib import Path

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode


def line(case: schemathesis.Case) -> str:
    """One request."""
    sent = case.as_transport_kwargs(base_url="http://front")
    body = sent.get("data") or b""
    if "json" in sent:
        body = json.dumps(sent["json"]).encode()
    elif isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    elif not isinstance(body, bytes):
        body = json.dumps(body, default=str).encode()
    query = "&".join(f"{name}={value}" for name, value in (sent.get("params") or {}).items())
    headers = {str(name): str(value) for name, value in (sent.get("headers") or {}).items()}
    return json.dumps(
        {
            "method": sent["method"],
            "path": sent["url"].removeprefix("http://front") + (f"?{query}" if query else ""),
            "headers": headers,
            "body": base64.b64encode(body).decode(),
        }
    )


def made(strategy: hypothesis.strategies.SearchStrategy, count: int, seed: int) -> list[str]:
    """At most so many of a strategy; one that can make fewer makes fewer."""
    found: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def take(case: schemathesis.Case) -> None:
        found.append(line(case))

    take()
    return found[:count]


def main(document: str, count: int, seed: int) -> None:
    """Write them."""
    warnings.simplefilter("ignore")
    schema = schemathesis.openapi.from_dict(json.loads(Path(document).read_text(encoding="utf-8")))
    operations = [operation.ok() for operation in schema.get_all_operations()]
    ways = list(itertools.product(operations, [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    share = -(-count // len(ways))
    for number, (operation, mode) in enumerate(ways):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            lines = made(strategy, share, seed + number)
        except hypothesis.errors.Unsatisfiable:
            lines = []  # GET /v1/models takes nothing that could be wrong
        print("\n".join(lines)) if lines else None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
