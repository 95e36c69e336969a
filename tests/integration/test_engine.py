"""vLLM itself, with what role vllm adds to it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.engine import Engine
from tools.lab.model import make_tiny_llama

PLACES = 3
TOO_LARGE = 2**64
"""What fits into no message to the engine's core."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that takes `PLACES` requests at once."""
    folder = tmp_path_factory.mktemp("engine")
    made = Engine(folder, make_tiny_llama(folder / "model"), ["tiny"], {"max-num-queued-reqs": PLACES})
    made.start()
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture
def engine(running: Engine) -> Iterator[httpx.Client]:
    # A connection of its own: vLLM closes one on which it failed.
    with httpx.Client(base_url=running.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    "asked",
    [{"top_k": TOO_LARGE}, {"top_k": str(TOO_LARGE)}, {"stop_token_ids": [TOO_LARGE]}, {"top_k": TOO_LARGE, "n": 2}],
    ids=["number", "text", "inside", "several-answers"],
)
def test_a_number_that_is_too_large_takes_no_place_for_good(engine: httpx.Client, asked: dict[str, object]) -> None:
    plain = {"model": "tiny", "prompt": "Hello", "max_tokens": 1}
    for _ in range(PLACES):
        refused = engine.post("completions", json=plain | asked)
        assert refused.status_code == 400, refused.text
    # As many answers as there are places: where one is taken, there is none.
    assert engine.post("completions", json=plain | {"n": PLACES}).status_code == 200


CANARY = "canary0meadow"
SECRETS: list[tuple[str, dict[str, object]]] = [
    ("completions", {"prompt": CANARY}),
    ("completions", {"prompt": CANARY, "stream": True, "echo": True, "logprobs": 1}),
    ("completions", {"prompt": [CANARY, 7]}),
    ("completions", {"prompt": "x", "stop": [CANARY], "top_k": TOO_LARGE}),
    ("completions", {"prompt": CANARY, "top_k": TOO_LARGE}),
    ("completions", {"prompt": CANARY * 3000}),
    ("completions", {"prompt": "x", "structured_outputs": {"regex": f"{CANARY}\\ud800"}}),
    ("completions", {"prompt": "x", "structured_outputs": {"regex": f"{CANARY}("}}),
    ("completions", {"prompt": "x", "structured_outputs": {"grammar": f"root ::= {CANARY}"}}),
    ("completions", {"prompt": "x", "structured_outputs": {"json": {"type": CANARY}}}),
    ("completions", {"prompt": "x", "structured_outputs": CANARY}),
    ("completions", {"prompt": "x", CANARY: 1}),
    ("chat/completions", {"messages": [{"role": "user", "content": CANARY}]}),
    ("chat/completions", {"messages": [{"role": CANARY, "content": "x"}]}),
    ("chat/completions", {"messages": CANARY}),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": CANARY}]}]}),
    (
        "chat/completions",
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": CANARY, "parameters": {"type": CANARY}}}],
            "tool_choice": {"type": "function", "function": {"name": CANARY}},
        },
    ),
    ("responses", {"input": CANARY, "store": False}),
]


@pytest.mark.parametrize(("path", "asked"), SECRETS)
def test_nothing_of_a_request_is_in_the_journal(
    running: Engine, engine: httpx.Client, path: str, asked: dict[str, object]
) -> None:
    journal = running.folder / "journal"
    before = journal.stat().st_size
    most = "max_output_tokens" if path == "responses" else "max_tokens"
    engine.post(path, json={"model": "tiny", most: 2, **asked})
    assert httpx.get(f"{running.url.removesuffix('/v1')}/health", trust_env=False).status_code == 200
    said = journal.read_bytes()[before:].decode(errors="replace")
    assert CANARY not in said, said
