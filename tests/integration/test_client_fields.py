"""Every field that the makers' clients know passes the front, or is refused for a reason that is written down here."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.asking import GENERATING, HELLO
from tests.integration.backend_double import Double
from tests.integration.client_matrix import HERE, clients_python
from tests.integration.front import Front, backend, model, team

BODIES: dict[str, dict[str, Any]] = GENERATING | {
    "/v1/embeddings": {"input": "x"},
    "/v1/messages/count_tokens": {"messages": HELLO},
}
MODERATED = "nothing here moderates, and whoever asks for it must not believe so"
ELSEWHERE = "means something that only the maker's own service has"
REFUSED = {
    "/v1/chat/completions": {"moderation": MODERATED},
    "/v1/responses": {
        "moderation": MODERATED,
        "conversation": "conversations are kept by OpenAI alone",
        "context_management": "nothing here compacts a context",
    },
    "/v1/messages": {
        "inference_geo": "where a request is worked on is settled by the stack, and private models",
        "user_profile_id": ELSEWHERE,
        "workspace_id": ELSEWHERE,
    },
    "/v1/messages/count_tokens": {"user_profile_id": ELSEWHERE, "workspace_id": ELSEWHERE},
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front, engine = Front(tmp_path_factory.mktemp("fields") / "nginx"), Double("engine")
    front.start()
    try:
        front.wait()
        native = ("chat", "completions", "embeddings", "responses", "messages")
        served = {
            "tiny": model(backend("tiny", engine.url, native=native)),
            "embed": model(backend("embed", engine.url, native=native), task="embedding"),
        }
        front.serve(team("open"), models=served)
        yield front
    finally:
        front.close()
        engine.kill()


@pytest.fixture(scope="module")
def known() -> dict[str, list[str]]:
    """The fields by path."""
    done = subprocess.run(
        [clients_python(), HERE / "fields_python.py"], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", BODIES)
def test_what_a_makers_client_can_send_is_passed_on_or_named(
    front: Front, known: dict[str, list[str]], path: str
) -> None:
    refused = set()
    for field in known[path]:
        body = {field: None, "model": "embed" if "embeddings" in path else "tiny", **BODIES[path]}
        response = front.ask(path, **body)
        if response.status_code != 200:
            assert response.status_code == 400, response.text
            assert f"'{field}'" in response.text
            refused.add(field)
    assert len(known[path]) >= 5
    assert refused == set(REFUSED.get(path, {}))


def test_the_table_is_of_fields_that_there_are(known: dict[str, list[str]]) -> None:
    for path, fields in REFUSED.items():
        assert set(fields) <= set(known[path])
