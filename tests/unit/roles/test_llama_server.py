"""The launcher of llama.cpp's server: llama-server's own flags, nothing passed over, and answers finished at the end."""

from __future__ import annotations

import enum
import http.client
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.loading import load

llama_server = load("roles/llama_cpp/files/llama_server.py")


class Library:
    """The enumerations of xllamacpp that the launcher names."""

    ggml_type = enum.Enum("ggml_type", {f"GGML_TYPE_{name.upper()}": name for name in llama_server.CACHE_TYPES})
    llama_pooling_type = enum.Enum(
        "llama_pooling_type", {f"LLAMA_POOLING_TYPE_{name.upper()}": name for name in llama_server.POOLINGS}
    )
    llama_load_mode = enum.Enum(
        "llama_load_mode",
        {f"LLAMA_LOAD_MODE_{name}": name for name in ("AUTO", "NONE", "MMAP", "MLOCK", "MMAP_MLOCK", "DIRECT_IO")},
    )
    llama_flash_attn_type = enum.Enum(
        "llama_flash_attn_type", {f"LLAMA_FLASH_ATTN_TYPE_{name}": name for name in ("AUTO", "ENABLED", "DISABLED")}
    )
    llama_split_mode = enum.Enum("llama_split_mode", {"LLAMA_SPLIT_MODE_LAYER": 1})
    common_reasoning_format = enum.Enum(
        "common_reasoning_format", {"COMMON_REASONING_FORMAT_DEEPSEEK_LEGACY": 1, "COMMON_REASONING_FORMAT_NONE": 2}
    )


class Params(SimpleNamespace):
    """The parameters, which take what they are given and hold the server's defaults otherwise."""

    def __init__(self) -> None:
        super().__init__(
            model=SimpleNamespace(path=""),
            cpuparams=SimpleNamespace(n_threads=-1, poll=50),
            cpuparams_batch=SimpleNamespace(n_threads=-1, poll=50),
            n_batch=2048,
            n_ubatch=512,
            api_keys=[],
            pooling_type=None,
        )


def filled(*arguments: str) -> Params:
    params = Params()
    options = llama_server.parser().parse_args(["--model", "m.gguf", *arguments])
    made = llama_server.fill(params, options, Library)
    assert made is params
    return params


def test_a_whole_command_line(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# of the gateway\nsk-1\n\n")
    flags = {
        "alias": "tiny,other",
        "host": "127.0.0.1",
        "port": "8001",
        "api-key-file": str(keys),
        "ctx-size": "8192",
        "parallel": "2",
        "threads": "3",
        "threads-batch": "4",
        "threads-http": "32",
        "poll": "0",
        "batch-size": "1024",
        "ubatch-size": "256",
        "n-gpu-layers": "all",
        "fit": "off",
        "flash-attn": "on",
        "cache-type-k": "q8_0",
        "cache-type-v": "iq4_nl",
        "cache-ram": "0",
        "load-mode": "mmap+mlock",
        "reasoning-format": "deepseek-legacy",
        "log-verbosity": "4",
    }
    params = filled(
        *(part for name, value in flags.items() for part in (f"--{name}", value)),
        *("--metrics", "--no-slots", "--no-webui", "--offline", "--no-jinja", "--no-warmup"),
    )
    assert (params.model.path, params.model_alias, params.hostnames) == ("m.gguf", {"tiny", "other"}, ["127.0.0.1"])
    # Of a single key the server's log shows the end.
    assert params.api_keys == ["sk-1", "sk-1"]
    assert (params.port, params.n_ctx, params.n_parallel, params.n_threads_http) == (8001, 8192, 2, 32)
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 4)
    assert (params.cpuparams.poll, params.cpuparams_batch.poll) == (0, 0)
    assert (params.n_batch, params.n_ubatch, params.n_gpu_layers, params.cache_ram_mib) == (1024, 256, -2, 0)
    assert (params.cache_type_k.value, params.cache_type_v.value) == ("q8_0", "iq4_nl")
    assert params.load_mode.value == "MMAP_MLOCK"
    assert params.flash_attn_type.value == "ENABLED"
    assert params.reasoning_format.value == 1
    assert (params.endpoint_metrics, params.endpoint_slots, params.ui, params.offline) == (True, False, False, True)
    assert (params.use_jinja, params.warmup, params.fit_params, params.verbosity) == (False, False, False, 4)


def test_what_is_not_given_is_the_servers_own() -> None:
    params = filled()
    assert not hasattr(params, "n_gpu_layers")
    assert not hasattr(params, "cache_type_k")
    assert (params.cpuparams.n_threads, params.cpuparams.poll, params.n_batch) == (-1, 50, 2048)
    assert (params.endpoint_metrics, params.endpoint_slots, params.embedding) == (False, True, False)


@pytest.mark.parametrize(
    ("flag", "layers"), [("all", llama_server.ALL_LAYERS), ("auto", llama_server.AUTO_LAYERS), ("0", 0), ("33", 33)]
)
def test_layers(flag: str, layers: int) -> None:
    assert filled("--n-gpu-layers", flag).n_gpu_layers == layers


def test_a_load_mode_and_a_template_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ x }}\n")
    assert filled("--load-mode", "dio").load_mode.value == "DIRECT_IO"
    assert filled("--chat-template-file", str(tmp_path / "t.jinja")).chat_template == "{{ x }}\n"
    assert filled("--chat-template", "{{ y }}").chat_template == "{{ y }}"


@pytest.mark.parametrize("flag", ["--embedding", "--embeddings"])
def test_embeddings(flag: str) -> None:
    params = filled(flag, "--pooling", "cls")
    assert (params.embedding, params.pooling_type.value) == (True, "cls")


def test_reranking_ranks() -> None:
    params = filled("--reranking")
    assert (params.embedding, params.pooling_type.value) == (True, "rank")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ctx", "1"],  # no abbreviations: another release may have a flag of that name
        ["--rpc", "10.0.0.1:1"],
        ["--cache-type-k", "q2_k"],
        ["--n-gpu-layers", "some"],
        ["--fit", "maybe"],
        ["--mlock"],
    ],
)
def test_anything_else_is_refused_by_name(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        llama_server.parser().parse_args(["--model", "m", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert arguments[0].removeprefix("--") in said
    # As role service looks for causes that no restart mends.
    assert "llama-server: error: " in said


def test_a_file_without_a_key_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none\n\n")
    with pytest.raises(ValueError, match="holds no key, so everybody would be let in"):
        filled("--api-key-file", str(tmp_path / "keys"))


class TestCheck:
    def options(self, model: Path, port: int = 0) -> Any:
        return llama_server.parser().parse_args(["--model", str(model), "--port", str(port)])

    def test_a_model_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            llama_server.check(self.options(tmp_path / "gone.gguf"))
        (tmp_path / "m.gguf").write_bytes(b"PK\3\4")
        with pytest.raises(ValueError, match="is no GGUF file"):
            llama_server.check(self.options(tmp_path / "m.gguf"))

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "m.gguf").write_bytes(b"GGUF....")
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="Address already in use"):
            llama_server.check(self.options(tmp_path / "m.gguf", taken.getsockname()[1]))
        llama_server.check(self.options(tmp_path / "m.gguf"))


METRICS = """\
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing {processing}
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred {deferred}
llamacpp:requests_processing_more 7
"""


@pytest.mark.parametrize(("processing", "deferred"), [(0, 0), (2, 0), (2, 5)])
def test_requests_in_flight(processing: int, deferred: int) -> None:
    assert llama_server.in_flight(METRICS.format(processing=processing, deferred=deferred)) == processing + deferred


class Server:
    """A server that accepts as the genuine one does, in a thread of its own; metrics are what the test says."""

    def __init__(self, *busy: int) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.busy = list(busy)
        self.accepted: list[socket.socket] = []
        # By the descriptor alone, as C++ does: what lies under it may be changed.
        self._descriptor = self.socket.detach()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            with socket.socket(fileno=os.dup(self._descriptor)) as listening:
                self.accepted.append(listening.accept()[0])

    def handle_metrics(self) -> str:
        count = self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]
        return METRICS.format(processing=count, deferred=0)


class TestDrain:
    def test_new_connections_are_refused_and_old_ones_live(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(llama_server, "SETTLE_S", 0.05)
        server = Server(1, 1, 0)
        with socket.create_connection(("127.0.0.1", server.port)) as old:
            while not server.accepted:
                time.sleep(0.01)
            assert llama_server.drain(server, server.port, 10) == 0
            # Until the accept that waited has let go of the former socket.
            end = time.monotonic() + 5
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
                except ConnectionRefusedError:
                    break
            else:
                pytest.fail("it still accepts")
            server.accepted[0].sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            answer = http.client.HTTPResponse(old)
            answer.begin()
            assert answer.status == 200

    def test_a_listener_is_found_once(self) -> None:
        """Not a second time by the copy that it is looked at through, whose number somebody else may have a moment later."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            found = list(llama_server.listeners(listener.getsockname()[1]))
            for _, copy in found:
                copy.close()
            assert [number for number, _ in found] == [listener.fileno()]

    def test_it_is_bounded(self) -> None:
        server = Server(2)
        began = time.monotonic()
        assert llama_server.drain(server, server.port, 0.3) == 2
        assert time.monotonic() - began > 0.2

    def test_what_is_still_written_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(llama_server, "SETTLE_S", 0.3)
        server = Server(0, 1, 0)  # a request that was between two looks
        began = time.monotonic()
        assert llama_server.drain(server, server.port, 10) == 0
        assert time.monotonic() - began > 0.4
