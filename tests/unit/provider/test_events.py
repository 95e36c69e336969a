"""Events of real runs, recorded with ansible-core 2.19 against a Debian host, become counts, drift and one clear message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provider import events, paths
from provider.events import Recorder
from provider.redaction import Scrubber
from provider.run import Host, Mode, Outcome, Request

RUNS = Path(__file__).parent / "runs"
CANARY = "canary-5dd1"
LABEL = "lab-1 (10.0.0.5)"
AGAIN = events.TASK_MEND


def recorded(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((RUNS / f"{name}.json").read_text())
    return loaded


def request_for(role: str, mode: Mode = "apply", instance: str = "", **host: Any) -> Request:
    return Request(
        mode=mode,
        host=Host(**{"name": "lab-1", "address": "10.0.0.5", "user": "admin", "key_file": "/home/me/key", **host}),
        role=role,
        instance=instance or role,
        playbooks="/srv/playbooks",
        variables={},
        secrets=(CANARY,),
        timeout=60,
        urn="urn:x",
        run_id=1,
        scratch="/nowhere",
    )


def replayed(name: str, role: str, *, mode: Mode = "apply", code: int = 2, instance: str = "", **host: Any) -> Outcome:
    request = request_for(role, mode, instance, **host)
    recorder = Recorder(request, Scrubber(request.secrets))
    for event in recorded(name):
        recorder.take(event)
    return recorder.outcome(code=code, seconds=1.5, timed_out=False)


def failure(outcome: Outcome) -> tuple[str, str]:
    assert outcome.failure is not None
    return outcome.failure.kind, outcome.failure.message


@pytest.mark.parametrize(
    ("run", "task", "message"),
    [
        ("command", "C", f"exit code 3\n  boom one\n  boom two\n  {AGAIN}"),
        ("assert", "Assert", "Disk is small. Add a disk."),
        ("loop", "Loop", f"exit code 1\n  bad 1\n  {AGAIN}"),
        ("apt", "Apt", f"No package matching 'no-such-package-x' is available. {AGAIN}"),
        ("unit", "Service", f"Could not find the requested service no-such-unit: host. {AGAIN}"),
        (
            "undef",
            "Undefined",
            "Finalization of task args for 'ansible.builtin.debug' failed: "
            f"Error while resolving value for 'msg': 'nix' is undefined. {AGAIN}",
        ),
        (
            "nolog",
            "Nolog",
            "it failed, and its output is hidden because it handles a secret. Look at what the task touches on the host: "
            f"it is in /srv/playbooks/roles/bad/tasks/main.yml:17. {AGAIN}",
        ),
        (
            "nologloop",
            "Nologloop",
            "it failed, and its output is hidden because it handles a secret. Look at what the task touches on the host: "
            f"it is in /srv/playbooks/roles/bad/tasks/main.yml:40. {AGAIN}",
        ),
    ],
)
def test_a_failed_task_is_named_with_its_own_words(run: str, task: str, message: str) -> None:
    outcome = replayed(run, "bad")
    assert failure(outcome) == ("task", f"{LABEL}: layer bad, task '{task}': {message}")
    assert outcome.failed == 1


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        (
            "refused",
            "unreachable",
            "nothing listens for SSH on port 22. Start sshd on the host, or mend `host.address` and `host.port`.",
        ),
        (
            "noroute",
            "unreachable",
            "there is no route to the host. Check that it is switched on and that `host.address` is right.",
        ),
        (
            "timeout",
            "unreachable",
            "no answer to SSH on port 22 within 10 s. "
            "Check that the host is up, that `host.address` is right and that no firewall drops the port.",
        ),
        ("dns", "unreachable", "the name can't be resolved. Mend `host.address`, or use an IP address."),
        (
            "auth",
            "access",
            "SSH refuses the login as admin with the key /home/me/key. "
            "Put the key's public half into that user's ~/.ssh/authorized_keys, or mend `host.user` and `host.keyFile`.",
        ),
        (
            "sudopass",
            "access",
            "admin may not use sudo without a password. "
            "Allow it in /etc/sudoers.d (NOPASSWD:ALL), or set `host.become` to false.",
        ),
        (
            "sudomissing",
            "access",
            "there is no sudo on the host. Install sudo, or log in as root and set `host.become` to false.",
        ),
        (
            "nopython",
            "access",
            "there is no /usr/bin/python3 on the host. Install it: apt-get install python3, or dnf install python3.",
        ),
    ],
)
def test_a_host_that_lets_nobody_in_is_explained(run: str, kind: str, message: str) -> None:
    outcome = replayed(run, "tiny")
    assert failure(outcome) == (kind, f"{LABEL}: layer tiny: {message}")
    assert not outcome.touched


def test_another_host_key_says_which_record_to_mend() -> None:
    pinned = replayed("hostkey", "tiny", host_key="ssh-ed25519 AAAA")
    assert failure(pinned)[1] == (
        f"{LABEL}: layer tiny: the host shows another key than the one that `host.hostKey` pins. "
        "If the machine was made anew, mend `host.hostKey`; if not, stop here."
    )
    remembered = replayed("hostkey", "tiny", port=2222)
    assert failure(remembered)[1].endswith(
        f"forget the old key: ssh-keygen -R '[10.0.0.5]:2222' -f {paths.known_hosts()}; if not, stop here."
    )


def test_refused_variables_are_told_apart_from_a_failed_task() -> None:
    outcome = replayed("argspec", "tiny")
    assert failure(outcome) == (
        "variables",
        f"{LABEL}: layer tiny: the variables are not what the role accepts: "
        "argument 'tiny_n' is of type str and we were unable to convert to int: \"'abc'\" cannot be converted to an int. "
        "Mend them in `variables`; the role lists what it takes in meta/argument_specs.yml.",
    )
    assert not outcome.touched


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            "syntax",
            "YAML parsing failed: While parsing a flow mapping did not find expected ',' or '}' "
            "(/srv/playbooks/roles/syntax/tasks/main.yml:3:1).",
        ),
        (
            "nomod",
            "couldn't resolve module/action 'no_such_module'. This often indicates a misspelling, missing collection, or "
            "incorrect module path (/srv/playbooks/roles/nomod/tasks/main.yml:1:3).",
        ),
    ],
)
def test_a_role_that_does_not_load_is_explained_with_the_place(run: str, message: str) -> None:
    assert failure(replayed(run, "x")) == (
        "playbook",
        f"{LABEL}: layer x: Ansible can't begin: {message} Mend the role's files.",
    )


def test_ignored_and_rescued_failures_are_none() -> None:
    kept = [
        event
        for event in recorded("command")
        if event["event"] != "runner_on_failed" or event["event_data"]["task"] in {"Ignored", "In block"}
    ]
    request = request_for("bad")
    recorder = Recorder(request, Scrubber(()))
    for event in kept:
        recorder.take(event)
    outcome = recorder.outcome(code=0, seconds=1, timed_out=False)
    assert outcome.failure is None
    assert (outcome.failed, outcome.tasks) == (0, ())


def test_drift_is_found_in_hidden_and_in_looping_tasks_too() -> None:
    outcome = replayed("drift", "tiny", mode="check", code=0)
    found = [(task.name, task.where, task.detail) for task in outcome.tasks]
    assert found == [
        ("Config folder", "/etc/tiny", "-mode: 0700\n+mode: 0755"),
        ("Site configuration", "/etc/tiny/a.conf", "-x\n+hello 13"),
        ("Secret file", "", ""),
        ("Loop", "/etc/tiny/x", ""),
        ("Secret loop", "", ""),
    ]
    assert (outcome.ok, outcome.changed, outcome.failed) == (7, 5, 0)
    assert outcome.results == {"a": 1, "b": ["x"]}


def test_a_run_that_changes_nothing_has_touched_nothing() -> None:
    unchanged = json.loads(
        (RUNS / "drift.json").read_text().replace('"changed": true', '"changed": false').replace("changed:", "ok:")
    )
    recorder = Recorder(request_for("tiny"), Scrubber(()))
    for event in unchanged:
        assert recorder.take(event) is None
    outcome = recorder.outcome(code=0, seconds=1, timed_out=False)
    assert (outcome.changed, outcome.touched, outcome.tasks) == (0, False, ())


def test_a_connection_that_is_lost_on_the_way_may_have_touched_the_host() -> None:
    """The task under way may have done its work; before the first one that came back, it can't have."""
    unchanged = json.loads((RUNS / "drift.json").read_text().replace('"changed": true', '"changed": false'))
    lost = [event for event in recorded("refused") if event["event"] in {"runner_on_unreachable", "playbook_on_stats"}]
    for before, touched in (("runner_on_ok", True), ("nothing", False)):
        recorder = Recorder(request_for("tiny"), Scrubber(()))
        for event in unchanged:
            if event["event"] == before or event["event"] == "playbook_on_task_start":
                recorder.take({**event, "stdout": ""})
        for event in lost:
            recorder.take(event)
        outcome = recorder.outcome(code=4, seconds=1, timed_out=False)
        assert failure(outcome)[0] == "unreachable"
        assert outcome.touched is touched


def test_a_timeout_names_the_task_under_way() -> None:
    recorder = Recorder(request_for("tiny"), Scrubber(()))
    for event in recorded("apply"):
        recorder.take(event)
        if event["event_data"].get("task") == "Site configuration":
            break
    outcome = recorder.outcome(code=-9, seconds=60, timed_out=True)
    assert failure(outcome) == (
        "timeout",
        f"{LABEL}: layer tiny: stopped after 60 s, during task 'Site configuration'. "
        "Raise `timeout` if the task needs longer, and run the command again: what is done stays done.",
    )
    assert outcome.touched


def test_secrets_in_what_a_module_says_are_masked() -> None:
    text = (RUNS / "command.json").read_text().replace("boom one", f"password {CANARY} refused")
    recorder = Recorder(request_for("bad"), Scrubber([CANARY]))
    for event in json.loads(text):
        recorder.take(event)
    outcome = recorder.outcome(code=2, seconds=1, timed_out=False)
    assert CANARY not in repr(outcome)
    assert "password [secret] refused" in failure(outcome)[1]


@pytest.mark.parametrize(("by_intent", "kind"), [(True, "interrupted"), (False, "internal")])
def test_a_broken_off_run_says_what_was_under_way(by_intent: bool, kind: str) -> None:
    outcome = events.broken_off(request_for("tiny"), "Loop", 2.0, by_intent=by_intent)
    assert failure(outcome)[0] == kind
    assert "during task 'Loop'" in failure(outcome)[1]
    assert outcome.touched


def test_a_refused_connection_of_the_roles_own_service_is_the_tasks_failure() -> None:
    text = (RUNS / "unit.json").read_text().replace("Could not find the requested service", "Connection refused by")
    recorder = Recorder(request_for("bad"), Scrubber(()))
    for event in json.loads(text):
        recorder.take(event)
    assert failure(recorder.outcome(code=2, seconds=1, timed_out=False))[0] == "task"


def test_messages_call_the_layer_by_its_instance() -> None:
    _, said = failure(replayed("command", "bad", instance="front"))
    assert said.startswith(f"{LABEL}: layer front, task 'C': exit code 3")
    broken = events.broken_off(request_for("nginx", instance="front"), "Site", 1, by_intent=True)
    assert failure(broken)[1].startswith(f"{LABEL}: layer front: interrupted during task 'Site'.")


def test_a_task_that_is_repeated_until_it_is_done_says_how_far_it_is() -> None:
    recorder = Recorder(request_for("model"), Scrubber((CANARY,)))
    data = {"task": "Fetch the files", "task_action": "stored_files"}
    recorder.take({"event": "playbook_on_task_start", "event_data": data})
    recorder.take(
        {"event": "runner_retry", "event_data": {**data, "res": {"progress": f"1.2 GB of 141.1 GB of {CANARY}"}}}
    )
    assert recorder.current.startswith("Fetch the files: 1.2 GB of 141.1 GB")
    assert CANARY not in recorder.current
    recorder.take({"event": "runner_retry", "event_data": {**data, "res": {"attempts": 2}}})
    assert "1.2 GB" in recorder.current
