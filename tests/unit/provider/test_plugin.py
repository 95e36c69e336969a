"""What the engine is answered, with runs that are only played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pulumi.provider.experimental import provider as base
from pulumi.provider.experimental.property_value import PropertyValue

from provider import plugin
from provider.inputs import Inputs
from provider.plugin import PlaybookProvider, Refused, Unfinished
from provider.records import Look
from provider.run import Failure, Host, Outcome, Progress, Request, Task
from provider.values import Properties, fields, has_unknown, plain, wrap

T = TypeVar("T")
URN = f"urn:pulumi:test::trial::{plugin.TYPE}::web"
SECRET = wrap("canary-5dd1").with_secret(is_secret=True)
DONE = Outcome(ok=3, changed=1, tasks=(Task(name="Site", role="nginx", result="changed", where="/etc/site"),))


class Player:
    """In place of the runner: notes requests and answers with prepared outcomes."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.requests: list[Request] = []
        self.outcomes = list(outcomes)

    async def run(self, request: Request, listener: Callable[[Progress], None]) -> Outcome:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        for task in outcome.tasks:
            listener(Progress(run_id=0, task=task.name))
            listener(Progress(run_id=0, task=task.name, ended=task))
        return outcome


class Keeper:
    """In place of the hosts' records: answers with a prepared look, and notes what it is told to keep or forget."""

    def __init__(self, look: Look) -> None:
        self.prepared = look
        self.done: list[tuple[str, str]] = []
        self.trouble = ""
        self.owned = ""

    async def look(self, parsed: Inputs, digest: str) -> Look:
        assert digest.startswith("sha256:")
        self.done.append(("look", parsed.instance))
        return self.prepared

    async def keep(self, parsed: Inputs, digest: str, outcome: Outcome) -> str:
        assert digest.startswith("sha256:")
        self.done.append(("keep", parsed.instance))
        return outcome.unrecordable or self.trouble

    async def renew(self, parsed: Inputs, digest: str) -> None:
        assert digest.startswith("sha256:")
        self.done.append(("renew", parsed.instance))

    async def forget(self, parsed: Inputs) -> str:
        self.done.append(("forget", f"{parsed.records}/{parsed.instance}"))
        return self.trouble

    async def owner(self, parsed: Inputs) -> str:
        return self.owned or parsed.host.name

    def outdated(self, host: Host) -> None:
        self.done.append(("outdated", host.name))


class Plugin:
    """A provider with its player and what it has said."""

    def __init__(self, *outcomes: Outcome, look: Look | None = None) -> None:
        self.player = Player(*outcomes)
        self.keeper = Keeper(look or Look())
        self.said: list[tuple[str, str, bool]] = []
        self.provider = PlaybookProvider(self.player, self.keeper, self._tell)  # type: ignore[arg-type]

    async def _tell(self, severity: str, message: str, urn: str, *, ephemeral: bool = False) -> None:
        assert urn == URN
        self.said.append((severity, message, ephemeral))

    @property
    def lasting(self) -> list[tuple[str, str]]:
        return [(said, message) for said, message, ephemeral in self.said if not ephemeral and said != "debug"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tasks = tmp_path / "playbooks/roles/nginx/tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("- meta: noop\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def do(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def checked(**changes: Any) -> Properties:
    host = {"name": "lab-1", "address": "10.0.0.5", **changes.pop("host", {})}
    given = {"host": host, "role": "nginx", "variables": {"nginx_key": SECRET, "nginx_port": 443}, **changes}
    response = do(Plugin().provider.check(base.CheckRequest(URN, {}, wrap_all(given), b"")))
    assert response.failures is None
    assert response.inputs is not None
    return response.inputs


def wrap_all(given: dict[str, Any]) -> Properties:
    def one(value: Any) -> PropertyValue:
        if isinstance(value, PropertyValue):
            return value
        if isinstance(value, dict):
            return PropertyValue({key: one(item) for key, item in value.items()})
        return wrap(value)

    return {key: one(value) for key, value in given.items()}


def state(**changes: Any) -> Properties:
    computed = {"drift": [], "results": {}, "changed": 1, "generation": 2}
    return {**checked(), **{key: wrap(value) for key, value in {**computed, **changes}.items()}}


def diff(old: Properties, new: Properties, ignored: list[str] | None = None) -> base.DiffResponse:
    return do(Plugin().provider.diff(base.DiffRequest(URN, "lab-1/nginx", old, new, ignored or [])))


def test_check_adds_the_digest_and_keeps_secrets_secret() -> None:
    given = checked()
    assert str(plain(given["digest"])).startswith("sha256:")
    variables = fields(given["variables"])
    assert variables["nginx_key"].is_secret
    assert not variables["nginx_port"].is_secret


def test_check_names_what_is_wrong() -> None:
    given = wrap_all({"host": {"name": "lab-1", "address": "x"}, "role": "gone"})
    response = do(Plugin().provider.check(base.CheckRequest(URN, {}, given, b"")))
    assert response.failures is not None
    assert [failure.property for failure in response.failures] == ["role"]


def test_no_change_is_no_diff() -> None:
    assert diff(state(), checked()).changes is False


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"host": {"address": "10.0.0.6"}}, "host.address"),
        ({"host": {"user": "root"}}, "host.user"),
        ({"variables": {"nginx_key": SECRET, "nginx_port": 8443}}, "variables.nginx_port"),
        ({"triggers": [1]}, "triggers"),
        ({"timeout": 5}, "timeout"),
    ],
)
def test_changes_are_updates(change: dict[str, Any], path: str) -> None:
    response = diff(state(), checked(**change))
    assert (response.changes, response.replaces, list(response.detailed_diff)) == (True, [], [path])


def test_another_host_is_a_replacement() -> None:
    response = diff(state(), checked(host={"name": "lab-2", "address": "10.0.0.6"}))
    assert (response.replaces, response.delete_before_replace) == (["host.name"], False)
    renamed = diff(state(), checked(host={"name": "lab-2"}))
    assert (renamed.replaces, renamed.delete_before_replace) == (["host.name"], True)


def test_another_instance_is_a_replacement_and_the_roles_own_name_is_none() -> None:
    response = diff(state(), checked(instance="front"))
    assert (response.replaces, response.delete_before_replace) == (["instance"], True)
    # What was called as its role all along has only to be written down.
    named = diff(state(), checked(instance="nginx"))
    assert (list(named.detailed_diff), named.replaces) == (["instance"], [])
    subject = Plugin()
    do(subject.provider.update(base.UpdateRequest(URN, "x", state(), checked(instance="nginx"), 0, [], preview=False)))
    assert subject.player.requests == []


def test_changed_files_are_an_update(project: Path) -> None:
    old = state()
    (project / "playbooks/roles/nginx/tasks/main.yml").write_text("- meta: clear_facts\n")
    assert list(diff(old, checked()).detailed_diff) == ["digest"]


def test_drift_is_an_update_unless_ignored() -> None:
    drifted = state(drift=["nginx: Site (/etc/site)"])
    assert list(diff(drifted, checked()).detailed_diff) == ["drift"]
    assert diff(drifted, checked(), ["drift"]).changes is False


def test_a_value_that_becomes_secret_is_recorded_without_a_run() -> None:
    now = checked(variables={"nginx_key": SECRET, "nginx_port": wrap(443).with_secret(is_secret=True)})
    assert list(diff(state(), now).detailed_diff) == ["variables.nginx_port"]
    subject = Plugin()
    response = do(subject.provider.update(base.UpdateRequest(URN, "lab-1/nginx", state(), now, 0, [], preview=False)))
    assert subject.player.requests == []
    assert fields(response.properties["variables"])["nginx_port"].is_secret
    assert plain(response.properties["generation"]) == 2


def test_previews_run_nothing_and_promise_nothing() -> None:
    subject = Plugin()
    created = do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=True)))
    updated = do(
        subject.provider.update(base.UpdateRequest(URN, "x", state(), checked(triggers=[1]), 0, [], preview=True))
    )
    assert subject.player.requests == []
    assert {key for key, value in created.properties.items() if has_unknown(value)} == {
        "results",
        "changed",
        "managed",
    }
    assert {key for key, value in updated.properties.items() if has_unknown(value)} == {
        "results",
        "changed",
        "generation",
        "managed",
    }


def test_create_applies_and_tells() -> None:
    subject = Plugin(DONE)
    response = do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=False)))
    assert response.resource_id == "lab-1/nginx"
    assert subject.lasting == [("info", "changed: Site (/etc/site) (0.0 s)")]
    request = subject.player.requests[0]
    assert (request.mode, request.secrets) == ("apply", ("canary-5dd1",))
    assert request.variables == {"nginx_key": "canary-5dd1", "nginx_port": 443}
    assert "canary-5dd1" not in repr(request)
    assert fields(response.properties["variables"])["nginx_key"].is_secret


def test_an_instance_names_resource_progress_and_layer() -> None:
    subject = Plugin(DONE)
    given = checked(instance="front")
    response = do(subject.provider.create(base.CreateRequest(URN, given, 0, preview=False)))
    assert response.resource_id == "lab-1/front"
    assert (subject.player.requests[0].role, subject.player.requests[0].instance) == ("nginx", "front")
    assert ("info", "lab-1: front: Site", True) in subject.said
    drifted = Plugin(DONE)
    read = do(
        drifted.provider.read(base.ReadRequest(URN, "lab-1/front", {**state(), "instance": wrap("front")}, given))
    )
    assert plain(read.properties["drift"]) == ["front: Site (/etc/site)"]
    assert drifted.lasting == [("warning", "lab-1 (10.0.0.5): layer front has drifted: task 'Site' (/etc/site)")]


@pytest.mark.parametrize(("results", "secret"), [({"a": 1}, False), ({"url": "https://u:canary-5dd1@x"}, True)])
def test_results_that_hold_a_secret_are_secret(results: dict[str, Any], secret: bool) -> None:
    subject = Plugin(Outcome(results=results))
    response = do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=False)))
    assert response.properties["results"].is_secret is secret


def test_update_counts_generations_and_clears_drift() -> None:
    subject = Plugin(DONE)
    old = state(drift=["nginx: Site"])
    response = do(subject.provider.update(base.UpdateRequest(URN, "x", old, checked(), 0, [], preview=False)))
    assert plain(response.properties["generation"]) == 3
    assert plain(response.properties["drift"]) == []


def test_a_failure_before_the_host_was_touched_leaves_no_resource() -> None:
    subject = Plugin(Outcome(failure=Failure(kind="unreachable", message="gone")))
    with pytest.raises(Refused, match="gone"):
        do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=False)))


def test_a_failure_half_way_keeps_the_resource_and_its_next_run() -> None:
    subject = Plugin(Outcome(failure=Failure(kind="task", message="no"), touched=True))
    with pytest.raises(Unfinished) as caught:
        do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=False)))
    kept = caught.value.properties
    assert list(diff(kept, checked()).detailed_diff) == ["digest"]
    again = Plugin()
    do(again.provider.read(base.ReadRequest(URN, "lab-1/nginx", kept, caught.value.given)))
    assert again.player.requests == []
    assert "did not finish" in again.lasting[0][1]


def test_refresh_reports_drift_by_name() -> None:
    drifted = Outcome(
        tasks=(
            Task(name="Site configuration", role="nginx", result="changed", where="/etc/site", detail="-a\n+b"),
            Task(name="unit : Start", role="unit", result="changed"),
        )
    )
    subject = Plugin(drifted)
    response = do(subject.provider.read(base.ReadRequest(URN, "lab-1/nginx", state(), checked())))
    assert plain(response.properties["drift"]) == ["nginx: Site configuration (/etc/site)", "nginx: unit : Start"]
    assert subject.lasting == [
        ("warning", "lab-1 (10.0.0.5): layer nginx has drifted: task 'Site configuration' (/etc/site)\n  -a\n  +b"),
        ("warning", "lab-1 (10.0.0.5): layer nginx has drifted: task 'unit : Start'"),
    ]
    assert subject.player.requests[0].mode == "check"


def test_a_check_that_fails_is_drift_but_a_lost_host_is_an_error() -> None:
    task = Task(name="Site", role="nginx", result="failed", detail="no folder /etc/x\nmore")
    subject = Plugin(Outcome(tasks=(task,), failure=Failure(kind="task", message="m")))
    response = do(subject.provider.read(base.ReadRequest(URN, "x", state(), checked())))
    assert plain(response.properties["drift"]) == ["nginx: Site (can't be checked: no folder /etc/x)"]
    lost = Plugin(Outcome(failure=Failure(kind="unreachable", message="lab-1 is gone")))
    with pytest.raises(Refused, match="lab-1 is gone"):
        do(lost.provider.read(base.ReadRequest(URN, "x", state(), checked())))


def test_changed_files_are_not_taken_for_drift(project: Path) -> None:
    old = state()
    (project / "playbooks/roles/nginx/tasks/main.yml").write_text("- meta: clear_facts\n")
    subject = Plugin()
    response = do(subject.provider.read(base.ReadRequest(URN, "x", old, old)))
    assert (subject.player.requests, plain(response.properties["drift"])) == ([], [])
    assert "the role's files have changed" in subject.lasting[0][1]


def test_an_import_is_refused() -> None:
    with pytest.raises(Refused, match="can't be imported"):
        do(Plugin().provider.read(base.ReadRequest(URN, "lab-1/nginx", {}, {})))


def test_delete_runs_the_removal() -> None:
    subject = Plugin(DONE)
    do(subject.provider.delete(base.DeleteRequest(URN, "x", state(), 7)))
    request = subject.player.requests[0]
    assert (request.mode, request.timeout) == ("remove", 7)
    assert request.variables["nginx_state"] == "absent"


def test_delete_of_a_lost_host_says_how_to_forget_it() -> None:
    subject = Plugin(Outcome(failure=Failure(kind="unreachable", message="gone.")))
    with pytest.raises(Refused, match=f"pulumi state delete '{URN}'"):
        do(subject.provider.delete(base.DeleteRequest(URN, "x", state(), 0)))


def test_delete_without_the_roles_files_says_what_to_do(project: Path) -> None:
    old = state()
    (project / "playbooks/roles/nginx").rename(project / "gone")
    with pytest.raises(Refused, match="Bring the role's files back"):
        do(Plugin().provider.delete(base.DeleteRequest(URN, "x", old, 0)))


def test_a_replacement_does_not_remove_what_it_has_just_made() -> None:
    subject = Plugin(DONE)

    async def replaced() -> None:
        await subject.provider.create(base.CreateRequest(URN, new, 0, preview=False))
        await subject.provider.delete(base.DeleteRequest(URN, "x", old, 0))

    new, old = checked(), state()
    do(replaced())
    assert [request.mode for request in subject.player.requests] == ["apply"]
    assert "nothing is removed" in subject.lasting[-1][1]


def test_what_was_applied_under_another_name_since_is_not_removed() -> None:
    """A host was renamed, and the command was killed before it had removed what was there under the old name."""
    subject = Plugin(DONE, DONE)
    subject.keeper.owned = "gpu-a"
    do(subject.provider.delete(base.DeleteRequest(URN, "x", state(managed=2), 0)))
    assert subject.player.requests == []
    assert "under the name gpu-a, so nothing is removed" in subject.lasting[-1][1]
    # What has no record has nothing on the host that two could have.
    do(subject.provider.delete(base.DeleteRequest(URN, "x", state(managed=0), 0)))
    assert [request.mode for request in subject.player.requests] == ["remove"]


def test_two_instances_of_a_role_are_two_things() -> None:
    subject = Plugin(DONE, DONE)
    one, other = checked(instance="one"), {**state(), "instance": wrap("other")}

    async def replaced() -> None:
        await subject.provider.create(base.CreateRequest(URN, one, 0, preview=False))
        await subject.provider.delete(base.DeleteRequest(URN, "x", other, 0))

    do(replaced())
    assert [(request.mode, request.instance) for request in subject.player.requests] == [
        ("apply", "one"),
        ("remove", "other"),
    ]


def refreshed(subject: Plugin, **changes: Any) -> list[str]:
    """The drift that a refresh of a recorded layer finds."""
    response = do(subject.provider.read(base.ReadRequest(URN, "x", state(**{"managed": 7, **changes}), checked())))
    found: list[str] = plain(response.properties["drift"])
    return found


def test_a_host_that_looks_as_recorded_needs_no_run() -> None:
    subject = Plugin(look=Look(as_recorded=True))
    assert refreshed(subject, drift=["nginx: Site"]) == []
    assert (subject.player.requests, subject.keeper.done) == ([], [("look", "nginx")])


def test_a_layer_that_manages_nothing_needs_no_look() -> None:
    subject = Plugin()
    assert refreshed(subject, managed=0) == []
    assert (subject.player.requests, subject.keeper.done) == ([], [])


@pytest.mark.parametrize(
    ("changes", "environment", "looks"),
    [
        ({}, "", [("look", "nginx")]),  # no record, or one of something else
        ({"managed": None}, "", []),  # not recordable, or applied by an earlier plugin
        ({"deep": True}, "", []),
        ({"deep": True, "managed": 0}, "", []),
        ({}, "1", []),
    ],
)
def test_without_a_record_or_asked_for_depth_ansible_checks(
    changes: dict[str, Any], environment: str, looks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_DEEP", environment)
    subject = Plugin(DONE)
    assert refreshed(subject, **changes) == ["nginx: Site (/etc/site)"]
    assert [request.mode for request in subject.player.requests] == ["check"]
    assert subject.keeper.done == looks


def test_what_looks_otherwise_is_named_by_ansible_and_recorded_anew_if_the_role_has_no_objection() -> None:
    otherwise = Look(as_recorded=False, differing=("packages nginx",))
    drifted = Plugin(DONE, look=otherwise)
    assert refreshed(drifted) == ["nginx: Site (/etc/site)"]
    assert drifted.keeper.done == [("look", "nginx")]
    upgraded = Plugin(Outcome(ok=3), look=otherwise)
    assert refreshed(upgraded) == []
    assert upgraded.keeper.done == [("look", "nginx"), ("renew", "nginx")]
    assert ("debug", "layer nginx looks otherwise than recorded (packages nginx); Ansible checks it.", False) in (
        upgraded.said
    )


def test_a_host_that_can_not_be_asked_is_an_error() -> None:
    subject = Plugin(look=Look(failure=Failure(kind="unreachable", message="lab-1 is gone")))
    with pytest.raises(Refused, match="lab-1 is gone"):
        refreshed(subject)
    assert subject.player.requests == []


THINGS = ({"kind": "path", "path": "/etc/site"}, {"kind": "user", "name": "web"})


@pytest.mark.parametrize(
    ("outcome", "trouble", "managed"),
    [
        (Outcome(managed=THINGS), "", 2),
        (Outcome(managed=()), "", 0),
        (Outcome(unrecordable="task 'X' uses the module y"), "", None),
        (Outcome(managed=THINGS), "no space left", None),
    ],
)
def test_an_apply_is_recorded(outcome: Outcome, trouble: str, managed: int | None) -> None:
    subject = Plugin(outcome)
    subject.keeper.trouble = trouble
    response = do(subject.provider.create(base.CreateRequest(URN, checked(), 0, preview=False)))
    assert plain(response.properties["managed"]) == managed
    assert subject.keeper.done == [("outdated", "lab-1"), ("keep", "nginx")]


@pytest.mark.parametrize(
    ("outcome", "changes", "forgotten"),
    [
        (Outcome(managed=THINGS), {}, []),
        (Outcome(unrecordable="x"), {}, ["/var/lib/playbook/nginx"]),
        (Outcome(managed=()), {}, ["/var/lib/playbook/nginx"]),
        (Outcome(managed=THINGS), {"records": "/var/lib/other"}, ["/var/lib/playbook/nginx"]),
    ],
)
def test_a_record_of_before_does_not_stay(outcome: Outcome, changes: dict[str, Any], forgotten: list[str]) -> None:
    subject = Plugin(outcome)
    new = checked(triggers=[1], **changes)
    do(subject.provider.update(base.UpdateRequest(URN, "x", state(managed=2), new, 0, [], preview=False)))
    assert [what for verb, what in subject.keeper.done if verb == "forget"] == forgotten


def test_a_removal_takes_the_record_along_and_says_if_it_could_not() -> None:
    subject = Plugin(DONE)
    do(subject.provider.delete(base.DeleteRequest(URN, "x", state(managed=2), 0)))
    assert subject.keeper.done == [("outdated", "lab-1"), ("forget", "/var/lib/playbook/nginx")]
    assert subject.lasting[-1][0] == "info"
    stuck = Plugin(DONE)
    stuck.keeper.trouble = "read-only file system"
    do(stuck.provider.delete(base.DeleteRequest(URN, "x", state(managed=2), 0)))
    assert stuck.lasting[-1][0] == "warning"
    assert "not the record of it in /var/lib/playbook: read-only file system" in stuck.lasting[-1][1]


def test_a_failed_run_keeps_word_of_the_record_for_its_removal() -> None:
    subject = Plugin(Outcome(failure=Failure(kind="task", message="no"), touched=True))
    with pytest.raises(Unfinished) as caught:
        do(
            subject.provider.update(
                base.UpdateRequest(URN, "x", state(managed=2), checked(triggers=[1]), 0, [], preview=False)
            )
        )
    assert plain(caught.value.properties["managed"]) == 2
