"""A gateway and a front of other kinds: one folder and one role each; and no file of the project knows of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.settings.documents import many, with_changes

FIXTURE = "tests/fixtures/fake_edge"
LOOK = """\
import runpy
import sys
import slipway.fronts
import slipway.gateways
slipway.gateways.__path__.append(sys.argv[1] + "/gateways")
slipway.fronts.__path__.append(sys.argv[1] + "/fronts")
runpy.run_path(sys.argv[2])
"""


def looked_at(root: Path, document: dict[str, Any]) -> dict[str, Any]:
    """What follows from the document where both folders lie beside those of the project."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, str(root / FIXTURE), str(root / "tests/fixtures/look.py")],
        input=json.dumps(document),
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def stack(*changes: tuple[Any, Any]) -> dict[str, Any]:
    """Both, with a second gateway for private teams."""
    return with_changes(many(), ("gateway.name", "fake_gateway"), ("front.name", "fake_front"), *changes)


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Any]:
    return looked_at(root, stack())


def test_their_units_are_called_after_them(found: dict[str, Any]) -> None:
    steps = {key: step["role"] for key, step in found["steps"].items() if "fake" in key}
    assert steps == {
        "edge-1/program-fake-gateway": "fake_gateway",
        "edge-1/fake-gateway": "service",
        "edge-1/fake-gateway-private": "service",
        "edge-1/fake-front": "fake_front",
    }
    (ports,) = [
        step["variables"]["preflight_ports"] for key, step in found["steps"].items() if key == "edge-1/preflight"
    ]
    assert [port["unit"] for port in ports] == [
        "slipway-fake-gateway.service",
        "slipway-fake-gateway-private.service",
        "slipway-fake-front.service",
    ]


def test_acceptance_goes_through_them(found: dict[str, Any]) -> None:
    step = found["steps"]["edge-1/acceptance"]
    assert {"edge-1/fake-gateway", "edge-1/fake-gateway-private", "edge-1/fake-front"} <= set(step["after"])
    assert step["variables"]["acceptance_ca_file"] == "/etc/slipway/fake-front/ca.crt"
    assert step["variables"]["acceptance_front_unit"] == "slipway-fake-front.service"
    assert step["variables"]["acceptance_gateway_unit"] == "slipway-fake-gateway.service"


def test_they_are_declared(found: dict[str, Any]) -> None:
    declared = found["declaration"]
    assert [(each["name"], each["program"], each["release"]) for each in declared["gateways"]] == [
        ("fake-gateway", "fake_gateway", "1.0"),
        ("fake-gateway-private", "fake_gateway", "1.0"),
    ]
    assert (declared["front"]["name"], declared["front"]["tlsVersions"]) == ("fake-front", ["TLSv1.3"])
    runs = next(machine["runs"] for machine in declared["machines"] if machine["name"] == "edge-1")
    assert runs == ["fake-gateway", "fake-gateway-private", "fake-front"]


def test_no_other_gateway_or_front_is_spoken_of(found: dict[str, Any]) -> None:
    assert not re.findall(r"litellm|nginx", json.dumps([found["steps"], found["declaration"]]), re.IGNORECASE)


@pytest.mark.parametrize("name", ["fake-gateway", "fake-gateway-private", "fake-front", "fake-renewal"])
def test_their_names_are_no_models(root: Path, name: str) -> None:
    document = stack((("models", name), {"source": {"host_path": "/srv/x"}, "gpus": 0}))
    assert looked_at(root, document)["problems"] == [
        f"slipway:platform.models.{name}: its unit would be {name}, which is something else's; rename it"
    ]


def test_the_settings_know_them(found: dict[str, Any]) -> None:
    definitions = found["schema"]["$defs"]
    assert "fake_gateway" in definitions["Gateway"]["properties"]["name"]["enum"]
    assert "fake_front" in definitions["Front"]["properties"]["name"]["enum"]


def test_no_other_file_of_the_project_knows_them(root: Path) -> None:
    own = (FIXTURE, "tests/unit/test_other_edge.py")
    tracked = subprocess.run(
        ["git", "grep", "-lE", "fake[_-](gateway|front)"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split()
    assert [name for name in tracked if not name.startswith(own)] == []
