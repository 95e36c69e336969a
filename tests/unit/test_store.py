"""A store in the settings: which steps follow, and what each is told."""

from typing import Any

import pytest

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
        (stack(path="/var/lib/slipway/models"), "store.path: /var/lib/slipway/models is not the store's alone"),
        (
            changed(stack({"store_path": "/srv/m"}), "store", REMOVED),
            "models.m.source.store_path: is a folder of the store's",
        ),
        (
            changed(stack(), "pools.main.hosts.gpu-1.address", "gpu-1.example.com"),
            "private_address: gpu-1 has the store from which other hosts fetch m",
        ),
        (stack({**HUB, "store_path": "/srv/m"}), "give exactly one of path, host_path, store_path, mirror and hub"),
    ],
)
def test_what_does_not_go_together_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(document, "s")
    assert said in refused.value.report


def test_a_folder_of_the_stores_host() -> None:
    told = roles(
        deployment(changed(stack({"store_path": "/srv/m/"}), "models.m.catalog", "Qwen/Qwen2.5-1.5B-Instruct"))
    )
    assert told["gpu-1/stored-m"]["stored_model_source"] == {"kind": "store_path", "path": "/srv/m"}
