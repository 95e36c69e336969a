"""llama-server for hosts that get packages only: llama.cpp's own server, out of the wheel `xllamacpp`.

The wheel carries the genuine C++ server but no command line. This is one, with llama-server's own names for the flags
that are taken, so that a genuine llama-server can stand in its place; any other flag is refused by name and not passed
over. One thing it does that llama-server does not: on SIGTERM it takes no more connections and lets answers in flight
finish, for at most SLIPWAY_DRAIN_TIMEOUT seconds (environment; 0 ends at once, as llama-server does).

Not done: requests that come on connections which a client has kept open are answered while it drains, and so prolong it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
POOLINGS = ("none", "mean", "cls", "last", "rank")
LOAD_MODES = ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")
SWITCH = ("auto", "on", "off")
ALL_LAYERS = -2
AUTO_LAYERS = -1

DRAIN_VARIABLE = "SLIPWAY_DRAIN_TIMEOUT"
SETTLE_S = 0.5  # an answer whose last token is made is still being written


def layers(text: str) -> int:
    """`all`, `auto` or a number."""
    return {"all": ALL_LAYERS, "auto": AUTO_LAYERS}.get(text) or int(text)


def parser() -> argparse.ArgumentParser:
    """The flags that are taken, under llama-server's names; defaults are the server's own unless said."""
    made = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False, description=__doc__)
    add = made.add_argument
    add("--model", "-m", required=True, help="the model, a GGUF file")
    add("--alias", "-a", default="", help="names under which it is served, with commas between")
    add("--host", default="127.0.0.1", help="addresses to listen on, with commas between")
    add("--port", type=int, default=8080)
    add("--api-key-file", type=Path, help="keys, one a line; a line with # is a comment")
    add("--ctx-size", "-c", type=int, default=0, help="tokens of context of all slots together")
    add("--parallel", "-np", type=int, default=1, help="slots: requests that are answered at a time")
    add("--threads", "-t", type=int, help="threads that generate")
    add("--threads-batch", "-tb", type=int, help="threads that read prompts; default: as --threads")
    add("--threads-http", type=int, help="requests that are held at a time, waiting ones included")
    add("--poll", type=int, help="0 to 100: how long threads spin for more work before they sleep")
    add("--batch-size", "-b", type=int)
    add("--ubatch-size", "-ub", type=int)
    add("--n-gpu-layers", "--gpu-layers", "-ngl", type=layers)
    add("--main-gpu", "-mg", type=int)
    add("--split-mode", "-sm", choices=("none", "layer", "row", "tensor"))
    add("--fit", "-fit", choices=("on", "off"), help="whether what is not set is made to fit the devices' memory")
    add("--flash-attn", "-fa", choices=SWITCH)
    add("--cache-type-k", "-ctk", choices=CACHE_TYPES)
    add("--cache-type-v", "-ctv", choices=CACHE_TYPES)
    add("--cache-ram", "-cram", type=int, help="MiB of memory for the states of earlier prompts; 0 for none")
    add("--ctx-checkpoints", type=int, help="saved states of a slot, for models with windows or states")
    add("--swa-full", action="store_true", help="layers with a window keep all tokens")
    add("--load-mode", "-lm", choices=LOAD_MODES)
    add("--embedding", "--embeddings", action="store_true", help="serve embeddings only")
    add("--pooling", choices=POOLINGS)
    add("--reranking", "--rerank", action="store_true", help="serve reranking only")
    add("--jinja", action=argparse.BooleanOptionalAction, default=True)
    add("--chat-template", default="", help="Jinja text in place of the model's own template")
    add("--chat-template-file", type=Path, help="the same from a file")
    add("--reasoning-format", choices=("none", "auto", "deepseek", "deepseek-legacy"))
    add("--metrics", action="store_true", help="serve /metrics")
    add("--slots", action=argparse.BooleanOptionalAction, default=True, help="serve /slots, which shows prompts")
    # Whether the page is served; the second pair is the older name of the same.
    add("--ui", "--webui", action=argparse.BooleanOptionalAction, default=True)
    add("--cors-origins", help="web pages that may call, with commas between")
    add("--warmup", action=argparse.BooleanOptionalAction, default=True)
    add("--offline", action="store_true", help="fetch nothing")
    add("--log-verbosity", "--verbosity", "-lv", type=int, help="3: what happens; 4: sizes as well; more shows prompts")
    return made


def keys(path: Path) -> list[str]:
    """The keys of a file.

    Raises:
        ValueError: there is none in it, and so everybody would be let in.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError(f"{path} holds no key, so everybody would be let in: write one on a line of its own")
    return found


def check(options: argparse.Namespace) -> None:
    """What the server itself would fail at without saying why on its last line.

    Raises:
        OSError: the model can't be read, or the port is taken.
        ValueError: it is no GGUF file.
    """
    with Path(options.model).open("rb") as model:
        if model.read(4) != b"GGUF":
            raise ValueError(f"{options.model} is no GGUF file")
    for host in options.host.split(","):
        family, kind, protocol, _, address = socket.getaddrinfo(host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)


def fill(params: Any, options: argparse.Namespace, library: Any) -> Any:
    """Put the options into the server's parameters; None leaves the server's default."""
    params.model.path = options.model
    params.model_alias = {name for name in options.alias.split(",") if name}
    params.hostnames = options.host.split(",")
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.use_jinja = options.jinja
    params.chat_template = (
        options.chat_template_file.read_text(encoding="utf-8") if options.chat_template_file else options.chat_template
    )
    params.endpoint_metrics = options.metrics
    params.endpoint_slots = options.slots
    params.ui = options.ui
    params.warmup = options.warmup
    params.offline = options.offline
    params.port = options.port
    if options.api_key_file:
        # Of a single key the server logs the end; of several it logs their number.
        params.api_keys = keys(options.api_key_file) * 2
    if options.threads:
        params.cpuparams.n_threads = options.threads
    if options.threads_batch or options.threads:
        params.cpuparams_batch.n_threads = options.threads_batch or options.threads
    if options.poll is not None:
        params.cpuparams.poll = params.cpuparams_batch.poll = options.poll
    for name, value in {
        "n_threads_http": options.threads_http,
        "n_batch": options.batch_size,
        "n_ubatch": options.ubatch_size,
        "n_gpu_layers": options.n_gpu_layers,
        "main_gpu": options.main_gpu,
        "cache_ram_mib": options.cache_ram,
        "n_ctx_checkpoints": options.ctx_checkpoints,
        "swa_full": options.swa_full or None,
        "cors_origins": options.cors_origins,
        "verbosity": options.log_verbosity,
        "fit_params": options.fit and options.fit == "on",
        "split_mode": _member(library.llama_split_mode, "LLAMA_SPLIT_MODE", options.split_mode),
        "cache_type_k": _member(library.ggml_type, "GGML_TYPE", options.cache_type_k),
        "cache_type_v": _member(library.ggml_type, "GGML_TYPE", options.cache_type_v),
        "pooling_type": _member(library.llama_pooling_type, "LLAMA_POOLING_TYPE", options.pooling),
        "reasoning_format": _member(
            library.common_reasoning_format, "COMMON_REASONING_FORMAT", options.reasoning_format
        ),
        "load_mode": _member(
            library.llama_load_mode, "LLAMA_LOAD_MODE", {"dio": "direct_io"}.get(options.load_mode, options.load_mode)
        ),
        "flash_attn_type": _member(
            library.llama_flash_attn_type,
            "LLAMA_FLASH_ATTN_TYPE",
            {"on": "enabled", "off": "disabled"}.get(options.flash_attn, options.flash_attn),
        ),
    }.items():
        if value is not None:
            setattr(params, name, value)
    params.embedding = options.embedding or options.reranking
    if options.reranking:
        params.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    return params


def _member(kind: Any, prefix: str, name: str | None) -> Any:
    """The member of an enumeration of the library: `q8_0` is GGML_TYPE_Q8_0."""
    if name is None:
        return None
    return getattr(kind, f"{prefix}_{name.upper().replace('+', '_').replace('-', '_')}")


def listeners(port: int) -> Iterator[tuple[int, socket.socket]]:
    """This process's sockets that listen on the port, by their descriptors; the library doesn't hand them out."""
    ours: set[int] = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The list holds the number that it was itself read by, which is free again, and so one of our copies may have it.
            if int(entry.name) in ours or not str(entry.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
            ours.add(found.fileno())
            if (
                found.family in (socket.AF_INET, socket.AF_INET6)
                and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                and found.getsockname()[1] == port
            ):
                yield int(entry.name), found
            else:
                found.close()


def refuse_connections(port: int) -> None:
    """Stop listening without the server's noticing, which would cut every answer as soon as it did.

    A socket that nobody can reach is put under the descriptor that the server accepts from. The accept that waits still
    holds the former one: one connection more lets it go on.
    """
    for descriptor, former in list(listeners(port)):
        address = former.getsockname()[:2]
        former.close()
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind("")  # the kernel chooses an abstract name
            deaf.listen()
            put_under(deaf.fileno(), descriptor)
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=1).close()


def put_under(descriptor: int, other: int) -> None:
    """Make `other` the same as `descriptor`; Linux refuses for the moment in which another thread opens something."""
    for _ in range(200):
        try:
            os.dup2(descriptor, other)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
        else:
            return
    raise TimeoutError(f"descriptor {other} stayed busy")


def in_flight(metrics: str) -> int:
    """Requests that are worked on or wait for a slot, from the server's own metrics."""
    return sum(
        int(float(value))
        for value in re.findall(r"^llamacpp:requests_(?:processing|deferred) (\S+)$", metrics, re.MULTILINE)
    )


def drain(server: Any, port: int, seconds: float) -> int:
    """Take no more connections and wait for the answers in flight; the number of those that are cut."""
    refuse_connections(port)
    end = time.monotonic() + seconds
    quiet_since = None
    while True:
        count, now = in_flight(str(server.handle_metrics())), time.monotonic()
        if count:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = now
        if quiet_since is not None and now - quiet_since >= SETTLE_S:
            return 0
        if now >= end:
            return count
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    seconds = float(os.environ.get(DRAIN_VARIABLE, "0"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    import xllamacpp

    try:
        check(options)
        params = fill(xllamacpp.CommonParams(), options, xllamacpp)
        server = xllamacpp.Server(params)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"llama-server: error: {error}", file=sys.stderr, flush=True)
        return 1
    stop.wait()
    print(f"llama-server: stopping; answers in flight have {seconds:.0f} s", file=sys.stderr, flush=True)
    if seconds and (cut := drain(server, options.port, seconds)):
        print(f"llama-server: {cut} requests cut after {seconds:.0f} s", file=sys.stderr, flush=True)
    # Taken down in order, the server would wait for whoever it still answers.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
