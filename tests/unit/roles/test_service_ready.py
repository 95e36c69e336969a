"""Waiting for a service: what counts as ready, what ends the wait early, and what is said then."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.unit.roles.loading import load

service_ready = load("library/service_ready.py")

KEY = "canary-0123456789abcdef"
UNIT = "slipway-vllm.service"

TOO_LONG = """\
Started slipway-vllm.service - Slipway: the engine vLLM with tiny.
(APIServer pid=1) INFO 11-21 08:41:10 [api_utils.py:286] non-default args: {'max_model_len': 99999}
  File "/opt/slipway/vllm/x/lib/python3.11/site-packages/pydantic/_internal/_dataclasses.py", line 121, in __init__
    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len (4096). [type=value_error]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
slipway-vllm.service: Main process exited, code=exited, status=1/FAILURE
slipway-vllm.service: Scheduled restart job, restart counter is at 1.
""".splitlines()

WORKER_DIED = """\
Started slipway-vllm.service - Slipway: the engine vLLM with tiny.
(EngineCore pid=591) ERROR 11-21 08:14:40 [core.py:1512] Traceback (most recent call last):
(EngineCore pid=591) ERROR 11-21 08:14:40 [core.py:1512] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
(APIServer pid=489) ERROR 11-21 08:14:40 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore died.
(APIServer pid=489) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
slipway-vllm.service: Main process exited, code=exited, status=1/FAILURE
""".splitlines()

ABORTED = """\
Started slipway-vllm.service - Slipway: the engine vLLM with tiny.
(APIServer pid=1189) INFO 11-21 08:41:10 [compilation.py:317] Enabled custom fusions: norm_quant, act_quant
Operation not permitted (src/thread.cpp:315)
slipway-vllm.service: Main process exited, code=killed, status=6/ABRT
""".splitlines()


def unit(active: str = "active", sub: str = "running", restarts: int = 0) -> Any:
    return service_ready.State(active, sub, restarts, "1" * 32, "exit-code, exit status 1")


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def wait(states: list[Any], answers: list[tuple[int, str]], timeout: int = 10) -> float:
    """`states` and `answers` come one after the other, the last one for ever."""
    clock = Clock()
    arguments = {"unit": UNIT, "url": "http://x", "body": {}, "key": KEY, "timeout": timeout, "request_timeout": 5}
    return service_ready.wait(
        arguments,
        look=lambda _: states.pop(0) if len(states) > 1 else states[0],
        request=lambda *_: answers.pop(0) if len(answers) > 1 else answers[0],
        clock=clock,
        pause=clock.pause,
    )


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(service_ready, "journal", lambda _: lines)
    return lines


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            TOO_LONG,
            "ValueError: User-specified max_model_len (99999) is greater than the derived max_model_len (4096).",
        ),
        (WORKER_DIED, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        (ABORTED, "Operation not permitted (src/thread.cpp:315)"),
        (
            ["api_server.py: error: unrecognized arguments: --nonsense"],
            "api_server.py: error: unrecognized arguments: --nonsense",
        ),
        (["RuntimeError: Engine core initialization failed. See root cause above."], ""),
        (["INFO everything is fine"], ""),
        ([], ""),
    ],
)
def test_the_cause_of_a_crash(lines: list[str], expected: str) -> None:
    assert service_ready.cause(lines) == expected


def test_the_last_crash_counts_and_not_an_older_one() -> None:
    assert service_ready.journal_of_last_crash([*TOO_LONG, *WORKER_DIED]) == WORKER_DIED
    assert service_ready.journal_of_last_crash([*TOO_LONG, "Started slipway-vllm.service - again."]) == TOO_LONG


def test_ready_as_soon_as_it_answers() -> None:
    assert wait([unit()], [(0, "refused"), (0, "refused"), (200, "{}")]) == pytest.approx(1.0)


def test_a_mistake_that_no_restart_mends_ends_the_wait_at_the_first_crash(journal: list[str]) -> None:
    journal += TOO_LONG
    with pytest.raises(service_ready.NotReadyError) as failed:
        wait([unit(), unit("activating", "auto-restart")], [(0, "refused")], timeout=900)
    assert "it crashed (exit-code, exit status 1); it said: ValueError: User-specified max_model_len" in str(
        failed.value
    )
    assert f"journalctl -u {UNIT}" in str(failed.value)


def test_any_other_crash_gets_a_second_chance(journal: list[str]) -> None:
    journal += WORKER_DIED
    states = [unit(), unit("activating", "auto-restart"), *[unit(restarts=1)] * 3]
    assert wait(states, [(0, "refused")] * 4 + [(200, "{}")]) > 1


def test_the_second_crash_ends_the_wait(journal: list[str]) -> None:
    journal += WORKER_DIED
    with pytest.raises(service_ready.NotReadyError, match=r"it crashed 2 times .*CUDA out of memory"):
        wait([unit(restarts=7), unit(restarts=8), unit(restarts=9)], [(0, "refused")], timeout=900)


def test_memory_that_a_dying_process_still_holds_is_no_mistake(journal: list[str]) -> None:
    journal += [
        "Started x",
        "ValueError: Free memory on device (10/80 GiB) is less than desired",
        "x: Main process exited",
    ]
    assert wait([unit(), unit(restarts=1)], [(0, "refused")] * 4 + [(200, "{}")]) > 1


def test_a_stopped_unit_ends_the_wait(journal: list[str]) -> None:
    with pytest.raises(service_ready.NotReadyError, match="does not come up: it is inactive"):
        wait([unit("inactive", "dead")], [(0, "refused")])


def test_a_refused_request_ends_the_wait() -> None:
    with pytest.raises(
        service_ready.NotReadyError, match=r"refuses the request: it answered status 404 .*no such model"
    ):
        wait([unit()], [(404, "no such model")])


def test_time_runs_out_while_it_loads(journal: list[str]) -> None:
    journal += ["Loading weights: 12 %"]
    with pytest.raises(
        service_ready.NotReadyError, match=r"is active but did not answer within 10 s.*Loading weights: 12 %"
    ):
        wait([unit()], [(0, "refused")])


@contextmanager
def served(seen: list[tuple[str, str, str]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            seen.append((self.command, self.headers["Authorization"], self.rfile.read(length).decode()))
            self.send_response(200 if self.path == "/good" else 503)
            self.end_headers()
            self.wfile.write(b'{"version": "1.2"}')

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_asks_over_http_and_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    seen: list[tuple[str, str, str]] = []
    with served(seen) as url:
        assert service_ready.ask(f"{url}/good", {"a": 1}, KEY, 5) == (200, '{"version": "1.2"}')
        assert service_ready.ask(f"{url}/bad", {}, "", 5)[0] == 503
    assert seen == [("POST", f"Bearer {KEY}", json.dumps({"a": 1})), ("GET", None, "")]
    status, text = service_ready.ask(f"{url}/good", {}, "", 5)
    assert status == 0
    assert "refused" in text


def test_figures_come_from_documents_and_from_the_beginning_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["(EngineCore pid=5) INFO [kv.py:1] CPU KV cache size: 1,048,576 tokens, Maximum concurrency", "later"]
    monkeypatch.setattr(service_ready, "beginning", lambda _: lines)
    monkeypatch.setattr(service_ready, "state", lambda _: unit())
    arguments: dict[str, Any] = {
        "unit": UNIT,
        "key": "",
        "also": {},
        "journal": {"kv": "KV cache size: ([0-9,]+) tokens", "other": "never (x)"},
    }
    with served([]) as url:
        found = service_ready.facts({**arguments, "also": {"version": f"{url}/good", "gone": f"{url}/bad"}})
    assert found == {"version": {"version": "1.2"}, "kv": "1,048,576"}
