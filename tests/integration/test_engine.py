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
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An engine that takes `PLACES` requests at once."""
    folder = tmp_path_factory.mktemp("engine")
    made = Engine(folder, make_tiny_llama(folder / "model"), ["tiny"], {"max-num-queued-reqs": PLACES})
    made.start()
    try:
        made.wait()
        with httpx.Client(base_url=made.url, timeout=60, trust_env=False) as client:
            yield client
    finally:
        made.stop()


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
