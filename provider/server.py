"""The plugin's process: serves the engine, and ends with everything it started when the engine does.

The experimental layer's own server says too little in three places, which are filled in here: errors for a person come as they
are and not as tracebacks, a failed run keeps its resource in the state (`ErrorResourceInitFailed`), and the process ends at
once: on Cancel, on SIGINT and SIGTERM, and when the engine or the language host is gone without a farewell.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import Message  # type: ignore[import-untyped]
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from provider import paths
from provider.looker import Looker
from provider.plugin import PlaybookProvider, Refused, Severity, Unfinished
from provider.records import Records
from provider.runner import Runner

VERSION = "0.1.0"

_GRACE = 0.1
"""Seconds for answers that are under way when the plugin is told to end."""

_SEVERITIES = {
    "debug": engine_pb2.DEBUG,
    "info": engine_pb2.INFO,
    "warning": engine_pb2.WARNING,
    "error": engine_pb2.ERROR,
}


class Servicer(ProviderServicer):
    """The experimental layer's servicer, with errors that a person can read."""

    # ruff: noqa: N802 -- the methods are named by the protocol

    async def Check(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.check`."""
        return await _answer(super().Check(request, context), context)

    async def Diff(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.diff`."""
        return await _answer(super().Diff(request, context), context)

    async def Create(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.create`."""
        return await _answer(super().Create(request, context), context)  # type: ignore[no-untyped-call]

    async def Update(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.update`."""
        return await _answer(super().Update(request, context), context)  # type: ignore[no-untyped-call]

    async def Read(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.read`."""
        return await _answer(super().Read(request, context), context)  # type: ignore[no-untyped-call]

    async def Delete(self, request: Any, context: Any) -> Any:
        """See `PlaybookProvider.delete`."""
        return await _answer(super().Delete(request, context), context)  # type: ignore[no-untyped-call]


async def _answer(work: Awaitable[Any], context: Any) -> Any:
    try:
        return await work
    except Refused as error:
        # An unknown error would leave an operation pending in the state; this one is understood.
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    except Unfinished as error:
        await _abort_with(
            context,
            error.reason,
            provider_pb2.ErrorResourceInitFailed(
                id=error.resource_id,
                properties=PropertyValue.marshal_map(error.properties),
                inputs=PropertyValue.marshal_map(error.given),
                reasons=[error.reason],
            ),
        )


async def _abort_with(context: Any, message: str, detail: Message) -> NoReturn:
    status = status_pb2.Status(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], message=message)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
    raise AssertionError("unreachable")


class _Engine:
    """The engine: takes messages, and is watched for its end."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_GRPC_CHANNEL_OPTIONS)
        self._stub = engine_pb2_grpc.EngineStub(self._channel)

    async def tell(self, severity: Severity, message: str, urn: str, *, ephemeral: bool = False) -> None:
        request = engine_pb2.LogRequest(severity=_SEVERITIES[severity], message=message, urn=urn, ephemeral=ephemeral)
        with contextlib.suppress(grpc.RpcError):  # an engine that is ending: what counts is the result
            await self._stub.Log(request)

    async def gone(self) -> None:
        """Returns when the engine's process has ended."""
        state = self._channel.get_state(try_to_connect=True)
        while state not in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
            await self._channel.wait_for_state_change(state)
            # A connection that was lost becomes idle: only trying again shows whether anyone is there.
            state = self._channel.get_state(try_to_connect=True)


async def _parent_gone() -> None:
    """Returns when the language host has ended; never where the kernel can't tell."""
    ended = asyncio.Event()
    if not hasattr(os, "pidfd_open"):
        await ended.wait()
    parent = os.getppid()
    try:
        descriptor = os.pidfd_open(parent)
    except OSError:
        if os.getppid() == parent and parent != 1:
            await ended.wait()
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        if os.getppid() == parent:
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def serve(engine_address: str) -> None:
    """Serves until there is nobody left to serve."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    runner = Runner()
    engine = _Engine(engine_address)
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    servicer = Servicer([], VERSION, PlaybookProvider(runner, Records(Looker(runner)), engine.tell), engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ends = [asyncio.create_task(end) for end in (_wait(stopping), engine.gone(), _parent_gone())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    runner.cancel()
    await server.stop(_GRACE)
    for end in ends:
        end.cancel()
    runner.close()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def main(arguments: list[str]) -> None:
    """The command that the language host starts."""
    parser = argparse.ArgumentParser(prog="playbook", description="Pulumi provider plugin for Ansible roles.")
    parser.add_argument("engine", help="address of the Pulumi engine, which starts this plugin by itself")
    # The engine adds flags of its own logging, which mean nothing here.
    options, _ = parser.parse_known_args(arguments)
    paths.sweep()
    asyncio.run(serve(options.engine))
