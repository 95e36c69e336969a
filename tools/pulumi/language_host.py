"""A Pulumi language host for Python, for machines where the official `pulumi-language-python` can't be had.

Runs programs, policy packs and plugins for the engine, over the language protocol of the SDK's own stubs. It does not
generate code (`pulumi convert`, `pulumi package add`), attach debuggers or type-check: the official host does.

The host ends, and all it started with it, on SIGINT, SIGTERM and SIGHUP, and when its parent, the engine, has ended in
whatever way: a process that was killed sends no farewell, so its pid is watched.
"""

# ruff: noqa: N802, ARG002 -- the names and the signatures are the protocol's

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
import grpc.aio
from google.protobuf import empty_pb2  # type: ignore[import-untyped]

from tools.pulumi.children import Child, Children
from tools.pulumi.interpreter import (
    LIST_DISTRIBUTIONS,
    Interpreter,
    InterpreterError,
    Place,
    required_packages,
)
from tools.pulumi.protocol import language_pb2, language_pb2_grpc, plugin_pb2

if TYPE_CHECKING:
    from pulumi.runtime.proto.language_pb2_grpc import _ServicerContext

_BAILED = 32
"""The executor's exit code for `the error was shown already`."""

_PLUGIN_GRACE = 0.15
"""Seconds a plugin keeps after a Cancel, so that the answers to what it aborted reach the engine first."""

_CLOSING = 3.0
"""Seconds after which a host ends without its children having been seen to end; the engine kills it after 5."""

_ANSWERING = 0.1
"""Seconds for the answers to calls that end with what they ran."""

_PARENT_POLL = 0.25
"""Seconds between looks at the parent where the kernel can't tell of its end."""

_MAX_MESSAGE = 400 * 1024 * 1024
"""The engine's own limit."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """The service. One host serves all Python programs and plugins of one engine."""

    def __init__(self, executor: Path, engine: str, tracing: str = "") -> None:
        self._executor = executor
        self._engine = engine
        self._tracing = tracing
        self._programs = Children()
        self._plugins = Children()
        self._cancelled = False

    async def close(self) -> None:
        """Ends everything that runs; returns when it is gone."""
        self._cancelled = True
        await asyncio.gather(self._programs.end_all(), self._plugins.end_all())

    async def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: _ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Takes the engine's address."""
        self._engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    async def GetPluginInfo(self, request: empty_pb2.Empty, context: _ServicerContext) -> plugin_pb2.PluginInfo:
        """The version of the SDK whose stubs this host speaks."""
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi"))

    async def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: _ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """The providers that the installed SDK packages ask for."""
        interpreter = await _interpreter(_place(request.info), context)
        response = language_pb2.GetRequiredPackagesResponse()
        for package in required_packages(interpreter):
            dependency = response.packages.add(
                name=package.name, kind="resource", version=package.version, server=package.server
            )
            if package.parameterization:
                name, version, value = package.parameterization
                dependency.parameterization.name = name
                dependency.parameterization.version = version
                dependency.parameterization.value = value
        return response

    async def About(self, request: language_pb2.AboutRequest, context: _ServicerContext) -> language_pb2.AboutResponse:
        """Which Python a program would run with."""
        interpreter = await _interpreter(_place(request.info), context)
        version = await self._ask(interpreter, ["-c", "import platform; print(platform.python_version())"], context)
        return language_pb2.AboutResponse(
            executable=str(interpreter.python), version=version.strip(), metadata={"host": "slipway"}
        )

    async def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: _ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """The distributions a program can import."""
        interpreter = await _interpreter(_place(request.info), context)
        which = "all" if request.transitiveDependencies else "top"
        found = json.loads(await self._ask(interpreter, ["-c", LIST_DISTRIBUTIONS, which], context))
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=found[name]) for name in found]
        )

    async def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: _ServicerContext
    ) -> AsyncIterator[language_pb2.InstallDependenciesResponse]:
        """Makes the virtual environment if it is missing, and installs what the project's files ask for."""
        place = _place(request.info, is_plugin=request.is_plugin)
        try:
            steps = list(_installation(place))
        except InterpreterError as error:
            await _refuse(context, error)
        for command, env in steps:
            async for channel, chunk in self._stream(
                self._programs, command, str(place.program), {**os.environ, **env}, context
            ):
                if isinstance(chunk, int):
                    if chunk:
                        await _refuse(context, f"{place.root}: `{' '.join(command)}` failed with exit code {chunk}")
                elif channel == "stderr":
                    yield language_pb2.InstallDependenciesResponse(stderr=chunk)
                else:
                    yield language_pb2.InstallDependenciesResponse(stdout=chunk)

    async def Run(self, request: language_pb2.RunRequest, context: _ServicerContext) -> language_pb2.RunResponse:
        """Runs a program to its end. Its output goes where this host's goes: to the engine."""
        place = _place(request.info)
        if request.attach_debugger:
            return language_pb2.RunResponse(error="Slipway's own language host can't attach a debugger")
        try:
            interpreter = place.interpreter()
            child = await self._programs.start(
                [str(interpreter.python), "-u", str(self._executor), *self._arguments(request, place)],
                cwd=request.pwd or str(place.program),
                env={
                    **interpreter.environment(os.environ),
                    # The configuration holds secrets: the environment is its owner's to read, argv is everyone's.
                    "PULUMI_CONFIG": json.dumps(dict(request.config)),
                    "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
                },
                captured=False,
            )
        except (InterpreterError, OSError) as error:
            return language_pb2.RunResponse(error=str(error))
        try:
            code = await child.ended()
        finally:
            self._programs.end(child)
        if code == 0:
            return language_pb2.RunResponse()
        if code == _BAILED or self._cancelled:
            return language_pb2.RunResponse(bail=True)
        if code < 0:
            return language_pb2.RunResponse(error=f"Program was ended by signal {signal.Signals(-code).name}")
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}")

    async def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: _ServicerContext
    ) -> AsyncIterator[language_pb2.RunPluginResponse]:
        """Runs a plugin until it ends or the engine closes the stream."""
        place = _place(request.info, is_plugin=True)
        if request.attach_debugger:
            await _refuse(context, "Slipway's own language host can't attach a debugger")
        interpreter = await _interpreter(place, context)
        target = str(place.program / (request.info.entry_point or "."))
        # A policy pack is a program to the SDK's pack server; any other plugin serves the engine itself.
        arguments = ["-m", "pulumi.policy", *request.args, target]
        if request.kind != "analyzer":
            arguments = [target, *request.args]
        given = dict(entry.split("=", 1) for entry in request.env if "=" in entry)
        async for channel, chunk in self._stream(
            self._plugins,
            [str(interpreter.python), "-u", *arguments],
            request.pwd or str(place.program),
            interpreter.environment(given or os.environ),
            context,
        ):
            if isinstance(chunk, int):
                yield language_pb2.RunPluginResponse(exitcode=chunk)
            elif channel == "stderr":
                yield language_pb2.RunPluginResponse(stderr=chunk)
            else:
                yield language_pb2.RunPluginResponse(stdout=chunk)

    async def Cancel(self, request: empty_pb2.Empty, context: _ServicerContext) -> empty_pb2.Empty:
        """Ends programs at once. The engine has told the plugins first, and waited: they follow in a moment."""
        self._cancelled = True
        await self._programs.end_all()
        if self._plugins:
            await asyncio.sleep(_PLUGIN_GRACE)
            await self._plugins.end_all()
        return empty_pb2.Empty()

    def _arguments(self, request: language_pb2.RunRequest, place: Place) -> list[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": str(place.root),
            "stack": request.stack,
            "organization": request.organization,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
            "tracing": self._tracing,
        }
        arguments = [part for name, value in named.items() if value for part in (f"--{name}", value)]
        entry = request.info.entry_point or request.program or "."
        return [*arguments, str(place.program / entry), *request.args]

    async def _ask(self, interpreter: Interpreter, arguments: Sequence[str], context: _ServicerContext) -> str:
        said: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        async for channel, chunk in self._stream(
            self._programs,
            [str(interpreter.python), *arguments],
            "",
            interpreter.environment(os.environ),
            context,
        ):
            if not isinstance(chunk, int):
                said[channel] += chunk
            elif chunk:
                await _refuse(context, f"{interpreter.python} failed: {said['stderr'].decode(errors='replace')}")
        return said["stdout"].decode()

    async def _stream(
        self,
        children: Children,
        command: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        context: _ServicerContext,
    ) -> AsyncIterator[tuple[str, bytes | int]]:
        """What a command writes, and last its exit code; ends the command when the caller goes away."""
        try:
            child: Child = await children.start(command, cwd=cwd, env=env, captured=True)
        except OSError as error:
            await _refuse(context, f"{command[0]} could not be started: {error}")
        try:
            async with contextlib.aclosing(child.output()) as output:
                async for channel, chunk in output:
                    yield channel, chunk
            yield "", await child.ended()
        finally:
            children.end(child)


async def serve(host: LanguageHost) -> NoReturn:
    """Serves until a signal or the parent's end, and then ends everything, this process too."""
    parent = os.getppid()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
        ]
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    with _watching(parent, stopping.set):
        await stopping.wait()
    try:
        await asyncio.wait_for(host.close(), _CLOSING)
        # What ran has ended, and its calls are being answered. One that is not answered in time is left to the end of
        # the process: gRPC reports the cancelling of a call with a traceback, which the engine would show to the user.
        await asyncio.wait([asyncio.create_task(server.stop(grace=_CLOSING))], timeout=_ANSWERING)
    finally:
        # Whatever went wrong, the host must not stay: the launcher sees to it that its children don't either.
        sys.stdout.flush()
        os._exit(0)


@contextlib.contextmanager
def _watching(parent: int, ended: Callable[[], None]) -> Iterator[None]:
    """Calls `ended` when the parent has ended, however it did.

    PR_SET_PDEATHSIG would fire when the *thread* that started the host ends, and the engine's Go runtime ends threads as
    it likes; a pidfd is of the process.
    """
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):

        async def poll() -> None:
            while os.getppid() == parent:  # noqa: ASYNC110 -- nothing tells of it here
                await asyncio.sleep(_PARENT_POLL)
            ended()

        task = loop.create_task(poll())
        try:
            yield
        finally:
            task.cancel()
        return
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        ended()
        yield
        return
    # A pidfd is readable from the end of its process on.
    loop.add_reader(descriptor, ended)
    if os.getppid() != parent:
        ended()
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command that the engine starts: `pulumi-language-python [flags] ENGINE_ADDRESS`."""
    parser = argparse.ArgumentParser(prog="pulumi-language-python", description="Runs Python programs for Pulumi.")
    parser.add_argument("engine", nargs="?", default="", help="address of the engine")
    parser.add_argument("--executor", type=Path, required=True, help="pulumi-language-python-exec")
    parser.add_argument("--tracing", default="", help="endpoint for traces")
    # The engine adds flags of its own logging (--logtostderr, -v=9), which mean nothing here.
    options, _ = parser.parse_known_args(arguments)
    if not options.executor.is_file():
        sys.exit(f"{options.executor} is missing: run `python -m tools.pulumi.install` again")
    asyncio.run(serve(LanguageHost(options.executor, options.engine, options.tracing)))


def _place(info: language_pb2.ProgramInfo, *, is_plugin: bool = False) -> Place:
    return Place(
        root=Path(info.root_directory),
        program=Path(info.program_directory),
        options=dict(info.options.items()),
        is_plugin=is_plugin,
    )


async def _interpreter(place: Place, context: _ServicerContext) -> Interpreter:
    try:
        return place.interpreter()
    except InterpreterError as error:
        await _refuse(context, error)


async def _refuse(context: _ServicerContext, reason: object) -> NoReturn:
    # The stubs describe servers with and without asyncio as one; this one is with.
    aio = cast("grpc.aio.ServicerContext[Any, Any]", context)
    await aio.abort(grpc.StatusCode.FAILED_PRECONDITION, str(reason))


def _installation(place: Place) -> list[tuple[list[str], dict[str, str]]]:
    """The commands that install a project, each with what it adds to the environment."""
    virtualenv = place.virtualenv()
    if place.toolchain() == "uv":
        return [(["uv", "sync"], {"UV_PROJECT_ENVIRONMENT": str(virtualenv)})]
    if virtualenv is None and place.is_plugin:
        virtualenv = place.root / "venv"
    steps: list[tuple[list[str], dict[str, str]]] = []
    if virtualenv is None:
        python = place.interpreter().python
    else:
        python = virtualenv / "bin" / "python"
        if not python.exists():
            steps.append(([sys.executable, "-m", "venv", str(virtualenv)], {}))
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if (place.program / "requirements.txt").is_file():
        steps.append(([*pip, "-r", "requirements.txt"], {}))
    elif (place.program / "pyproject.toml").is_file():
        steps.append(([*pip, "-e", "."], {}))
    return steps


if __name__ == "__main__":
    main()
