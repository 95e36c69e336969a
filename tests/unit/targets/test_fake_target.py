"""A target of another distribution, whose machines get their addresses with the `up`; and no file of the project knows of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit.settings.documents import OTHER_KEY, REMOVED, THIRD_KEY, changed, good, with_changes

FIXTURE = "tests/fixtures/fake_target"
MADE = {"will_have": {"gpu-1": "192.0.2.71", "gpu-2": "192.0.2.72"}}
EDGE = {"hosts": {"edge-1": {"address": "203.0.113.31", "private_address": "10.0.0.31", "user": "ubuntu"}}}
UNKNOWN = "[unknown]"


def looked_at(root: Path, document: dict[str, Any], *, installed: bool = True) -> dict[str, Any]:
    """What follows from the document where the fake target's distribution is installed."""
    paths = [str(root), *([str(root / FIXTURE)] if installed else [])]
    ran = subprocess.run(
        [sys.executable, "-P", str(root / FIXTURE / "look.py")],
        input=json.dumps(document),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def stack(*changes: tuple[Any, Any]) -> dict[str, Any]:
    """Two machines that are made, and nothing else."""
    return with_changes(good(), ("pools.main", {"made": MADE}), ("gateway.engine_key", OTHER_KEY), *changes)


def command(found: dict[str, Any], key: str) -> list[str]:
    """What an engine is started with, as the plugin is told."""
    told: list[str] = found["playbooks"][key]["variables"]["service_command"]
    return told


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Any]:
    return looked_at(root, stack())


@pytest.fixture(scope="module")
def mixed(root: Path) -> dict[str, Any]:
    """With gateways and front on a host that one owns."""
    private = {"key": THIRD_KEY, "private": True}
    openai = {
        "models.gpt": {"provider": "openai"},
        "providers.openai": {"key": "sk-canary"},
        "gateway.teams.b": private,
    }
    return looked_at(root, stack(("pools.edge", EDGE), *openai.items()))


def test_a_preview_has_every_step_and_says_unknown_where_an_address_belongs(found: dict[str, Any]) -> None:
    playbooks = found["preview"]["playbooks"]
    made = {f"made-{name}-{side}" for name in MADE["will_have"] for side in ("public", "private")}
    assert {"gpu-1/acceptance", "gpu-2/preflight", "gpu-2/m"} <= set(found["steps"])
    assert playbooks.keys() == {*found["steps"], *made}
    assert playbooks["gpu-1/base"]["host"] == {"name": "gpu-1", "user": "cloud", "port": 22, "address": UNKNOWN}
    told = command(found["preview"], "gpu-2/m")
    assert told.count(UNKNOWN) == 1
    assert "--served-model-name=m" in told
    assert [machine["address"] for machine in found["preview"]["platform"]["machines"]] == [UNKNOWN] * 2


def test_an_up_puts_in_the_address_of_the_right_side(found: dict[str, Any]) -> None:
    up = found["up"]
    assert up["playbooks"]["gpu-2/m"]["host"]["address"] == "gpu-2-public.test"
    assert "--host=gpu-2-private.test" in command(up, "gpu-2/m")
    routes = up["playbooks"]["gpu-1/litellm"]["variables"]["service_files"]["routes.json"]["content"]["models"]
    assert [route["url"].split(":")[1] for route in routes] == ["//127.0.0.1", "//gpu-2-private.test"]
    assert up["playbooks"]["gpu-1/nginx"]["variables"]["nginx_server_name"] == "gpu-1-public.test"
    assert up["outputs"]["endpoint"] == up["outputs"]["clients"]["a"]["base_url"] == "https://gpu-1-public.test/v1"
    assert up["outputs"]["machines"]["gpu-2"] == {
        "address": "gpu-2-public.test",
        "runs": ["m"],
        "preflight": {"warnings": []},
    }
    assert [(each["address"], each["privateAddress"]) for each in up["platform"]["machines"]] == [
        ("gpu-1-public.test", "gpu-1-private.test"),
        ("gpu-2-public.test", "gpu-2-private.test"),
    ]


def test_beside_hosts_that_one_owns_only_what_holds_its_addresses_is_unknown(mixed: dict[str, Any]) -> None:
    preview, up = mixed["preview"]["playbooks"], mixed["up"]["playbooks"]
    assert preview["edge-1/base"]["host"]["address"] == "203.0.113.31"
    fronts = [dict(told["edge-1/nginx"]["variables"]) for told in (preview, up)]
    asked = [front.pop("nginx_routes") for front in fronts]
    assert fronts[0] == fronts[1]
    assert fronts[0]["nginx_server_name"] == "203.0.113.31"
    backends = [told["models"].pop("m")["backends"] for told in asked]
    assert asked[0] == asked[1]
    assert [backend["address"] for backend in backends[0]] == [UNKNOWN, UNKNOWN]
    assert [backend["address"] for backend in backends[1]] == ["gpu-1-private.test", "gpu-2-private.test"]
    assert preview["gpu-1/base"]["host"]["address"] == UNKNOWN
    before, after = (told["edge-1/litellm-private"]["variables"] for told in (preview, up))
    routes = [told["service_files"]["routes.json"]["content"]["models"] for told in (before, after)]
    assert [route["url"] for route in routes[0]] == [UNKNOWN, UNKNOWN]
    assert [route["url"].split(":")[1] for route in routes[1]] == ["//gpu-1-private.test", "//gpu-2-private.test"]
    assert [pair["address"] for pair in before["service_egress"]] == [UNKNOWN, UNKNOWN]
    assert [pair["address"] for pair in after["service_egress"]] == ["gpu-1-private.test", "gpu-2-private.test"]
    assert [pool["target"] for pool in mixed["known"]["pools"]] == ["made", "hosts"]


def test_what_is_checked_without_the_engine_is_what_a_preview_shows(
    found: dict[str, Any], mixed: dict[str, Any]
) -> None:
    """Policies judge the same unknowns in `slipway check`."""
    for of in (found, mixed):
        for key in of["steps"]:
            planned, previewed = of["planned"][key], of["preview"]["playbooks"][key]
            assert planned["host"] == previewed["host"], key
            if key.endswith("/m"):
                assert planned["variables"]["service_command"] == previewed["variables"]["service_command"]
        assert not [line for line in of["findings"] if "address" in line]


def test_what_needs_an_address_now_says_when_it_is_known(found: dict[str, Any], root: Path) -> None:
    assert json.loads(found["clients"])["a"]["base_url"] is None
    assert found["table"].startswith("a: an address that is known after the `up`, key in $SLIPWAY_KEY_A\n")
    assert found["tool"] == (
        "the endpoint's address is known once gpu-1 is made, and a tool's file needs it now: give the stack a front.server_name, "
        "or take base_url from `pulumi stack output clients` after the `up`"
    )
    named = looked_at(root, stack(("front.server_name", "llm.example.com")))
    assert json.loads(named["clients"])["a"]["base_url"] == "https://llm.example.com/v1"
    assert "https://llm.example.com/v1" in named["tool"]


def test_messages_on_a_machine_name_its_own_setting(found: dict[str, Any]) -> None:
    told = found["preview"]["playbooks"]["gpu-1/preflight"]["variables"]
    assert told["preflight_hosts_setting"] == "pools.main.made"


def test_the_settings_know_its_section(root: Path, found: dict[str, Any]) -> None:
    reference = found["reference"]
    assert "| `made` | section | **required**, or another target | Machines that come with the `up`. |" in reference
    assert "| `hosts` | sections by name | **required**, or another target |" in reference
    assert "## `pools.NAME.made`" in reference
    assert "## `pools.NAME.hosts.NAME`" in reference
    validator = jsonschema.Draft202012Validator(found["schema"])
    key = {"env": "SLIPWAY_KEY_A"}
    in_file = stack(("gateway", {"teams": {"a": {"key": key}}}))
    for pool, fine in (
        ({"made": MADE}, True),
        (EDGE, True),
        ({**EDGE, "made": MADE}, False),
        ({"gpus": 0}, False),
        ({"made": None}, False),
    ):
        section = changed(in_file, "pools", {"main": pool})
        assert validator.is_valid({"config": {"slipway:platform": section}}) is fine, pool


WRONG: dict[str, tuple[list[tuple[Any, Any]], list[str]]] = {
    "no target": (
        [("pools.main", {"gpus": 0})],
        ["pools.main: names no machines; nothing could run in this pool: give exactly one of hosts, inventory, made"],
    ),
    "two targets": (
        [("pools.main.hosts", EDGE["hosts"])],
        [
            "pools.main: hosts and made are given; which machines are the pool's could not be told: leave one of them here, and "
            "give the others pools of their own"
        ],
    ),
    "no machine": (
        [("pools.main.made.will_have", {})],
        ["pools.main.made: gives no machine; nothing could run in this pool: ask for one or more, or remove the pool"],
    ),
    "a name twice": (
        [("pools.other", {"hosts": {"gpu-1": {"address": "10.0.0.9", "user": "u"}}})],
        [
            "pools.other.hosts.gpu-1: the pool main has a host of this name too; resources would collide: rename one host"
        ],
    ),
    "a mistyped key": (
        [("pools.main.made.usr", "x")],
        ["pools.main.made.usr: unknown key; it would have no effect; did you mean user?"],
    ),
    "no key for engines": (
        [("gateway.engine_key", REMOVED)],
        [
            "gateway.engine_key: missing, while gpu-2 and the gateway are different hosts; anyone in the private network could "
            "use the engines: set it, for example to {env: SLIPWAY_ENGINE_KEY}"
        ],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_a_line(root: Path, case: str) -> None:
    changes, lines = WRONG[case]
    told = looked_at(root, stack(*changes))["problems"]
    assert [line.removeprefix("slipway:platform.") for line in told] == lines


def test_without_its_distribution_there_is_no_such_target(root: Path) -> None:
    (problem,) = looked_at(root, stack(), installed=False)["problems"]
    known = "slipway:platform.pools.main.made: unknown key; it would have no effect; the keys here are hosts, inventory, tier, "
    assert problem.startswith(known)


def test_no_other_file_of_the_project_knows_it(root: Path) -> None:
    """Only the distribution's own folder says its name, tests of it, and the page that shows how it is done."""
    tracked = subprocess.run(
        ["git", "grep", "-lE", "slipway_made|fake_target"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split()
    programs = ("tests/unit/targets/test_fake_target.py", "tests/e2e/programs/made_machines.py")
    allowed = (FIXTURE, *programs, "CONTRIBUTING.md")
    assert [name for name in tracked if not name.startswith(allowed)] == []
