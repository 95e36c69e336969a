"""Two fronts and gateways behind one address: what follows from `front.floating`."""

from typing import Any

import pytest

from slipway.deployment.declaration import declaration
from slipway.layers import LAYERS
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import deployment, problems, roles, steps
from tests.unit.settings.documents import OTHER_KEY, REMOVED, THIRD_KEY, good, many, pair, with_changes

FLOATING = {"address": "10.0.0.100/24", "secret": THIRD_KEY}


def floating(*changes: tuple[str, Any]) -> dict[str, Any]:
    return with_changes(pair(), ("front.floating", FLOATING), *changes)


def test_front_gateway_and_address_are_on_both_and_the_counters_on_the_first() -> None:
    of = deployment(floating())
    assert [machine.name for machine in of.front.machines] == ["gpu-1", "gpu-2"]
    assert of.front.endpoint == "https://10.0.0.100/v1"
    found = steps(of)
    for machine in ("gpu-1", "gpu-2"):
        assert {f"{machine}/{name}" for name in ("litellm", "nginx", "keepalived", "acceptance")} <= found.keys()
        assert f"{machine}/nginx" in found[f"{machine}/keepalived"].after
        assert {"gpu-1/keepalived", "gpu-2/keepalived"} <= set(found[f"{machine}/acceptance"].after)
        assert "gpu-1/counters" in found[f"{machine}/nginx"].after
    assert "gpu-2/counters" not in found
    assert of.runs(of.machines["gpu-2"])[-3:] == ["litellm", "nginx", "keepalived"]
    assert "counters" in of.runs(of.machines["gpu-1"])


def test_each_step_comes_after_steps_before_it() -> None:
    of, below = deployment(floating()), set[str]()
    for layer in LAYERS:
        for step in layer.steps(of):
            assert set(step.after) | set(step.again_after) <= below, step.key
            below.add(step.key)


def test_one_gateway_and_one_front_change_at_a_time() -> None:
    found = steps(deployment(floating()))
    for name in ("litellm", "nginx"):
        assert f"gpu-1/{name}" in found[f"gpu-2/{name}"].after
        assert f"gpu-2/{name}" not in found[f"gpu-1/{name}"].after
    both = with_changes(
        many(), ("front.floating", FLOATING), ("pools.edge.hosts.edge-2", {"address": "10.0.0.32", "user": "ubuntu"})
    )
    first = {"edge-1/litellm", "edge-1/litellm-private"}
    found = steps(deployment(both))
    for name in ("litellm", "litellm-private"):
        assert first <= set(found[f"edge-2/{name}"].after)
        assert not first & set(found[f"edge-1/{name}"].after)


def test_each_front_asks_both_gateways_and_all_engines() -> None:
    told = roles(deployment(floating()))
    keys = set()
    for machine in ("gpu-1", "gpu-2"):
        routes = told[f"{machine}/nginx"]["nginx_routes"]
        peers = routes["through"]["open"]
        assert [(each["id"], each["address"], each["port"], each["health"]) for each in peers] == [
            ("litellm@gpu-1", "10.0.0.11", 4000, "/health/liveliness"),
            ("litellm@gpu-2", "10.0.0.12", 4000, "/health/liveliness"),
        ]
        keys |= {each["key"] for each in peers}
        keys.add(told[f"{machine}/litellm"]["service_secrets"]["SLIPWAY_FRONT_KEY"])
        backends = routes["models"]["m"]["backends"]
        assert [backend["address"] for backend in backends] == ["10.0.0.11", "10.0.0.12"]
        assert all(backend["native"] for backend in backends)
        assert told[f"{machine}/litellm"]["service_ingress"] == ["10.0.0.11", "10.0.0.12"]
    (key,) = keys
    assert len(key) == 64
    assert key != OTHER_KEY


def test_private_teams_have_a_gateway_of_their_own_on_both() -> None:
    document = with_changes(
        many(), ("front.floating", FLOATING), ("pools.edge.hosts.edge-2", {"address": "10.0.0.32", "user": "ubuntu"})
    )
    of = deployment(document)
    assert [(each.machine.name, each.name) for each in of.gateways] == [
        *(("edge-1", name) for name in ("litellm", "litellm-private")),
        *(("edge-2", name) for name in ("litellm", "litellm-private")),
    ]
    told = roles(of)
    private = told["edge-2/nginx"]["nginx_routes"]["through"]["private"]
    assert [(each["id"], each["address"], each["port"]) for each in private] == [
        ("litellm-private@edge-1", "10.0.0.31", 4001),
        ("litellm-private@edge-2", "10.0.0.32", 4001),
    ]
    assert told["edge-2/acceptance"]["acceptance_private_gateway"] == "slipway-litellm-private.service"
    ports = {entry["setting"] for entry in told["edge-2/preflight"]["preflight_ports"]}
    assert ports == {"gateway.port", "gateway.private_port", "front.port"}
    assert "front.floating.counters_port" in {entry["setting"] for entry in told["edge-1/preflight"]["preflight_ports"]}


def test_both_share_counters_and_authority_and_no_other_name() -> None:
    told = roles(deployment(floating()))
    first, second = told["gpu-1/nginx"], told["gpu-2/nginx"]
    assert first["nginx_authority_seed"] == second["nginx_authority_seed"]
    assert first["nginx_counters"] == {**second["nginx_counters"], "front": "gpu-1"}
    counters = told["gpu-1/counters"]
    assert first["nginx_counters"] == {
        "address": counters["counters_address"],
        "port": counters["counters_port"],
        "password": counters["counters_password"],
        "front": "gpu-1",
        "fronts": 2,
    }
    assert (first["nginx_server_name"], first["nginx_names"]) == ("10.0.0.100", ["10.0.0.11"])
    assert second["nginx_names"] == ["10.0.0.12"]
    named = roles(deployment(floating(("front.server_name", "llm.example.com"))))["gpu-2/nginx"]
    assert (named["nginx_server_name"], named["nginx_names"]) == ("llm.example.com", ["10.0.0.12", "10.0.0.100"])


def test_keepalived_knows_its_peer_and_its_rank() -> None:
    told = roles(deployment(floating(("front.floating.interface", "eth1"), ("front.floating.router_id", 7))))
    first, second = told["gpu-1/keepalived"], told["gpu-2/keepalived"]
    assert (first["keepalived_own"], first["keepalived_peers"]) == ("10.0.0.11", ["10.0.0.12"])
    assert (second["keepalived_own"], second["keepalived_peers"]) == ("10.0.0.12", ["10.0.0.11"])
    assert first["keepalived_priority"] > second["keepalived_priority"]
    assert len(first["keepalived_password"]) == 8
    same = ("keepalived_address", "keepalived_interface", "keepalived_router_id", "keepalived_password")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert [first[name] for name in same[:3]] == ["10.0.0.100/24", "eth1", 7]


def test_its_secrets_are_secrets_and_tell_nothing_of_one_another() -> None:
    plan = deployment(floating()).front.floating
    assert plan is not None
    made = [plan.password, plan.counters_password, plan.authority_seed]
    assert all(isinstance(secret, Secret) for secret in made)
    opened = [secret.get_secret_value() for secret in made]
    assert not any(one[:8] == other[:8] for one in opened for other in opened if one is not other)
    assert THIRD_KEY not in "".join(opened)
    other = deployment(floating(("front.floating.secret", OTHER_KEY))).front.floating
    assert other is not None
    assert other.authority_seed.get_secret_value() != opened[2]


def test_a_sites_certificate_needs_no_authority(tmp_path: Any) -> None:
    for name in ("crt", "key"):
        (tmp_path / name).write_text(name)
    site = floating(("front.certificate_file", str(tmp_path / "crt")), ("front.key_file", str(tmp_path / "key")))
    assert "nginx_authority_seed" not in roles(deployment(site))["gpu-2/nginx"]


def test_policies_are_told_of_both() -> None:
    front = declaration(deployment(floating()), floating())["front"]
    assert front["machines"] == ["gpu-1", "gpu-2"]
    assert front["floatingAddress"] == "10.0.0.100/24"


def test_one_front_is_told_of_none_of_it() -> None:
    of = deployment(pair())
    assert of.front.others == ()
    assert not [key for key in steps(of) if "counters" in key or "keepalived" in key]
    assert not {"nginx_counters", "nginx_authority_seed"} & roles(of)["gpu-1/nginx"].keys()
    assert "machines" not in declaration(of, pair())["front"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("pools.main.hosts.gpu-2", REMOVED), "front.floating: the pool main has one machine"),
        (("front.floating.address", "10.0.0.12/24"), "front.floating.address: 10.0.0.12 is the address of gpu-2"),
        (("front.floating.address", "10.0.0.100"), "front.floating.address: '10.0.0.100' has no prefix"),
        (("front.floating.address", "10.0.0.255/24"), "front.floating.address: '10.0.0.255/24' is the network itself"),
        (
            ("front.floating.interface", "eth0; reboot"),
            "front.floating.interface: 'eth0; reboot' is no network interface",
        ),
        (("front.floating.router_id", 256), "front.floating.router_id: "),
        (("front.floating.secret", "short"), "front.floating.secret: "),
        (("front.floating.secret", REMOVED), "front.floating.secret: "),
        (
            ("front.floating.counters_port", 4000),
            "gateway.port: gateway.port and front.floating.counters_port are both",
        ),
        (("gateway.engine_key", REMOVED), "gateway.engine_key: missing"),
        (
            ("pools.main.hosts.gpu-1", {"address": "8.8.8.8", "user": "u"}),
            "pools.main.hosts.gpu-1.private_address: gpu-1 is called by other hosts",
        ),
    ],
)
def test_what_could_not_move_is_refused(change: tuple[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(floating(change), "s")
    assert [one for one in refused.value.problems if one.removeprefix("slipway:platform.").startswith(line)], (
        refused.value.problems
    )


def test_another_pool_of_the_front_is_refused() -> None:
    document = with_changes(
        floating(), ("pools.edge", {"hosts": {"e": {"address": "10.0.0.40", "user": "u"}}}), ("front.pool", "main")
    )
    with pytest.raises(SettingsError) as refused:
        parse(document, "s")
    assert "each front is on a gateway's machine" in str(refused.value.problems)


def test_a_model_may_not_be_called_like_a_part() -> None:
    for name in ("counters", "keepalived"):
        document = with_changes(good(), ("models.m", REMOVED), (f"models.{name}", {"source": {"host_path": "/srv/m"}}))
        (problem,) = problems(document)
        assert problem.startswith(f"models.{name}: its unit would be {name}")
