"""The names that a host needs: which a stack makes it ask for, that they are asked for within a time, and when."""

import time
from pathlib import Path
from typing import Any

import pytest

from slipway.doctor.names import names
from slipway.doctor.order import Moment
from tests.unit.deployment.stacks import deployment
from tests.unit.doctor.hosts import CARD, asked, card, promised, results
from tests.unit.settings.documents import changed, good, pair

MIRROR = {"mirror": "https://mirror.test:8443/models/", "sha256": {"config.json": "a" * 64}}
HUB = {"hub": "o/n", "revision": "a" * 40}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"host_path": "/srv/models/m"}, []),
        (MIRROR, ["mirror.test"]),
        ({**MIRROR, "mirror": "http://10.0.0.5/models/"}, []),
        (HUB, ["huggingface.co"]),
        ({**HUB, "endpoint": "https://hub.test/"}, ["hub.test"]),
    ],
)
def test_a_models_source(source: dict[str, Any], expected: list[str]) -> None:
    stack = deployment(changed(good(), "models.m.source", source))
    assert names(stack, stack.machines["gpu-1"]) == expected


def test_mirrors_of_python_and_of_the_driver() -> None:
    stack = promised(CARD, 1, source="vendor")
    assert names(stack, next(iter(stack.machines.values()))) == ["developer.download.nvidia.com"]
    document = changed(good(), "pools.main.python_mirror", "https://python.test/builds/")
    stack = deployment(document)
    assert names(stack, stack.machines["gpu-1"]) == ["python.test"]


def test_a_store_asks_for_all_and_the_others_for_nothing() -> None:
    document = changed(changed(pair(), "models.m.source", MIRROR), "store", {"host": "gpu-2"})
    stack = deployment(document)
    assert {name: names(stack, machine) for name, machine in stack.machines.items()} == {
        "gpu-1": [],
        "gpu-2": ["mirror.test"],
    }


def test_a_host_that_needs_no_name_asks_for_none(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.resolve()
    found = results(host, asked(promised(CARD, 1), Moment.PREFLIGHT))["host.dns"]
    assert (found["state"], found["evidence"]) == ("skipped", ["the stack makes this host ask for no name"])


def test_a_host_on_which_nobody_can_be_asked_is_no_pass(tmp_path: Path) -> None:
    host = card(tmp_path)
    found = results(host, {**asked(promised(CARD, 1), Moment.PREFLIGHT), "names": ["hub.test"]})["host.dns"]
    assert found["state"] == "unknown"


def test_many_dead_names_cost_the_time_of_one(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.resolve(seconds=30)
    wanted = asked(promised(CARD, 1), Moment.PREFLIGHT)
    wanted["checks"] = [{**each, "limit": 0.5} for each in wanted["checks"] if each["id"] == "host.dns"]
    wanted["names"] = [f"n{number}.test" for number in range(16)]
    began = time.monotonic()
    assert len(results(host, wanted)["host.dns"]["evidence"]) == 16
    assert time.monotonic() - began < 5


def test_names_are_asked_for_before_anything_is_changed_and_not_every_minute() -> None:
    stack = promised(CARD, 1)
    for moment, due in {Moment.PREFLIGHT: True, None: True, Moment.WATCH: False, Moment.PROOF: False}.items():
        found = asked(stack, moment)
        assert ("names" in found, "host.dns" in {each["id"] for each in found["checks"]}) == (due, due)
