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
from provider.plugin import PlaybookProvider, Refused, Unfinished
from provider.run import Failure, Outcome, Progress, Request, Task
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


class Plugin:
    """A provider with its player and what it has said."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.player = Player(*outcomes)
        self.said: list[tuple[str, str, bool]] = []
        self.provider = PlaybookProvider(self.player, self._tell)  # type: ignore[arg-type]

    async def _tell(self, severity: str, message: str, urn: str, *, ephemeral: bool = False) -> None:
        assert urn == URN
        self.said.append((severity, message, ephemeral))

    @property
    def lasting(self) -> list[tuple[str, str]]:
        return [(severity, message) for severity, message, ephemeral in self.said if not ephemeral]


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
    assert {key for key, value in created.properties.items() if has_unknown(value)} == {"results", "changed"}
    assert {key for key, value in updated.properties.items() if has_unknown(value)} == {
        "results",
        "changed",
        "generation",
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
