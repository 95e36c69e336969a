"""What a Playbook takes, what it refuses, and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.property_value import PropertyValue

from provider import inputs
from provider.values import COMPUTED, wrap

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOHxuVrQv9t"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "playbooks/roles/nginx").mkdir(parents=True)
    (tmp_path / "playbooks/roles/base").mkdir()
    (tmp_path / "other/roles/nginx").mkdir(parents=True)
    for name, mode in (("key", 0o600), ("open-key", 0o644)):
        (tmp_path / name).write_text("k")
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(**changes: Any) -> dict[str, Any]:
    host = {"name": "lab-1", "address": "10.0.0.5", **changes.pop("host", {})}
    return {"host": {key: value for key, value in host.items() if value is not None}, "role": "nginx", **changes}


def problems(plain: dict[str, Any]) -> list[tuple[str, str]]:
    properties = {key: value if isinstance(value, PropertyValue) else wrap(value) for key, value in plain.items()}
    return [(problem.path, problem.reason) for problem in inputs.problems(properties)]


@pytest.mark.parametrize(
    "accepted",
    [
        given(),
        given(host={"address": "2001:db8::1"}),
        given(host={"address": "::1"}),
        given(host={"address": "web.example.org", "port": 2222, "user": "admin", "keyFile": "key"}),
        given(host={"hostKey": HOST_KEY}),
        given(host={"hostKey": f"{HOST_KEY} root@lab-1\necdsa-sha2-nistp256 AAAA\n"}),
        given(host={"address": None, "connection": "local", "become": False}),
        given(playbooks="other", timeout=0.5, variables={}, removal={}, triggers=[1, "a"]),
        given(variables={"nginx_port": 443, "nginx_names": ["a"], "nginx_map": {"any key": 1}}),
        given(environment=["AWS_*", "NETRC"]),
        given(environment=COMPUTED),
        {"host": COMPUTED, "role": "nginx"},
        {"host": wrap({"name": "lab-1"}), "role": COMPUTED}
        | {"host": PropertyValue({"name": wrap("a"), "address": COMPUTED})},
        given(variables=COMPUTED, timeout=COMPUTED, triggers=COMPUTED),
    ],
)
def test_accepted(accepted: dict[str, Any]) -> None:
    assert problems(accepted) == []


@pytest.mark.parametrize(
    ("refused", "path", "reason"),
    [
        ({"role": "nginx"}, "host", "is missing"),
        (given(host={"name": None}), "host.name", "is missing"),
        (given(host={"name": "a b"}), "host.name", "must be a host's name"),
        (given(host={"address": None}), "host.address", "is missing"),
        (given(host={"address": "-oProxyCommand=x"}), "host.address", "must be an IP address or a DNS name"),
        (given(host={"address": "a b"}), "host.address", "must be an IP address or a DNS name"),
        (given(host={"port": 0}), "host.port", "from 1 to 65535"),
        (given(host={"port": 22.5}), "host.port", "whole number"),
        (given(host={"port": "22"}), "host.port", "whole number"),
        (given(host={"user": "-l"}), "host.user", "must be the name of a login"),
        (given(host={"keyFile": "gone"}), "host.keyFile", "doesn't exist or can't be read"),
        (given(host={"keyFile": "playbooks"}), "host.keyFile", "is no file"),
        (given(host={"keyFile": "open-key"}), "host.keyFile", "run: chmod 600"),
        (given(host={"hostKey": "AAAA"}), "host.hostKey", "must be a public host key"),
        (given(host={"connection": "winrm"}), "host.connection", "must be 'ssh' or 'local'"),
        (given(environment="AWS_*"), "environment", "must be a list of variables' names"),
        (given(environment=["*"]), "environment", "must be a list of variables' names"),
        (given(environment=["A=b"]), "environment", "such as AWS_*"),
        (given(host={"become": "yes"}), "host.become", "must be true or false"),
        (given(host={"adress": "x"}), "host.adress", "is no part of a host; those are name, address"),
        ({"host": {"name": "a", "address": "b"}}, "role", "is missing"),
        (given(role="../nginx"), "role", "must be a role's name"),
        (given(role="ngnix"), "role", "ngnix doesn't exist; there are: base, nginx"),
        (given(playbooks="gone"), "playbooks", "is no folder; it is taken relative to the project's folder"),
        (given(playbooks=""), "playbooks", "must be the path of a folder"),
        (given(timeout=0), "timeout", "above 0"),
        (given(timeout="1h"), "timeout", "above 0"),
        (given(timeout=True), "timeout", "above 0"),
        (given(triggers="x"), "triggers", "must be a list"),
        (given(variables=["x"]), "variables", "must be a map"),
        (given(variables={"nginx-port": 1}), 'variables["nginx-port"]', "is no name of an Ansible variable"),
        (
            given(variables=PropertyValue({"f": PropertyValue(pulumi.StringAsset("x"))})),
            "variables.f",
            "can't be handed",
        ),
        (given(instance="../x"), "instance", "must be a name of letters"),
        (given(records="lib/x"), "records", "must be the absolute path"),
        (given(records="/"), "records", "must be the absolute path"),
        (given(records="/var/lib/../x"), "records", "must be the absolute path"),
        (given(deep="yes"), "deep", "must be true or false"),
        (given(instance=1), "instance", "must be a name of letters"),
        (given(role=PropertyValue(pulumi.StringAsset("x"))), "role", "can't be handed"),
        (given(rolle="x"), "rolle", "is no input of a Playbook; those are host, role"),
    ],
)
def test_refused(refused: dict[str, Any], path: str, reason: str) -> None:
    found = problems(refused)
    assert [each for each, _ in found] == [path]
    assert reason in found[0][1]


def test_no_value_is_repeated_in_a_refusal() -> None:
    found = problems(given(host={"hostKey": "hunter2-canary"}, timeout="hunter2-canary"))
    assert "hunter2-canary" not in repr(found)


def test_defaults(project: Path) -> None:
    parsed = inputs.parse({key: wrap(value) for key, value in given(role="nginx").items()}, cwd=project)
    assert parsed.playbooks == project / "playbooks"
    assert (parsed.timeout, parsed.host.port, parsed.host.become) == (1800, 22, True)
    assert parsed.removing == {"nginx_state": "absent"}


def test_removal_goes_over_the_variables_and_may_be_empty(project: Path) -> None:
    plain = given(role="my-role", variables={"my_role_state": "present", "x": 1})
    properties = {key: wrap(value) for key, value in plain.items()}
    assert inputs.parse(properties, cwd=project).removing == {"my_role_state": "absent", "x": 1}
    properties["removal"] = wrap({})
    assert inputs.parse(properties, cwd=project).removing == {"my_role_state": "present", "x": 1}


def test_a_relative_key_is_the_projects(project: Path) -> None:
    properties = {key: wrap(value) for key, value in given(host={"keyFile": "key"}).items()}
    assert inputs.parse(properties, cwd=project).host.key_file == str(project / "key")
