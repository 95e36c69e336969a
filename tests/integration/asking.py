"""What the tests of gateway and front ask alike, and how they read what comes back."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.integration.backend_double import WORDS

TEXT = "".join(WORDS)
CANARY = "canary-in-a-prompt-7319"
HELLO = [{"role": "user", "content": CANARY}]
GENERATING: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": CANARY},
    "/v1/responses": {"input": CANARY},
    "/v1/messages": {"messages": HELLO, "max_tokens": 5},
}
"""What a request to each path that generates has at least."""


def words(response: httpx.Response) -> str:
    """What a stream says, if it is whole."""
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", response.text
    choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
    return "".join((choice.get("delta") or choice).get("content") or choice.get("text") or "" for choice in choices)


def until(holds: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for it."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
