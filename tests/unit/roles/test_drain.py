"""A host that is drained and put back, against doubles of systemctl, systemd-run and ip."""

import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

drain: Any = load("module_utils/slipway_drain.py")

ORDER = {
    "action": "drain",
    "owner": "ann (pid 7)",
    "host": "laptop",
    "units": ["slipway-m.service"],
    "lease_s": 3600,
    "address": None,
}
TOOLS = {
    # Of units it says "enabled", but of one that is gone.
    "systemctl": 'case "$*" in "is-enabled slipway-gone"*) echo not-found; exit 1;; is-enabled*) echo enabled;;'
    ' "stop slipway-stuck.service") echo "Job timed out." >&2; exit 1;; esac',
    "systemd-run": 'test ! -e "$0.broken" || { echo "no bus" >&2; exit 1; }',
    "ip": 'cat "$0.json"',
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its tools, which note their calls in ``calls``, and its folder ``run``."""
    for name, text in TOOLS.items():
        file = tmp_path / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >>{tmp_path}/calls\n{text}\n')
        file.chmod(0o755)
    (tmp_path / "ip.json").write_text("[]")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def asked(host: Path, **order: Any) -> Any:
    return drain.run({**ORDER, **order}, host / "run")


def calls(host: Path) -> list[str]:
    """What was called since the last look."""
    file = host / "calls"
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def test_a_drain_leaves_a_mark_with_owner_and_end_and_a_timer_before_it_stops_anything(host: Path) -> None:
    assert "seconds" in asked(host)
    told = calls(host)
    timer = next(number for number, call in enumerate(told) if call.startswith("systemd-run"))
    assert "--on-active=3600" in told[timer]
    assert "systemctl start --no-block slipway-m.service" in told[timer]
    assert told.index("systemctl stop slipway-m.service") > timer
    mark = asked(host, action="look")["mark"]
    assert (mark["owner"], mark["host"], mark["over"]) == ("ann (pid 7)", "laptop", False)
    until = datetime.strptime(mark["until"], drain.FORM).replace(tzinfo=UTC)
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)


def test_the_timers_command_puts_the_host_back(host: Path) -> None:
    asked(host, address="10.0.0.9/24")
    run = next(call for call in calls(host) if call.startswith("systemd-run"))
    command = run.partition("/bin/sh -c ")[2]
    subprocess.run(["bash", "-c", command], check=True)
    assert calls(host) == ["systemctl start --no-block slipway-m.service"]
    assert list((host / "run").iterdir()) == []


def test_without_a_timer_nothing_is_drained(host: Path) -> None:
    (host / "systemd-run.broken").touch()
    assert asked(host) == {"error": "no timer that would put it back, so it is not drained: no bus"}
    assert "systemctl stop slipway-m.service" not in calls(host)
    assert asked(host, action="look")["mark"] is None


def test_a_unit_that_does_not_stop_is_an_error(host: Path) -> None:
    said = asked(host, units=["slipway-stuck.service"])
    assert said == {"error": "slipway-stuck.service did not stop: Job timed out."}


def test_gateways_have_stopped_before_the_engines_are_asked_to(host: Path) -> None:
    asked(host, units=["slipway-litellm.service", "slipway-m.service"], first=["slipway-litellm.service"])
    stops = [call for call in calls(host) if call.startswith("systemctl stop") and "put-back" not in call]
    assert stops == ["systemctl stop slipway-litellm.service", "systemctl stop slipway-m.service"]


def test_the_address_goes_before_anything_stops(host: Path) -> None:
    file = host / "ip.json"
    file.write_text(json.dumps([{"addr_info": [{"local": "10.0.0.9"}]}]))
    assert asked(host, action="look", address="10.0.0.9/24")["holds"]
    # keepalived sees the file, and gives it away.
    gave = []

    def keepalived() -> None:
        while not (host / "run/front-drained").exists():
            time.sleep(0.001)
        gave.append("systemctl stop slipway-m.service" not in (host / "calls").read_text())
        # At once: the double of ip may be reading it.
        (host / "none.json").write_text("[]")
        (host / "none.json").replace(file)

    other = threading.Thread(target=keepalived)
    other.start()
    assert "seconds" in asked(host, address="10.0.0.9/24")
    other.join()
    assert gave == [True]
    assert not asked(host, action="look", address="10.0.0.9/24")["holds"]


def test_an_address_that_nobody_takes_stops_nothing(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "MOVES_S", 0)
    (host / "ip.json").write_text(json.dumps([{"addr_info": [{"local": "10.0.0.9"}]}]))
    assert asked(host, address="10.0.0.9/24") == {
        "error": "the other front did not take the floating address within 0 s"
    }
    assert "systemctl stop slipway-m.service" not in calls(host)


def test_one_that_was_left_drained_remembers_what_was_stopped(host: Path) -> None:
    asked(host)
    since = asked(host, action="look")["mark"]["since"]
    asked(host, units=[], owner="bob (pid 9)")
    mark = asked(host, action="look")["mark"]
    assert (mark["owner"], mark["since"], mark["units"]) == ("bob (pid 9)", since, ["slipway-m.service"])
    calls(host)
    assert asked(host, action="start") == {"units": ["slipway-m.service"]}
    assert "systemctl start slipway-m.service" in calls(host)


def test_what_the_change_removed_is_not_started(host: Path) -> None:
    asked(host, units=["slipway-m.service", "slipway-gone.service"])
    assert asked(host, action="start") == {"units": ["slipway-m.service"]}


def test_the_end_takes_marks_and_timer_away(host: Path) -> None:
    asked(host, address="10.0.0.9/24")
    calls(host)
    assert asked(host, action="end") == {}
    assert list((host / "run").iterdir()) == []
    assert calls(host)[0] == "systemctl stop slipway-put-back.timer"
    assert asked(host, action="start") == {"units": []}


def test_a_host_that_is_not_drained_has_no_mark(host: Path) -> None:
    assert asked(host, action="look") == {"mark": None, "holds": False}
    (host / "run").mkdir()
    (host / "run/drained").write_text("{")
    assert asked(host, action="look")["mark"] is None


def test_a_mark_whose_time_has_come_says_so(host: Path) -> None:
    asked(host, lease_s=-5)
    assert asked(host, action="look")["mark"]["over"]


@pytest.fixture
def front(certificate: tuple[Path, Path]) -> Iterator[int]:
    """A double of a front: its figures, over TLS with a certificate of another name."""

    class Figures(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = b'slipway_backend_up{backend="m@a/m"} 1\nslipway_backend_up{backend="m@b/m"} 0\n'
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Figures)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    own, key = tmp_path / "own.pem", tmp_path / "own.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=llm.example.com", "-days", "2", "-keyout", key, "-out", own],
        check=True, capture_output=True,
    )  # fmt: skip
    return own, key


def test_a_front_says_who_is_well(host: Path, front: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert asked(host, action="serving", port=front) == {"backends": {"m@a/m": True, "m@b/m": False}}


def test_a_front_that_is_not_there_is_an_error(host: Path) -> None:
    assert asked(host, action="serving", port=1)["error"].startswith("the front does not answer: ")
