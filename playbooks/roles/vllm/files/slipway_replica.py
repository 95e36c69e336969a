"""A plugin of vLLM: the machines of one replica end as soon as one of them is gone, so that all start anew together.

vLLM itself does not see to it (0.32.0, seen with two machines): a head of which another machine was killed goes on answering
200 to /health and fails the next request; a part of which the head has ended waits for it for ever, and never joins the new one.
So the head holds a connection to each of the others for as long as it lives. Where one ends, or is silent, as after a loss of
power, the process ends, and systemd starts it again.

Run as a program it is a part of a replica, of the CPU build, which `vllm serve --headless` can't start: that looks its own
distribution up under the name vllm. vLLM loads plugins in each of its processes; the entry point beside this file names it.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

BEAT_S = 5.0
"""Between two signs of life."""
SILENCE_S = 30.0
"""After which a machine is taken for gone."""
AGAIN_S = 1.0
"""Between two looks for a machine that is not there yet."""
SIGN = b"."
WATCHER = "SLIPWAY_REPLICA_WATCHER"
"""In the environment of a process that watches, and so of all that it starts: which process that is."""


def register() -> None:
    """What vLLM calls, in each of its processes: the first of them keeps watch.

    Not all others are children by multiprocessing: vLLM looks at a model's architecture in a program of its own.
    """
    if "SLIPWAY_REPLICA_PARTS" not in os.environ and "SLIPWAY_REPLICA_HEAD" not in os.environ:
        return
    if multiprocessing.parent_process() is None:
        if WATCHER not in os.environ:
            os.environ[WATCHER] = str(os.getpid())
            watch()
    elif multiprocessing.current_process().name.startswith("VllmWorker"):
        receive_unprepared()


def watch() -> None:
    """Starts what holds the connections: from the head to all others, or of another one from the head."""
    own = os.environ["VLLM_HOST_IP"]
    for part in os.environ.get("SLIPWAY_REPLICA_PARTS", "").split():
        address, _, port = part.rpartition(":")
        start(follow, own, address, int(port))
    if head := os.environ.get("SLIPWAY_REPLICA_HEAD"):
        start(attend, listen(own, int(os.environ["SLIPWAY_REPLICA_PORT"])), head)


def start(run: Callable[..., None], *arguments: Any) -> None:
    """In a thread that ends with the process."""
    threading.Thread(target=run, args=arguments, name="slipway-replica", daemon=True).start()


def listen(address: str, port: int) -> socket.socket:
    """Where the head finds this machine."""
    return socket.create_server((address, port))


def follow(own: str, address: str, port: int) -> None:
    """The head's side: seeks a machine until it is there, and ends with it."""
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=BEAT_S, source_address=(own, 0))
            connection.sendall(SIGN)
        except OSError:
            time.sleep(AGAIN_S)
            continue
        say(f"{address} is there")
        hold(connection)
        leave(f"{address}, a machine of this replica, is gone")


def attend(listener: socket.socket, head: str) -> None:
    """The other side: waits for the head, and ends with it, or where it has begun anew."""
    held = False
    while True:
        connection, (caller, *_) = listener.accept()
        # Somebody on the head's machine may only look which ports are open.
        if caller != head or not greets(connection):
            connection.close()
        elif held:
            leave(f"{head}, the head of this replica, has begun anew")
        else:
            held = True
            say(f"{head}, the head, is there")
            start(until_gone, connection, head)


def greets(connection: socket.socket) -> bool:
    """Whether the caller says at once that it is there."""
    connection.settimeout(SILENCE_S)
    try:
        return connection.recv(1) == SIGN
    except OSError:
        return False


def until_gone(connection: socket.socket, head: str) -> None:
    """Ends with the head."""
    hold(connection)
    leave(f"{head}, the head of this replica, is gone")


def hold(connection: socket.socket) -> None:
    """Returns once the other side has ended, or has been silent for too long."""
    heard = told = time.monotonic()
    with connection:
        try:
            while time.monotonic() - heard < SILENCE_S:
                if time.monotonic() - told >= BEAT_S:
                    connection.sendall(SIGN)
                    told = time.monotonic()
                connection.settimeout(max(0.01, told + BEAT_S - time.monotonic()))
                try:
                    if not connection.recv(1024):
                        return
                except TimeoutError:
                    continue
                heard = time.monotonic()
        except OSError:
            return


def say(what: str) -> None:
    """One line of the unit's log."""
    print(f"slipway: {what}", file=sys.stderr, flush=True)


def leave(why: str) -> None:
    """Ends the process at once: nothing of it is of use any more, and its own end would wait for what can't come."""
    print(f"ReplicaError: {why}; all machines of it start anew", file=sys.stderr, flush=True)
    os._exit(1)


def receive_unprepared() -> None:
    """On the CPU, lets a later stage of a pipeline receive without a warm-up.

    Its buffers are made by the warm-up, which vLLM 0.32.0 leaves out where nothing is compiled (CPUModelRunner.warming_up_model):
    ``assert self.intermediate_tensors is not None`` ended the first request.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        from vllm.v1.worker.gpu_model_runner import GPUModelRunner

        GPUModelRunner.sync_and_gather_intermediate_tensors = with_buffers(
            GPUModelRunner.sync_and_gather_intermediate_tensors
        )


def with_buffers(gather: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the buffers where there are none, as the warm-up would."""

    @functools.wraps(gather)
    def run(self: Any, *rest: Any, **more: Any) -> Any:
        if self.intermediate_tensors is None:
            self.intermediate_tensors = self.model.make_empty_intermediate_tensors(
                batch_size=self.max_num_tokens, dtype=self.model_config.dtype, device=self.device
            )
        return gather(self, *rest, **more)

    return run


def main() -> None:
    """A headless part, as `vllm serve --headless` of vLLM 0.32.0 runs it."""
    from vllm.entrypoints.cli.serve import run_headless
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args()
    arguments.api_server_count = 0
    validate_parsed_serve_args(arguments)
    run_headless(arguments)


if __name__ == "__main__":
    main()
