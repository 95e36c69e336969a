"""The server of the analyzer protocol (pulumi/proto/analyzer.proto), which the engine asks while it plans and deploys.

The SDK's own `pulumi_policy.PolicyPack` is not used: it hands rules neither what is secret nor the stack's name and
configuration, it reports one unknown value at most for each rule, and it takes every resource apart once for each rule,
which for these rules and 500 resources takes minutes (bench/policies.py measures ours).
"""

# ruff: noqa: N802, ARG002 -- the names and the signatures are the protocol's

from __future__ import annotations

import json
import signal
import sys
import threading
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from policies.configuration import (
    ALL,
    EXCEPTIONS,
    EXCEPTIONS_SCHEMA,
    LEVEL,
    Configuration,
    ConfigurationError,
    parse_configuration,
    read_document,
)
from policies.judge import Judgement, judge_relations, judge_resource
from policies.node import Node, Secret
from policies.pack import wire
from policies.registry import rules
from policies.resources import Resource, Stack
from policies.rule import Level, Rule, Scope, Severity
from slipway import __version__
from slipway.errors import UserMistake

if TYPE_CHECKING:
    from pulumi.runtime.proto.analyzer_pb2_grpc import _ServicerContext

NAME = "slipway"

_LEVELS = {
    Level.ADVISORY: analyzer_pb2.ADVISORY,
    Level.MANDATORY: analyzer_pb2.MANDATORY,
    Level.DISABLED: analyzer_pb2.DISABLED,
    Level.REMEDIATE: analyzer_pb2.REMEDIATE,
}
_SEVERITIES = {
    Severity.LOW: analyzer_pb2.POLICY_SEVERITY_LOW,
    Severity.MEDIUM: analyzer_pb2.POLICY_SEVERITY_MEDIUM,
    Severity.HIGH: analyzer_pb2.POLICY_SEVERITY_HIGH,
    Severity.CRITICAL: analyzer_pb2.POLICY_SEVERITY_CRITICAL,
}
_URN_PARTS = 4
_MAX_MESSAGE = 400 * 1024 * 1024
"""The engine's own limit."""


class Pack(analyzer_pb2_grpc.AnalyzerServicer):
    """The service. The engine asks one pack in one process for one command."""

    def __init__(self, project: Path) -> None:
        """Judge for the project whose folder is `project`; its `policies/config/STACK.json` is heeded."""
        self._project = project
        self._stack = Stack()
        self._configuration = Configuration()
        self._configured = False
        self._source = "policy configuration"
        self._seen: dict[str, Resource] = {}
        """Inputs by URN: at its end the engine hands out what providers answered, and no inputs."""
        self._seen_lock = threading.Lock()

    def Handshake(
        self, request: analyzer_pb2.AnalyzerHandshakeRequest, context: _ServicerContext
    ) -> analyzer_pb2.AnalyzerHandshakeResponse:
        """Nothing to agree on."""
        return analyzer_pb2.AnalyzerHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: _ServicerContext) -> plugin_pb2.PluginInfo:
        """The pack's version."""
        return plugin_pb2.PluginInfo(version=__version__)

    def ConfigureStack(
        self, request: analyzer_pb2.AnalyzerStackConfigureRequest, context: _ServicerContext
    ) -> analyzer_pb2.AnalyzerStackConfigureResponse:
        """Which stack is judged; what is encrypted in its configuration stays secret."""
        self._configured = True
        secret = set(request.config_secret_keys)
        config = {key: _setting(text, secret=key in secret) for key, text in request.config.items()}
        self._stack = Stack(
            name=request.stack,
            project=request.project,
            config=Node(config),
            tags=dict(request.tags),
            preview=request.dry_run,
        )
        return analyzer_pb2.AnalyzerStackConfigureResponse()

    def GetAnalyzerInfo(self, request: empty_pb2.Empty, context: _ServicerContext) -> analyzer_pb2.AnalyzerInfo:
        """The rules, and what the stack's own file asks of them; `--policy-pack-config` goes on top of that."""
        info = analyzer_pb2.AnalyzerInfo(
            name=NAME, displayName="Slipway", version=__version__, supportsConfig=True, policies=map(_info, rules())
        )
        if not self._configured:
            return info  # for `pulumi policy`, where no stack is deployed
        try:
            document = read_document(self._stack.name, self._project)
            parse_configuration(document, f"policies/config/{self._stack.name}.json")
        except ConfigurationError as error:
            _refuse(context, error)
        # The protocol has no word for `as it would be without this entry`.
        entries = {name: {LEVEL: value} if isinstance(value, str) else dict(value) for name, value in document.items()}
        everywhere = entries.get(ALL, {}).get(LEVEL)
        otherwise = {rule.id: everywhere or rule.level for rule in rules()}
        for name, entry in entries.items():
            level = entry.pop(LEVEL, None) or otherwise[name]
            info.initialConfig[name].enforcementLevel = _LEVELS[Level(level)]
            info.initialConfig[name].properties.update(entry)
        return info

    def Configure(self, request: analyzer_pb2.ConfigureAnalyzerRequest, context: _ServicerContext) -> empty_pb2.Empty:
        """Levels, parameters and exceptions as the engine has put them together."""
        by_number = {number: level for level, number in _LEVELS.items()}
        document = {
            name: {LEVEL: str(by_number[entry.enforcementLevel]), **wire.properties(entry.properties)}
            for name, entry in request.policyConfig.items()
            if name != ALL  # the engine has put it into every rule's level
        }
        try:
            self._configuration = parse_configuration(document, self._source)
        except ConfigurationError as error:
            _refuse(context, error)
        return empty_pb2.Empty()

    def Remediate(
        self, request: analyzer_pb2.AnalyzeRequest, context: _ServicerContext
    ) -> analyzer_pb2.RemediateResponse:
        """The resource mended by those rules that can and whose level asks for it, one after the other."""
        response = analyzer_pb2.RemediateResponse()
        mending = [rule for rule in rules() if self._configuration.level(rule) is Level.REMEDIATE and rule.remediate]
        for rule in mending:
            resource = wire.resource(request)
            judged = judge_resource(resource, self._stack, self._configuration)
            if rule.remediate is None or not any(found.rule is rule for found in judged.violations):
                continue
            try:
                changes = list(rule.remediate(resource, self._configuration.parameters(rule)))
            except Exception as error:  # noqa: BLE001 -- the violation is told all the same, and is mandatory then
                diagnostic = f"{rule.id} could not mend it ({type(error).__name__})"
                response.remediations.add(policyName=rule.id, policyPackName=NAME, diagnostic=diagnostic)
                continue
            mended = wire.changed(request.properties, changes)
            if mended == request.properties:
                continue  # it knows no mend here; the violation is told as any other
            request.properties.CopyFrom(mended)
            response.remediations.add(
                policyName=rule.id,
                policyPackName=NAME,
                policyPackVersion=__version__,
                description=f"{rule.title}.",
                properties=request.properties,
            )
        return response

    def Analyze(self, request: analyzer_pb2.AnalyzeRequest, context: _ServicerContext) -> analyzer_pb2.AnalyzeResponse:
        """One resource, before it is created or changed."""
        resource = wire.resource(request)
        with self._seen_lock:
            self._seen[resource.urn] = resource
        return self._response(judge_resource(resource, self._of(resource.urn), self._configuration))

    def AnalyzeStack(
        self, request: analyzer_pb2.AnalyzeStackRequest, context: _ServicerContext
    ) -> analyzer_pb2.AnalyzeResponse:
        """All resources, once all of them are known."""
        resources = tuple(self._whole(message) for message in request.resources)
        stack = self._of(resources[0].urn) if resources else self._stack
        return self._response(judge_relations(replace(stack, resources=resources), self._configuration))

    def Cancel(self, request: empty_pb2.Empty, context: _ServicerContext) -> empty_pb2.Empty:
        """No rule runs long enough to be cancelled."""
        return empty_pb2.Empty()

    def _of(self, urn: str) -> Stack:
        """The stack; `pulumi policy analyze` does not say which, but every URN does."""
        parts = urn.split("::")
        if self._configured or len(parts) < _URN_PARTS:
            return self._stack
        return replace(self._stack, name=parts[0].rpartition(":")[2], project=parts[1])

    def _whole(self, message: analyzer_pb2.AnalyzerResource) -> Resource:
        outputs = Node(wire.properties(message.properties))
        seen = self._seen.get(message.urn)
        return Resource(
            type=message.type,
            name=message.name,
            urn=message.urn,
            # A resource that was not registered in this run is judged by what its provider said last.
            inputs=outputs if seen is None else seen.inputs,
            outputs=outputs,
            options=wire.options(message.options),
            provider=wire.provider(message),
            dependencies={name: tuple(found.urns) for name, found in message.propertyDependencies.items()},
        )

    def _response(self, judgement: Judgement) -> analyzer_pb2.AnalyzeResponse:
        response = analyzer_pb2.AnalyzeResponse()
        for found in judgement.violations:
            self._diagnostic(response, found.rule, found.resource, found.line, found.level)
        for unknown in judgement.open:
            self._diagnostic(response, unknown.rule, unknown.resource, unknown.line, Level.ADVISORY)
        for found in judgement.excepted:
            exception = found.exception
            assert exception is not None  # noqa: S101 -- what makes it excepted
            line = f"excepted until {exception.expires} by {exception.owner}: {exception.reason}\n{found.line}"
            # As advice: the engine shows no other word that does not refuse.
            self._diagnostic(response, found.rule, found.resource, line, Level.ADVISORY)
        return response

    def _diagnostic(
        self, response: analyzer_pb2.AnalyzeResponse, rule: Rule, resource: Resource, line: str, level: Level
    ) -> None:
        response.diagnostics.add(
            policyName=rule.id,
            policyPackName=NAME,
            policyPackVersion=__version__,
            description=f"{rule.title}.",
            message=f"{rule.title}.\n{line}\nsource: {rule.source}",
            enforcementLevel=_LEVELS[Level.MANDATORY if level is Level.REMEDIATE else level],
            urn=resource.urn,
            severity=_SEVERITIES[rule.severity],
        )


def _setting(text: str, *, secret: bool) -> Any:
    """A value of the stack's configuration, which the engine hands over as text, JSON for what is more than that."""
    value: Any = text
    if text[:1] in {"{", "["}:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
    return Secret(value) if secret else value


def _info(rule: Rule) -> analyzer_pb2.PolicyInfo:
    info = analyzer_pb2.PolicyInfo(
        name=rule.id,
        displayName=rule.title,
        description=f"{rule.title}.",
        enforcementLevel=_LEVELS[rule.level],
        severity=_SEVERITIES[rule.severity],
        policy_type=(
            analyzer_pb2.POLICY_TYPE_RESOURCE if rule.scope is Scope.RESOURCE else analyzer_pb2.POLICY_TYPE_STACK
        ),
        tags=[str(rule.group)],
        remediation_steps=rule.mend,
        url=rule.url,
    )
    info.configSchema.properties.update({**rule.parameters, EXCEPTIONS: EXCEPTIONS_SCHEMA})
    info.framework.reference = rule.source
    return info


def _refuse(context: _ServicerContext, error: UserMistake) -> NoReturn:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.report)
    raise AssertionError  # abort does not return


def project_folder(program: Path) -> Path:
    """The folder of the project whose program is in `program`, where the engine starts packs; `main` may name one below."""
    for folder in (program, *program.parents):
        if any((folder / f"Pulumi.{ending}").is_file() for ending in ("yaml", "yml", "json")):
            return folder
    return program


def main() -> None:
    """Serve until the engine ends us; the first line on stdout is the port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=2),
        options=[("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)],
    )
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Pack(project_folder(Path.cwd())), server)
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    rules()  # while the engine connects
    print(port, flush=True)
    ended.wait()
    server.stop(grace=None)
    sys.exit(0)
