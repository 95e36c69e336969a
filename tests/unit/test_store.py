"""A store in the settings: which steps follow, and what each is told."""

from typing import Any

import pytest

from slipway.layers.preflight import disk_gib
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from tests.unit.deployment.stacks import deployment, roles, steps
from tests.unit.settings.documents import REMOVED, changed, pair, with_changes

HUB = {"hub": "o/m", "revision": "0" * 40, "token": "hf_0123456789"}


def stack(source: dict[str, Any] | None = None, **store: Any) -> dict[str, Any]:
    """Two hosts, a model that is brought, and a store on the first."""
    return with_changes(pair(), ("models.m.source", source or HUB), ("store", {"host": "gpu-1", **store}))


def test_one_fetches_and_all_have_it_from_there() -> None:
    told = roles(deployment(stack()))
    assert told["gpu-1/stored-m"]["stored_model_source"]["kind"] == "hub"
    assert told["gpu-1/stored-m"]["stored_model_token"] == HUB["token"]
    folder = told["gpu-1/stored-m"]["stored_model_folder"].rpartition("/")[2]
    assert told["gpu-1/model-m"]["model_source"] == {"kind": "store", "path": f"/var/lib/slipway/store/{folder}"}
    assert told["gpu-2/model-m"]["model_source"] == {"kind": "store", "url": f"rsync://10.0.0.11:8730/store/{folder}"}
    assert "gpu-2/stored-m" not in told
    # The token and the hub's client are the store's matter alone.
    assert "model_hub_token" not in told["gpu-2/model-m"]
    assert not any(key.endswith("program-hub") for key in told)
    assert told["gpu-1/store"]["store_readers"] == ["10.0.0.12"]
    assert told["gpu-2/store"] == {}
    port = {
        "port": 8730,
        "unit": "slipway-store.service",
        "purpose": "the model store",
        "setting": "store.port",
        "remote": True,
    }
    assert port in told["gpu-1/preflight"]["preflight_ports"]


def test_hosts_fetch_at_the_same_time_once_the_store_has_it() -> None:
    of = steps(deployment(stack()))
    for host in ("gpu-1", "gpu-2"):
        assert {"gpu-1/stored-m", f"{host}/store"} <= set(of[f"{host}/model-m"].after)
        assert not any("model-m" in key for key in of[f"{host}/model-m"].after)


def test_a_store_that_is_added_changes_nothing_for_engines() -> None:
    without, with_ = roles(deployment(changed(stack(), "store", REMOVED))), roles(deployment(stack()))
    for key in ("gpu-1/m", "gpu-2/m"):
        assert without[key] == with_[key]
    assert without["gpu-2/model-m"]["model_record"] == with_["gpu-2/model-m"]["model_record"]


def test_what_is_there_already_is_no_matter_of_the_store() -> None:
    told = roles(deployment(stack({"host_path": "/srv/models/m"})))
    assert told["gpu-2/model-m"]["model_source"]["kind"] == "host_path"
    assert "gpu-1/stored-m" not in told
    assert told["gpu-1/store"]["store_address"] == ""


def test_another_version_has_another_folder() -> None:
    folders = {
        roles(deployment(stack({**HUB, "revision": revision * 40})))["gpu-1/stored-m"]["stored_model_folder"]
        for revision in "01"
    }
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (stack(host="gpu-9"), "store.host: there is no host 'gpu-9'"),
        (
            stack(path="/var/lib/slipway/models"),
            "store.path: /var/lib/slipway/models has /var/lib/slipway/models in it",
        ),
        (
            changed(stack({"store_path": "/srv/m"}), "store", REMOVED),
            "models.m.source.store_path: is a folder of the store's",
        ),
        (
            changed(stack(), "pools.main.hosts.gpu-1.address", "gpu-1.example.com"),
            "private_address: gpu-1 has the store from which other hosts fetch m",
        ),
        *(
            (stack({"mirror": "https://m.example/", "sha256": {name: "0" * 64}}), f"write {plain!r}")
            for name, plain in (("./x.safetensors", "x.safetensors"), ("a//x", "a/x"), ("a/./x", "a/x"), ("x/", "x"))
        ),
        (
            stack({"mirror": "https://me:pa55word@m.example/", "sha256": {"x": "0" * 64}}),
            "mirror: has a login in its address, which would stand in states, logs and messages",
        ),
        (stack({**HUB, "endpoint": "https://me@hub.example/"}), "endpoint: has a login in its address"),
        (stack({**HUB, "store_path": "/srv/m"}), "give exactly one of path, host_path, store_path, mirror, s3 and hub"),
    ],
)
def test_what_does_not_go_together_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(document, "s")
    assert said in refused.value.report
    assert "pa55word" not in refused.value.report


BUCKET = {"s3": "s3://models/m", "region": "eu-west-1", "sha256": {"config.json": "0" * 64}}


@pytest.mark.parametrize("stored", [True, False])
def test_only_what_is_fetched_from_a_bucket_sees_credentials(stored: bool) -> None:
    """Those of the machine that runs the `up`, by name: no value is in any step."""
    document = changed(stack({**BUCKET, "profile": "on-site"}), "models.m.catalog", "Qwen/Qwen2.5-1.5B-Instruct")
    found = steps(deployment(document if stored else changed(document, "store", REMOVED)))
    fetching = {"gpu-1/stored-m"} if stored else {"gpu-1/model-m", "gpu-2/model-m"}
    assert {key for key, step in found.items() if step.environment} == fetching
    assert {step.environment for step in found.values() if step.environment} == {("AWS_*",)}
    key = "stored_model_source" if stored else "model_source"
    for step in fetching:
        assert found[step].variables[key]["kind"] == "s3"
        assert found[step].variables[key]["profile"] == "on-site"


def test_a_folder_of_the_stores_host() -> None:
    told = roles(
        deployment(changed(stack({"store_path": "/srv/m/"}), "models.m.catalog", "Qwen/Qwen2.5-1.5B-Instruct"))
    )
    assert told["gpu-1/stored-m"]["stored_model_source"] == {"kind": "store_path", "path": "/srv/m"}


@pytest.mark.parametrize(
    "path",
    [
        *("//", "/usr", "/etc/slipway/store", "/home", "/home/", "/opt", "/var", "/var/lib", "/srv", "/srv/.", "/mnt"),
        *("/srv/../home", "/srv/store/..", "/run/store", "/boot", "/root", "/var/log"),
        *("/var/lib/slipway", "/var/lib/slipway/models/store", "/var/lib/slipway/records", "/var/lib/slipway/m"),
        *("/data/models", "/data/models/", "/data", "/data/models/m", "/data/models/m/store"),
    ],
)
@pytest.mark.parametrize("key", ["host_path", "store_path"])
def test_a_folder_that_is_not_the_stores_alone_is_refused(path: str, key: str) -> None:
    """It is removed with all that is in it."""
    document = changed(stack({key: "/data/models/m"}, path=path), "models.m.catalog", "Qwen/Qwen2.5-1.5B-Instruct")
    with pytest.raises(SettingsError) as refused:
        parse(document, "s")
    assert "store.path: /" in refused.value.report
    assert "a removal of the store would take it along: name a folder of its own" in refused.value.report


@pytest.mark.parametrize(
    "path",
    ["/var/lib/slipway/store", "/var/lib/slipway/store/", "/srv/slipway-store", "/data/store", "/data/models/m2"],
)
def test_a_folder_of_its_own_is_accepted(path: str) -> None:
    parse(
        changed(stack({"store_path": "/data/models/m"}, path=path), "models.m.catalog", "Qwen/Qwen2.5-1.5B-Instruct"),
        "s",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("store.port", 4000)], "gateway.port and store.port are both 4000 on gpu-1"),
        ([("store.port", 443)], "front.port and store.port are both 443 on gpu-1"),
        ([("store.port", 22)], "store.port and its SSH port are both 22 on gpu-1"),
        ([("models.m.engine.port", 8730)], "store.port and models.m.engine.port are both 8730 on gpu-1"),
        (
            [
                ("pools.main.driver", {"source": "vendor", "dcgm": True}),
                ("pools.main.gpu", "l4"),
                ("gateway.port", 9400),
            ],
            "gateway.port and pools.main.driver.dcgm are both 9400 on gpu-1",
        ),
    ],
)
def test_ports_that_are_taken(changes: list[tuple[str, Any]], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(with_changes(stack(), *changes), "s")
    assert f"{said}; one would not start: choose another port" in refused.value.report


def test_no_model_gets_the_stores_port() -> None:
    own = roles(deployment(stack()))["gpu-1/preflight"]["preflight_ports"][0]["port"]
    moved = deployment(stack(port=own))
    assert own not in {each.port for each in moved.instances if each.machine.name == "gpu-1"}


def test_the_stores_host_may_not_be_missing() -> None:
    """Without it no other host gets a model."""
    edge = ("pools.edge", {"hosts": {"edge-1": {"address": "10.0.0.90", "user": "u"}}})
    may = ("pools.main.may_be_missing", 1)
    machines = deployment(with_changes(stack(), edge, may)).machines
    assert [machines[name].may_be_missing for name in ("gpu-1", "gpu-2")] == [False, True]
    with pytest.raises(SettingsError) as refused:
        parse(
            with_changes(
                stack(),
                edge,
                ("pools.edge.may_be_missing", 1),
                ("pools.edge.hosts.edge-2", {"address": "10.0.0.91", "user": "u"}),
                ("store.host", "edge-2"),
            ),
            "s",
        )
    assert "the store are on edge-1 and edge-2, which may not be missing" in refused.value.report


def test_the_stores_host_needs_room_for_all_models() -> None:
    edge = ("pools.edge", {"tier": "prod", "gpus": 0, "hosts": {"edge-1": {"address": "10.0.0.90", "user": "u"}}})
    source = {"hub": "Qwen/Qwen2.5-1.5B-Instruct", "revision": "0" * 40}
    there = deployment(with_changes(stack(source), edge, ("store.host", "edge-1")))
    without = deployment(with_changes(stack(source), edge))
    assert disk_gib(there, there.machines["edge-1"]) > disk_gib(without, without.machines["edge-1"])


def test_what_the_store_has_anew_reaches_its_hosts() -> None:
    of = steps(deployment(stack()))
    assert of["gpu-2/model-m"].again_after == of["gpu-1/model-m"].again_after == ("gpu-1/stored-m",)
