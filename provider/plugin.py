"""The resource `playbook:index:Playbook`: what the engine asks, answered by runs of a role.

Runs Ansible only when the host may have to change: a preview never does, nor does an `up` without changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from pulumi.provider.experimental import provider as base
from pulumi.provider.experimental.property_value import PropertyValue

from provider import digest, inputs, quorum
from provider.changes import compare, same_machine
from provider.fleet import AWAY, Fleet
from provider.records import Look, Records
from provider.redaction import Scrubber
from provider.rolling import Rolling, Stopped
from provider.run import Mode, Outcome, Progress, Request, Task
from provider.runner import Runner
from provider.values import COMPUTED, Properties, fields, has_unknown, is_unknown, plain, secrets, wrap

TYPE = "playbook:index:Playbook"

Severity = Literal["debug", "info", "warning", "error"]


class Tell(Protocol):
    """Shows a message about a resource; an ephemeral one is of the moment only."""

    def __call__(self, severity: Severity, message: str, urn: str, *, ephemeral: bool = False) -> Awaitable[None]:
        """Returns when the engine has it."""


UNDER_WAY = "{host}: {instance}: {task}"
CHANGED = "changed: {task}{where} ({seconds:.1f} s)"
DRIFTED = "{label}: layer {instance} has drifted: task '{task}'{where}"
DRIFT = "{instance}: {task}{where}"
DRIFT_FAILS = "{instance}: {task} (can't be checked: {reason})"
NOT_CHECKED_FILES = (
    "{label}: layer {instance} was not checked for drift: the role's files have changed since it was applied, "
    "and the next `pulumi up` applies all of it anyway."
)
NOT_CHECKED_INCOMPLETE = (
    "{label}: layer {instance} was not checked for drift: its last run did not finish, "
    "and the next `pulumi up` applies all of it again."
)
NOT_REMOVED = (
    "{label}: layer {instance} was applied by this very command, as this resource or another one, "
    "so nothing is removed from the host."
)
NOT_REMOVED_RENAMED = (
    "{label}: layer {instance} was applied since to the same machine under the name {owner}, "
    "so nothing is removed from the host."
)
NOT_CHANGED_ROLLING = (
    "{label}: layer {instance} was left as it is: {first}, of the same group ({group}), failed, and the others go on serving. "
    "Mend what it says and repeat, or take the change back and repeat."
)
NOT_CHECKED_MISSING = (
    "{label}: layer {instance} was not checked for drift: the host was missing when it was last to be applied, "
    "and the next `pulumi up` applies it."
)
NO_IMPORT = (
    "A Playbook can't be imported: its state is what was applied, not what a host shows. "
    "Declare it and run `pulumi up`: applying a role to a host that is configured already changes nothing there."
)
ROLE_GONE = (
    "{label}: layer {instance}: {folder} doesn't exist, so nothing can be {done}. Bring the role's files back; "
    "or, if the host is gone too, forget the resource: pulumi state delete '{urn}'"
)
HOST_GONE = " If the machine no longer exists, forget the resource: pulumi state delete '{urn}'"

INCOMPLETE = ""
"""The digest in the state of a role whose last run did not finish: equal to that of no role."""

NOT_RECORDED = "a refresh will check layer {instance} with Ansible: {reason}."
NOT_FORGOTTEN = (
    "{label}: layer {instance} is removed, but not the record of it in {folder}: {reason}. Remove it by hand."
)
LOOKS_OTHERWISE = "layer {instance} looks otherwise than recorded ({first}); Ansible checks it."

DEEP = "SLIPWAY_DEEP"
"""The environment's wish that every refresh runs the roles in check mode."""

LOOK_ONLY = "SLIPWAY_LOOK_ONLY"
"""The environment's wish that only drift counts: hosts that are missing, or were, are no change."""

_COMPUTED = ("digest", "drift", "results", "changed", "generation", "managed", "missing")


class Refused(Exception):  # noqa: N818 -- not an error of the plugin
    """The engine's request can't be done; the text is for a person."""


class Unfinished(Exception):  # noqa: N818 -- not an error of the plugin
    """A run failed after it may have changed the host: the engine keeps the resource, so that it can be mended or removed."""

    def __init__(self, reason: str, resource_id: str, properties: Properties, given: Properties) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resource_id = resource_id
        self.properties = properties
        self.given = given


class PlaybookProvider(base.Provider):
    """The plugin's one provider."""

    def __init__(self, runner: Runner, records: Records, tell: Tell) -> None:
        """Takes what runs roles, what asks hosts, and what shows messages."""
        self._runner = runner
        self._records = records
        self._tell = tell
        self._applied: set[tuple[str, int, str]] = set()
        self._rolling = Rolling()
        self._fleet = Fleet(records, tell)

    async def get_schema(self, request: base.GetSchemaRequest) -> base.GetSchemaResponse:  # noqa: ARG002
        """Names the plugin; programs use `provider.resource`, not a generated package."""
        return base.GetSchemaResponse(json.dumps({"name": "playbook", "version": "0.1.0"}))

    async def configure(self, request: base.ConfigureRequest) -> base.ConfigureResponse:  # noqa: ARG002
        """Asks for secrets as such and for plain values otherwise."""
        return base.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check(self, request: base.CheckRequest) -> base.CheckResponse:
        """Validates inputs and adds the digest of the role's files."""
        if _is_quorum(request.urn):
            return quorum.check(request)
        _expect(request.type)
        # An engine that works without the program hands the last checked inputs in again.
        given = {key: value for key, value in _without_nulls(request.new_inputs).items() if key not in _COMPUTED}
        found = inputs.problems(given)
        if found:
            return base.CheckResponse(failures=[base.CheckFailure(each.path, each.reason) for each in found])
        unknown = any(is_unknown(given.get(key)) for key in ("role", "playbooks"))
        return base.CheckResponse(inputs={**given, "digest": COMPUTED if unknown else self._digest(given)})

    async def diff(self, request: base.DiffRequest) -> base.DiffResponse:
        """Compares inputs with the state; drift found by a refresh is a change too."""
        if _is_quorum(request.urn):
            return quorum.diff(request)
        self._fleet.know(request.old_state)
        change = compare(request.old_state, request.new_inputs, request.ignore_changes)
        if _wished(LOOK_ONLY):
            if plain(request.old_state.get("missing")):
                return base.DiffResponse(changes=False, replaces=[])
        elif not change.details and await self._is_silent(request.new_inputs):
            change.add("missing", request.old_state.get("missing"), COMPUTED)
        return base.DiffResponse(
            changes=bool(change.details),
            replaces=change.replaces,
            # Removing the old name's layer from the very machine that the new name has just configured would undo it.
            delete_before_replace=bool(change.replaces) and same_machine(request.old_state, request.new_inputs),
            diffs=sorted({path.split(".")[0].split("[")[0] for path in change.details}),
            detailed_diff={
                path: base.PropertyDiff(kind, input_diff=path not in {"drift", "missing"})
                for path, kind in change.details.items()
            },
        )

    async def create(self, request: base.CreateRequest) -> base.CreateResponse:
        """Applies the role."""
        given = request.properties
        if _is_quorum(request.urn):
            return base.CreateResponse(
                None if request.preview else str(plain(given["group"])), self._counted(given, preview=request.preview)
            )
        if request.preview:
            return base.CreateResponse(
                None,
                {
                    **given,
                    "drift": wrap([]),
                    **dict.fromkeys(("results", "changed", "managed"), COMPUTED),
                    "generation": wrap(0),
                    "missing": wrap(""),
                },
            )
        parsed = inputs.parse(given, cwd=Path.cwd())
        resource_id = f"{parsed.host.name}/{parsed.instance}"
        properties = await self._apply(request.urn, resource_id, given, {}, request.timeout)
        return base.CreateResponse(resource_id, properties)

    async def update(self, request: base.UpdateRequest) -> base.UpdateResponse:
        """Applies the role again, unless only the state has to learn something."""
        if _is_quorum(request.urn):
            return base.UpdateResponse(self._counted(request.news, preview=request.preview))
        change = compare(request.olds, request.news, list(request.ignore_changes))
        old = {key: request.olds[key] for key in _COMPUTED if key in request.olds}
        silent = self._fleet.is_silent(plain(fields(request.news.get("host")).get("name")))
        if not change.runs and not silent:
            return base.UpdateResponse({**old, **request.news})
        if request.preview:
            unknown = dict.fromkeys(("results", "changed", "generation", "managed"), COMPUTED)
            # What depends on who is missing, such as the front's routes, is shown as a change too.
            missing = COMPUTED if silent else wrap("")
            return base.UpdateResponse({**request.news, "drift": wrap([]), **unknown, "missing": missing})
        parsed = inputs.parse(request.news, cwd=Path.cwd())
        try:
            async with self._rolling.turn(parsed.rolling, request.resource_id):
                return base.UpdateResponse(
                    await self._apply(request.urn, request.resource_id, request.news, request.olds, request.timeout)
                )
        except Stopped as first:
            words = {"label": parsed.host.label, "instance": parsed.instance}
            raise Refused(NOT_CHANGED_ROLLING.format(**words, first=first, group=parsed.rolling)) from None

    async def read(self, request: base.ReadRequest) -> base.ReadResponse:
        """Looks for drift: where the host doesn't look as recorded, keeps what the role would change in check mode."""
        state = request.properties
        if _is_quorum(request.urn):
            return base.ReadResponse(request.resource_id, state, request.inputs)
        if "host" not in state:
            raise Refused(NO_IMPORT)
        parsed = inputs.parse(state, cwd=Path.cwd())
        words = {"label": parsed.host.label, "instance": parsed.instance}
        same = base.ReadResponse(request.resource_id, state, request.inputs)
        if plain(state.get("digest")) == INCOMPLETE:
            why = NOT_CHECKED_MISSING if plain(state.get("missing")) else NOT_CHECKED_INCOMPLETE
            await self._tell("info", why.format(**words), request.urn)
            return same
        self._expect_role(parsed, request.urn, "checked")
        if plain(self._digest(state)) != plain(state.get("digest")):
            await self._tell("info", NOT_CHECKED_FILES.format(**words), request.urn)
            return same
        look = await self._look(parsed, state)
        if look.failure:
            if await self._fleet.passes_over(parsed, look.failure, request.urn):
                return same
            raise Refused(look.failure.message)
        if look.as_recorded:
            return base.ReadResponse(request.resource_id, {**state, "drift": wrap([])}, request.inputs)
        return await self._check(request, parsed, look)

    async def _check(self, request: base.ReadRequest, parsed: inputs.Inputs, look: Look) -> base.ReadResponse:
        """Runs the role in check mode."""
        state = request.properties
        if look.differing:
            said = LOOKS_OTHERWISE.format(instance=parsed.instance, first=", ".join(look.differing))
            await self._tell("debug", said, request.urn)
        outcome = await self._run("check", request.urn, parsed, state)
        if outcome.failure and outcome.failure.kind != "task":
            if await self._fleet.passes_over(parsed, outcome.failure, request.urn):
                return base.ReadResponse(request.resource_id, state, request.inputs)
            raise Refused(outcome.failure.message)
        drift = [_drift(parsed.instance, task) for task in outcome.tasks]
        for task in outcome.tasks:
            words = {"label": parsed.host.label, "instance": parsed.instance}
            message = DRIFTED.format(**words, task=task.name, where=_where(task))
            await self._tell("warning", "\n  ".join([message, *task.detail.splitlines()]), request.urn)
        if look.as_recorded is False and not outcome.tasks and outcome.failure is None:
            # What differs is of no interest to the role, an upgraded package for instance: the next look knows.
            await self._records.renew(parsed, str(plain(state["digest"])))
        return base.ReadResponse(request.resource_id, {**state, "drift": wrap(drift)}, request.inputs)

    async def delete(self, request: base.DeleteRequest) -> None:
        """Runs the role's removal."""
        if _is_quorum(request.urn):
            return
        if plain(request.properties.get("missing")) and plain(request.properties.get("changed")) is None:
            return  # the host was missing since before anything was applied
        parsed = inputs.parse(request.properties, cwd=Path.cwd())
        words = {"label": parsed.host.label, "instance": parsed.instance}
        if _machine(parsed) in self._applied:
            await self._tell("warning", NOT_REMOVED.format(**words), request.urn)
            return
        owner = await self._records.owner(parsed) if plain(request.properties.get("managed")) else ""
        if owner not in {"", parsed.host.name}:
            await self._tell("warning", NOT_REMOVED_RENAMED.format(**words, owner=owner), request.urn)
            return
        self._expect_role(parsed, request.urn, "removed")
        outcome = await self._run("remove", request.urn, parsed, request.properties, request.timeout)
        if outcome.failure:
            gone = HOST_GONE.format(urn=request.urn) if outcome.failure.kind in AWAY else ""
            raise Refused(outcome.failure.message + gone)
        if plain(request.properties.get("managed")):
            await self._forget(parsed, request.urn)

    async def cancel(self) -> None:
        """Breaks off what runs; the requests under way answer that they were interrupted."""
        self._runner.cancel()

    async def _look(self, parsed: inputs.Inputs, state: Properties) -> Look:
        """Asks the host, unless that can't spare a run of the role, or there is nothing to ask it."""
        managed = plain(state.get("managed"))
        if managed is None or parsed.deep or _wished(DEEP):
            return Look()
        if managed == 0:
            return Look(as_recorded=True)
        return await self._records.look(parsed, str(plain(state["digest"])))

    async def _keep(
        self, parsed: inputs.Inputs, given: Properties, old: Properties, outcome: Outcome, urn: str
    ) -> int | None:
        """Has the host record what is managed; returns how many things that are, None if a refresh can't look at them."""
        earlier = inputs.parse(old, cwd=Path.cwd()) if plain(old.get("managed")) else None
        if earlier and (not outcome.managed or earlier.records != parsed.records):
            await self._forget(earlier, urn)
        reason = await self._records.keep(parsed, str(plain(given["digest"])), outcome)
        if reason:
            await self._tell("debug", NOT_RECORDED.format(instance=parsed.instance, reason=reason), urn)
        return None if reason or outcome.managed is None else len(outcome.managed)

    async def _forget(self, parsed: inputs.Inputs, urn: str) -> None:
        reason = await self._records.forget(parsed)
        if reason:
            words = {"label": parsed.host.label, "instance": parsed.instance, "folder": parsed.records}
            await self._tell("warning", NOT_FORGOTTEN.format(**words, reason=reason), urn)

    async def _apply(self, urn: str, resource_id: str, given: Properties, old: Properties, limit: float) -> Properties:
        parsed = inputs.parse(given, cwd=Path.cwd())
        self._expect_role(parsed, urn, "applied")
        away = self._fleet.away(parsed)
        if away is not None:
            return _left_out(given, old, away)
        outcome = await self._run("apply", urn, parsed, given, limit)
        results = wrap(outcome.results)
        if Scrubber(secrets(*given.values())).reveals(json.dumps(outcome.results, ensure_ascii=False)):
            results = results.with_secret(is_secret=True)
        properties = {
            **given,
            "drift": wrap([]),
            "results": results,
            "changed": wrap(outcome.changed),
            "generation": wrap(int(plain(old.get("generation")) or 0) + 1 if old else 0),
            "managed": wrap(plain(old.get("managed"))),
            "missing": wrap(""),
        }
        if outcome.failure is None and (twin := self._fleet.twin(parsed, outcome.results)):
            raise Refused(twin)
        if outcome.failure is None:
            properties["managed"] = wrap(await self._keep(parsed, given, old, outcome, urn))
            self._applied.add(_machine(parsed))
            return properties
        refusal = await self._fleet.missed(parsed, outcome.failure, urn)
        away = self._fleet.away(parsed)
        if not refusal and away is not None:
            left = _left_out(given, old, away)
            if outcome.touched and plain(left["changed"]) is None:
                # Something of a first apply is there, and a removal has to take it away.
                left["changed"] = wrap(outcome.changed)
            return left
        refusal = refusal or outcome.failure.message
        if not outcome.touched:
            raise Refused(refusal)
        properties["digest"] = wrap(INCOMPLETE)
        raise Unfinished(refusal, resource_id, properties, {**given, "digest": wrap(INCOMPLETE)})

    async def _is_silent(self, given: Properties) -> bool:
        """Whether a host that may be missing does not answer."""
        if any(has_unknown(given.get(key)) for key in ("host", "absence", "role", "playbooks")):
            return False
        return await self._fleet.silence(inputs.parse(given, cwd=Path.cwd()))

    @staticmethod
    def _counted(given: Properties, *, preview: bool) -> Properties:
        properties, refusal = quorum.decided(given, preview=preview)
        if refusal:
            raise Refused(refusal)
        return properties

    async def _run(
        self, mode: Mode, urn: str, parsed: inputs.Inputs, properties: Properties, limit: float = 0
    ) -> Outcome:
        request = self._request(mode, urn, parsed, properties, limit)
        if mode != "check":
            self._records.outdated(parsed.host)
        async with self._telling(request) as listener:
            return await self._runner.run(request, listener)

    @staticmethod
    def _request(mode: Mode, urn: str, parsed: inputs.Inputs, properties: Properties, limit: float = 0) -> Request:
        return Request(
            mode=mode,
            host=parsed.host,
            role=parsed.role,
            instance=parsed.instance,
            playbooks=str(parsed.playbooks),
            variables=parsed.removing if mode == "remove" else parsed.variables,
            secrets=tuple(secrets(*properties.values())),
            timeout=limit or parsed.timeout,
            urn=urn,
            run_id=0,
            scratch="",
            environment=parsed.environment,
        )

    @contextlib.asynccontextmanager
    async def _telling(self, request: Request) -> AsyncIterator[Callable[[Progress], None]]:
        """Shows progress in order, and all of it before the run's result."""
        queue: asyncio.Queue[Progress | None] = asyncio.Queue()

        async def tell() -> None:
            while (progress := await queue.get()) is not None:
                task = progress.ended
                if task is None:
                    text = UNDER_WAY.format(host=request.host.name, instance=request.instance, task=progress.task)
                    await self._tell("info", text, request.urn, ephemeral=True)
                elif task.result == "changed" and request.mode != "check":
                    text = CHANGED.format(task=task.name, where=_where(task), seconds=task.seconds)
                    await self._tell("info", text, request.urn)

        telling = asyncio.create_task(tell())
        try:
            yield queue.put_nowait
        finally:
            queue.put_nowait(None)
            await telling

    @staticmethod
    def _digest(given: Properties) -> PropertyValue:
        folder = inputs.playbooks_folder(given, cwd=Path.cwd())
        try:
            return wrap(digest.digest(folder, str(plain(given["role"]))))
        except OSError as error:
            raise Refused(f"{error.filename} can't be read: {error.strerror}. Mend its mode or its owner.") from error

    @staticmethod
    def _expect_role(parsed: inputs.Inputs, urn: str, done: str) -> None:
        folder = parsed.playbooks / "roles" / parsed.role
        if not folder.is_dir():
            raise Refused(
                ROLE_GONE.format(label=parsed.host.label, instance=parsed.instance, folder=folder, urn=urn, done=done)
            )


def _expect(token: str) -> None:
    # The type in a URN is preceded by the types of its parents: `my:index:Platform$playbook:index:Playbook`.
    if token.rsplit("$", 1)[-1] != TYPE:
        raise Refused(f"the plugin has no resource {token}; it has {TYPE}")


def _is_quorum(urn: str) -> bool:
    # `urn:pulumi:STACK::PROJECT::TYPE::NAME`, the type preceded by those of its parents.
    return urn.split("::")[2].rsplit("$", 1)[-1] == quorum.TYPE


def _wished(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "yes"}


def _left_out(given: Properties, old: Properties, reason: str) -> Properties:
    """The state of what was not applied since a host is missing: as with one that did not finish, the next `up` applies it."""
    return {
        **given,
        "digest": wrap(INCOMPLETE),
        "drift": wrap([]),
        "results": old.get("results") or wrap({}),
        # None where nothing was ever applied, so that there is nothing to be removed.
        "changed": wrap(plain(old.get("changed"))),
        "generation": wrap(int(plain(old.get("generation")) or 0)),
        "managed": wrap(plain(old.get("managed"))),
        "missing": wrap(reason),
    }


def _without_nulls(given: Properties) -> Properties:
    kept = {key: value for key, value in given.items() if value.value is not None}
    host = kept.get("host")
    if host is not None and isinstance(host.value, Mapping):
        kept["host"] = host.with_value({key: value for key, value in host.value.items() if value.value is not None})
    return kept


def _machine(parsed: inputs.Inputs) -> tuple[str, int, str]:
    return (parsed.host.address or parsed.host.name, parsed.host.port, parsed.instance)


def _where(task: Task) -> str:
    return f" ({task.where})" if task.where else ""


def _drift(instance: str, task: Task) -> str:
    if task.result == "failed":
        reason = task.detail.splitlines()[0] if task.detail else "it fails"
        return DRIFT_FAILS.format(instance=instance, task=task.name, reason=reason)
    return DRIFT.format(instance=instance, task=task.name, where=_where(task))
