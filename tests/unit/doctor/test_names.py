"""The names that a host needs: which a stack makes it ask for, that they are asked for within a time, and when."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from slipway.doctor.names import names
from slipway.doctor.order import Moment, order
from tests.fixtures.gpu_simulator.asking import examine
from tests.unit.deployment.stacks import deployment, roles
from tests.unit.doctor.hosts import CARD, asked, card, promised, results
from tests.unit.roles.loading import load
from tests.unit.roles.rendering import told_by
from tests.unit.settings.documents import changed, good, pair

MIRROR = {"mirror": "https://mirror.test:8443/models/", "sha256": {"config.json": "a" * 64}}
HUB = {"hub": "o/n", "revision": "a" * 40}
BUCKET = {"s3": "s3://models/m", "sha256": MIRROR["sha256"]}
SIGNING = load("action_plugins/stored_files.py")
verdicts = load("library/gpu_checks.py")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"host_path": "/srv/models/m"}, []),
        (MIRROR, ["mirror.test"]),
        ({**MIRROR, "mirror": "http://10.0.0.5/models/"}, []),
        (HUB, ["huggingface.co"]),
        ({**HUB, "endpoint": "https://hub.test/"}, ["hub.test"]),
        ({**BUCKET, "region": "eu-central-1"}, ["models.s3.eu-central-1.amazonaws.com"]),
        ({**BUCKET, "s3": "s3://a.b/m", "region": "eu-central-1"}, ["s3.eu-central-1.amazonaws.com"]),
        ({**BUCKET, "region": "us-east-1"}, ["models.s3.amazonaws.com"]),
        ({**BUCKET, "region": "cn-north-1"}, ["models.s3.cn-north-1.amazonaws.com.cn"]),
        ({**BUCKET, "endpoint": "https://minio.test:9000"}, ["minio.test"]),
    ],
)
def test_a_models_source(source: dict[str, Any], expected: list[str]) -> None:
    stack = deployment(changed(good(), "models.m.source", source))
    assert names(stack, stack.machines["gpu-1"]) == expected


@pytest.mark.parametrize("bucket", ["models", "my.models"])
def test_a_bucket_is_asked_for_where_its_addresses_are_signed_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ID", "SECRET"):
        monkeypatch.setenv(f"AWS_{'ACCESS_KEY_ID' if name == 'ID' else 'SECRET_ACCESS_KEY'}", name)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    session = boto3.Session()
    regions = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("s3", partition)
    ]
    assert len(regions) > 30
    document = changed(good(), "models.m.source", {**BUCKET, "s3": f"s3://{bucket}/m"})
    for region in regions:
        stack = deployment(changed(document, "models.m.source.region", region))
        source = stack.served["m"].files.source
        address = SIGNING.signed(source)["signed"]["config.json"]
        assert names(stack, stack.machines["gpu-1"]) == [urlsplit(address).hostname], region


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


def test_a_stores_host_without_gpus_is_asked_for_names_and_for_nothing_else(tmp_path: Path) -> None:
    document = changed(changed(pair(), "models.m.source", MIRROR), "store", {"host": "gpu-2"})
    stack = deployment(document)
    fetching = stack.machines["gpu-2"]
    assert {key: bool(value["preflight_order"]) for key, value in roles(stack).items() if "preflight" in key} == {
        "gpu-1/preflight": False,
        "gpu-2/preflight": True,
    }
    host = card(tmp_path)
    host.resolve()
    for moment in (Moment.PREFLIGHT, None):
        wanted = order(stack, fetching, moment)
        assert not order(stack, stack.machines["gpu-1"], moment)
        assert (wanted["names"], [each["id"] for each in wanted["checks"]]) == (["mirror.test"], ["host.dns"])
        report = examine(host, wanted)
        assert [each["state"] for each in report["results"]] == ["failed"]
        # There is a driver's library, and nobody has asked it.
        assert (report["driver"], report["gpus"]) == ("", [])


def test_an_up_says_which_names_preflight_did_not_find(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.resolve()
    report = examine(host, {**asked(promised(CARD, 1), Moment.PREFLIGHT), "names": ["hub.test"]})
    looked = {"notes": verdicts.problems(report, "warning"), "unseen": verdicts.unseen(report), "report": report}
    known = {
        "preflight_survey": {"host": {"system": "Debian"}},
        "preflight_checks": looked,
        "preflight_order": {"x": 1},
    }

    warnings = told_by("preflight", known)["warnings"]

    assert [warning.partition(":")[0] for warning in warnings if "host.dns" in warning] == ["host.dns"]
    assert "hub.test is not known to the host's name servers" in warnings[0]
    (host.root / "usr/bin/getent").unlink()
    looked["unseen"] = verdicts.unseen(examine(host, {**asked(promised(CARD, 1), Moment.PREFLIGHT), "names": ["a"]}))
    looked["notes"] = []
    assert [each.partition(":")[0] for each in told_by("preflight", known)["warnings"]] == ["host.dns is unknown"]
    assert told_by("preflight", {**known, "preflight_order": {}}) == {"system": "Debian"}


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
