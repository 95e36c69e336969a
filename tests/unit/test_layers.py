"""What each role is told, in which order, and that a setting reaches its own layers only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import fronts, gateways
from slipway.deployment.teams import key_hash, teams
from slipway.deployment.types import Deployment
from slipway.engines.registry import packages
from slipway.layers import LAYERS
from slipway.layers.hub import PROGRAM as HUB
from slipway.layers.step import Step
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import deployment, ready, roles, stack, steps
from tests.unit.roles.loading import PLAYBOOKS
from tests.unit.roles.rendering import unit
from tests.unit.roles.test_nvidia_driver import rendered
from tests.unit.settings.documents import (
    GOOD_KEY,
    OTHER_KEY,
    REMOVED,
    THIRD_KEY,
    changed,
    good,
    many,
    model_of,
    pair,
    with_changes,
)

HUB_MODEL = {"source": {"hub": "o/m", "revision": "0" * 40}}


def layers_changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The layers with a step that is told something else, is new or is gone."""
    first, second = deployment(before), deployment(after)
    told = roles(first), roles(second)
    found = set()
    for layer in LAYERS:
        keys = {step.key for of in (first, second) for step in layer.steps(of)}
        if any(told[0].get(key) != told[1].get(key) for key in keys):
            found.add(layer.name)
    return found


REACHES: list[tuple[Any, Any, set[str]]] = [
    ("models.m.max_model_len", 4096, {"engines", "gateway", "front"}),
    ("models.m.max_output_tokens", 100, {"gateway", "front"}),
    ("models.m.task", "embedding", {"engines", "gateway", "front", "acceptance"}),
    ("models.m.engine.max_num_seqs", 8, {"engines", "front"}),
    ("models.m.engine.flags", {"enforce-eager": True}, {"engines"}),
    ("models.m.engine.kv_cache_dtype", "fp8", {"engines"}),
    ("models.m.engine.cpu_kv_cache_gib", 0.5, {"engines"}),
    ("models.m.engine.memory_max", "4G", {"engines"}),
    ("models.m.engine.port", 9000, {"preflight", "vacate", "engines", "gateway", "front", "acceptance"}),
    # The parsers of its tool calls.
    ("models.m.catalog", "Qwen/Qwen2.5-7B-Instruct", {"engines"}),
    ("models.m.source", {"host_path": "/srv/other"}, {"preflight", "models", "engines"}),
    ("models.m.aliases", ["x"], {"gateway", "front"}),
    ("models.m.private", True, set()),
    (
        "models.other",
        {"source": {"host_path": "/o"}},
        {"preflight", "models", "vacate", "engines", "gateway", "front", "acceptance"},
    ),
    ("gateway.teams", {"a": {"key": GOOD_KEY}, "b": {"key": OTHER_KEY}}, {"gateway", "front", "acceptance"}),
    ("gateway.teams.a.requests_per_minute", 5, {"gateway", "front"}),
    ("gateway.request_timeout_s", 100, {"engines", "gateway", "front"}),
    ("gateway.memory_max", "4G", {"gateway"}),
    ("gateway.port", 4002, {"preflight", "vacate", "gateway", "front"}),
    ("gateway.private_port", 4002, set()),
    ("gateway.engine_key", OTHER_KEY, {"engines", "gateway", "front", "acceptance"}),
    ("gateway.fast_path", False, {"front"}),
    ("gateway.extra_fields", {"/v1/completions": ["x"]}, {"front"}),
    ("gateway.usage.retention_days", 30, {"front"}),
    ("gateway.content_log", {"retention_days": 30, "reason": "complaints, decision 2026-14"}, {"front"}),
    ("gateway.teams.a.parallel_requests", 5, {"gateway", "front"}),
    ("front.allowed_origins", ["https://chat.example.org"], {"front"}),
    ("front.body_limit_mib", 5, {"front"}),
    ("front.read_timeout_s", 5, {"front"}),
    ("front.allowed_networks", ["10.0.0.0/8"], {"front"}),
    ("front.metrics_networks", ["10.0.0.0/8"], {"front"}),
    ("front.port", 8443, {"preflight", "front", "acceptance"}),
    ("front.server_name", "llm.example.com", {"front", "acceptance"}),
    ("pools.main.min_disk_gib", 50, {"preflight"}),
    ("pools.main.min_memory_gib", 50, {"preflight"}),
    ("pools.main.python_mirror", "https://mirror.example/python", {"preflight", "base"}),
    ("purpose", "production", set()),
    ("providers.openai", {"key": "k"}, {"gateway", "front"}),
]


@pytest.mark.parametrize(("path", "value", "expected"), REACHES, ids=[str(path) for path, *_ in REACHES])
def test_a_setting_reaches_its_layers_only(path: str, value: Any, expected: set[str]) -> None:
    document = changed(good(), "models.m.max_output_tokens", 512)
    assert layers_changed(document, changed(document, path, value)) == expected


def test_a_program_is_installed_once_and_only_where_it_runs() -> None:
    found = steps(deployment(many()))
    assert sorted(key for key in found if "/program-" in key) == [
        "cpu-1/program-vllm-cpu",
        "edge-1/program-litellm",
        "gpu-1/program-vllm-cuda",
        "gpu-2/program-hub",
        "gpu-2/program-vllm-cuda",
    ]


def test_programs_that_models_bring_lie_beside_one_another() -> None:
    """Each engine runs from a folder that a step of its machine installs, whatever others bring."""

    def brings(name: str, letter: str) -> dict[str, Any]:
        return {"name": name, "program": {"url": "http://mirror.test/p", "sha256": letter * 64}}

    engines = ["llama_cpp", brings("llama_cpp", "a"), brings("llama_cpp", "b"), brings("ollama", "a"), "llama_cpp"]
    models = {f"m{at}": {"source": {"host_path": "/srv/q.gguf"}, "engine": each} for at, each in enumerate(engines)}
    of = deployment(changed(good(), "models", models))
    found, told = steps(of), roles(of)
    installed = {step.variables[f"{step.role}_folder"]: key for key, step in found.items() if "/program-" in key}
    assert len(installed) == 5  # with the gateway's
    for at in range(5):
        program = told[f"gpu-1/m{at}"]["service_program"]
        assert found[f"gpu-1/m{at}"].after[0] == installed[program["folder"]]
        assert told[f"gpu-1/m{at}"]["service_command"][0].startswith(f"{program['folder']}/bin/")
    roots = {told[f"gpu-1/m{at}"]["service_program"]["root"] for at in range(5)}
    assert len(roots) == 4


def test_files_of_a_model_are_brought_once_to_each_machine_that_serves_it() -> None:
    found = steps(deployment(many()))
    assert sorted(key for key in found if "/model-" in key) == [
        "cpu-1/model-embedder",
        "gpu-1/model-llama-3-3-70b",
        "gpu-2/model-llama-3-3-70b",
        "gpu-2/model-qwen-1-5b",
    ]
    hub = found["gpu-2/model-qwen-1-5b"]
    assert hub.variables["model_downloader"] == HUB.folder
    assert "gpu-2/program-hub" in hub.after
    assert isinstance(hub.variables["model_hub_token"], Secret)
    assert "model_downloader" not in found["cpu-1/model-embedder"].variables


def test_every_machine_is_checked_and_prepared() -> None:
    found = steps(deployment(pair()))
    for name in ("preflight", "base", "m"):
        assert [key for key in found if key.endswith(f"/{name}")] == [f"gpu-1/{name}", f"gpu-2/{name}"]
    assert [key for key in found if key.endswith("/litellm")] == ["gpu-1/litellm"]


def test_steps_stand_on_steps_before_them(root: Path) -> None:
    """So an order that Pulumi keeps is there for each; and what is removed goes before what it stands on."""
    for name, of in ready(root).items():
        below: set[str] = set()
        for layer in LAYERS:
            for step in layer.steps(of):
                assert {*step.after, *step.again_after} <= below, (name, step.key)
                below.add(step.key)


def test_what_a_service_stands_on() -> None:
    found = steps(deployment(many()))
    own = {"gpu-2/program-vllm-cuda", "gpu-2/model-qwen-1-5b"}
    assert set(found["gpu-2/qwen-1-5b"].after) == {*own, "gpu-2/vacate", "gpu-2/driver", "gpu-2/gpus"}
    assert set(found["gpu-2/vacate"].after) == {*own, "gpu-2/model-llama-3-3-70b", "gpu-2/program-hub"}
    assert found["edge-1/litellm"].after == ("edge-1/program-litellm",)
    assert found["edge-1/nginx"].after == ("edge-1/base",)
    assert found["gpu-1/program-vllm-cuda"].after == ("gpu-1/driver",)
    assert found["cpu-1/program-vllm-cpu"].after == ("cpu-1/base",)


def test_a_machine_is_told_what_its_instances_have_of_it() -> None:
    """Before any of them starts; and a machine without instances is told nothing."""
    of = deployment(with_changes(many(), ("front.pool", "cpu")))
    found = roles(of)
    assert found["gpu-2/vacate"]["vacate_instances"] == {
        each.name: [{"what": f"gpu:{index}", "share": each.share} for index in each.gpus]
        + [{"what": f"port:{each.port}", "share": 1.0}]
        for each in of.on(of.machines["gpu-2"])
    }
    assert all(
        found[f"gpu-2/{name}"]["service_claims"] == claims
        for name, claims in found["gpu-2/vacate"]["vacate_instances"].items()
    )
    assert set(found["edge-1/vacate"]["vacate_instances"]) == {"litellm", "litellm-private"}
    bare = roles(
        deployment(changed(many(), "pools.spare", {"hosts": {"spare-1": {"address": "10.0.0.77", "user": "u"}}}))
    )
    assert "spare-1/vacate" not in bare


def test_nothing_is_touched_before_every_machine_has_passed() -> None:
    found = steps(deployment(many()))
    machines = {"gpu-1", "gpu-2", "cpu-1", "edge-1"}
    for machine in machines:
        assert found[f"{machine}/preflight"].after == ()
        assert set(found[f"{machine}/base"].after) == {f"{each}/preflight" for each in machines}


def test_acceptance_comes_again_after_whatever_serves() -> None:
    acceptance = steps(deployment(many()))["edge-1/acceptance"]
    assert acceptance.again_after == acceptance.after
    assert set(acceptance.after) == {
        *("gpu-1/llama-3-3-70b", "gpu-2/llama-3-3-70b", "gpu-1/llama-3-3-70b-2", "gpu-2/qwen-1-5b"),
        *("cpu-1/embedder", "cpu-1/embedder-2"),
        *("edge-1/litellm", "edge-1/litellm-private", "edge-1/nginx"),
    }


def test_acceptance_asks_what_is_served_here_by_its_task() -> None:
    asked = roles(deployment(many()))["edge-1/acceptance"]["acceptance_models"]
    assert [(model["name"], model["task"], model.get("max_tokens")) for model in asked] == [
        ("llama-3.3-70b", "chat", 64),
        ("qwen-1.5b", "chat", 64),
        ("embedder", "embedding", None),
    ]
    assert all(model["direct_url"].startswith("http://10.0.0.") for model in asked)
    few = roles(deployment(changed(good(), "models.m.max_output_tokens", 5)))["gpu-1/acceptance"]
    assert few["acceptance_models"][0]["max_tokens"] == 5


def test_acceptance_asks_for_a_name_that_is_shared_out_among_models_here() -> None:
    shared = changed(many(), "models.chat.targets", {"llama-3.3-70b": 9, "qwen-1.5b": 1})
    found = roles(deployment(shared))
    asked = {model["name"]: model for model in found["edge-1/acceptance"]["acceptance_models"]}
    assert list(asked) == ["llama-3.3-70b", "qwen-1.5b", "embedder", "chat"]
    # No engine is called so; each is asked directly under its own name.
    assert asked["chat"] == {"name": "chat", "task": "chat", "max_tokens": 64}
    (own,) = [
        team
        for team in found["edge-1/litellm"]["service_files"]["teams.json"]["content"]["teams"]
        if team["name"] == "slipway-acceptance"
    ]
    assert own["models"] == list(asked)


def test_acceptance_asks_engines_only_from_where_they_may_be_asked() -> None:
    apart = roles(deployment(with_changes(many(), ("front.pool", "cpu"))))["cpu-1/acceptance"]
    assert not [model for model in apart["acceptance_models"] if "direct_url" in model]
    assert "acceptance_direct_key" not in apart
    assert apart["acceptance_address"] == "10.0.0.21"
    public = changed(good(), "pools.main.hosts.gpu-1.address", "gpu.example.com")
    assert roles(deployment(public))["gpu-1/acceptance"]["acceptance_address"] == "gpu.example.com"


def test_acceptance_asks_through_the_private_teams_gateway_where_there_is_one() -> None:
    of = deployment(many())
    told = roles(of)["edge-1/acceptance"]
    assert told["acceptance_private_gateway"] == "slipway-litellm-private.service"
    assert told["acceptance_private_key"] not in {told["acceptance_key"], GOOD_KEY, OTHER_KEY, THIRD_KEY}
    (team,) = (
        team
        for team in teams(of)["teams"]
        if any(key_hash(key["salt"], told["acceptance_private_key"]) == key["hash"] for key in team["keys"])
    )
    # So the front sends it to that gateway, which has all that is asked for.
    assert team["private"]
    asked = [model["name"] for model in told["acceptance_models"]]
    assert team["models"] == asked
    there = roles(of)["edge-1/litellm-private"]["service_files"]["routes.json"]["content"]
    assert set(asked) <= {model["name"] for model in there["models"]}
    alone = steps(deployment(changed(many(), "gateway.teams.legal.private", False)))["edge-1/acceptance"]
    assert not [name for name in alone.variables if "private" in name]
    assert alone.timeout_s < steps(of)["edge-1/acceptance"].timeout_s


def test_what_private_teams_are_answered_is_no_figure() -> None:
    """The outputs have one figure a model, of the way that most take."""
    tasks = yaml.safe_load((PLAYBOOKS / "roles/acceptance/tasks/model.yml").read_text())
    (private,) = (task for task in tasks if "acceptance_private_key" in str(task.get("model_answer", {}).get("key")))
    assert "register" not in private
    assert private["when"] == "acceptance_private_key != ''"
    (first,) = (task for task in tasks if task.get("register") == "acceptance_front")
    # The same question the same way, with the other key, and once.
    other = {**first["model_answer"], "key": private["model_answer"]["key"], "asks": 1}
    assert private["model_answer"] == {**other, "private_gateway": "{{ acceptance_private_gateway }}"}


def test_acceptance_trusts_the_front(tmp_path: Path) -> None:
    assert roles(deployment(good()))["gpu-1/acceptance"]["acceptance_ca_file"] == "/etc/slipway/nginx/tls/authority.crt"
    for name in ("crt", "key", "ca"):
        (tmp_path / name).write_text(name)
    site = with_changes(
        good(), ("front.certificate_file", str(tmp_path / "crt")), ("front.key_file", str(tmp_path / "key"))
    )
    assert not {"acceptance_ca_file", "acceptance_ca_certificate"} & roles(deployment(site))["gpu-1/acceptance"].keys()
    front = steps(deployment(site))["gpu-1/nginx"].variables
    assert front["nginx_site_certificate"] == "crt"
    assert isinstance(front["nginx_site_key"], Secret)
    own = changed(site, "front.ca_file", str(tmp_path / "ca"))
    assert roles(deployment(own))["gpu-1/acceptance"]["acceptance_ca_certificate"] == "ca"


def test_preflight_refuses_another_exporter_where_dcgms_will_be() -> None:
    gpu = ("pools.main.gpu", "l4")
    bare = roles(deployment(stack(gpu)))["gpu-1/preflight"]["preflight_ports"]
    assert 9400 not in {each["port"] for each in bare}

    asked = stack(gpu, ("pools.main.driver", {"source": "vendor", "dcgm": True}))
    (found,) = (each for each in roles(deployment(asked))["gpu-1/preflight"]["preflight_ports"] if each["port"] == 9400)
    assert found == {
        "port": 9400,
        "unit": "slipway-dcgm-exporter.service",
        "purpose": "the exporter of DCGM's metrics",
        "setting": "pools.main.driver.dcgm: false",
        "remote": False,
    }
    lines = unit(rendered("debian-12", "vendor", "slipway-dcgm-exporter.service.j2"))
    assert f"--address 127.0.0.1:{found['port']} " in lines["ExecStart"][0]


def test_preflight_demands_what_will_be_there() -> None:
    of = deployment(many())
    found = roles(of)
    ports = {entry["unit"]: entry["port"] for entry in found["edge-1/preflight"]["preflight_ports"]}
    assert ports == {
        "slipway-litellm.service": 4000,
        "slipway-litellm-private.service": 4001,
        "slipway-nginx.service": 8443,
    }
    assert {entry["unit"] for entry in found["edge-1/preflight"]["preflight_ports"] if entry["remote"]} == {
        "slipway-nginx.service"
    }
    assert found["edge-1/preflight"]["preflight_roles"] == ["litellm", "nginx"]
    here = found["gpu-2/preflight"]
    # The gateway is elsewhere, so it asks in from another host, which a firewall may forbid.
    assert all(entry["remote"] for entry in here["preflight_ports"])
    assert "nginx" not in here["preflight_roles"]
    assert {entry["unit"] for entry in here["preflight_ports"]} == {
        "slipway-llama-3-3-70b.service",
        "slipway-qwen-1-5b.service",
    }
    assert here["preflight_order"]["promise"]["gpus"] == 8
    assert found["edge-1/preflight"]["preflight_order"] == {}
    assert here["preflight_min_memory_gib"] == of.machines["gpu-2"].min_memory_gib
    assert here["preflight_paths"] == [
        {
            "path": "/srv/models/Llama-3.3-70B-Instruct",
            "purpose": "the files of llama-3.3-70b",
            "setting": 'models["llama-3.3-70b"].source.host_path',
        }
    ]


def test_secrets_stay_secrets(root: Path) -> None:
    found = steps(deployment(many()))
    assert isinstance(found["gpu-1/llama-3-3-70b"].variables["service_secrets"]["VLLM_API_KEY"], Secret)
    assert isinstance(found["gpu-1/llama-3-3-70b"].variables["service_probe_key"], Secret)
    assert isinstance(found["edge-1/acceptance"].variables["acceptance_key"], Secret)
    assert isinstance(found["edge-1/acceptance"].variables["acceptance_private_key"], Secret)
    assert isinstance(found["edge-1/acceptance"].variables["acceptance_direct_key"], Secret)
    for of in (deployment(many()), *ready(root).values()):
        shown = repr([step.variables for step in steps(of).values()])
        for secret in (GOOD_KEY, OTHER_KEY, THIRD_KEY, "sk-openai-canary", "hf-token", "placeholder-"):
            assert secret not in shown


def test_a_file_with_a_secret_is_marked_as_one(root: Path) -> None:
    """Role service keeps what is not marked readable in what Ansible shows."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict | list | tuple):
            return any(holds(inner) for inner in (value.values() if isinstance(value, dict) else value))
        return isinstance(value, Secret)

    marked = 0
    for of in ready(root).values():
        for key, step in steps(of).items():
            for name, file in step.variables.get("service_files", {}).items():
                assert file["secret"] or not holds(file["content"]), (key, name)
                marked += holds(file["content"])
    assert marked


def test_only_the_front_listens_outside() -> None:
    found = roles(deployment(good()))
    assert "--host=127.0.0.1" in found["gpu-1/m"]["service_command"]
    gateway = found["gpu-1/litellm"]["service_command"]
    assert gateway[gateway.index("--host") + 1] == "127.0.0.1"


def test_a_stop_has_time_to_drain_and_a_start_to_load() -> None:
    step = steps(deployment(with_changes(good(), ("models.m.engine.start_timeout_s", 5000))))["gpu-1/m"]
    assert step.variables["service_start_timeout"] == 5000
    assert step.variables["service_drain_timeout"] == 600
    assert step.timeout_s >= 5600


def test_an_engine_is_restarted_by_another_version_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    document = changed(good(), "models.m.source", {"path": str(tmp_path)})
    before = roles(deployment(document))
    assert roles(deployment(document)) == before
    (tmp_path / "config.json").write_text('{"a": 1}')
    after = roles(deployment(document))
    assert {key for key in after if after[key] != before[key]} == {"gpu-1/model-m", "gpu-1/m"}
    (mark,) = after["gpu-1/m"]["service_reads"]
    assert mark == f"{after['gpu-1/model-m']['model_path']}/.slipway.json"
    assert after["gpu-1/m"]["service_reads"] != before["gpu-1/m"]["service_reads"]


def test_files_in_a_home_are_shown_to_the_service() -> None:
    found = roles(deployment(many()))
    assert found["cpu-1/embedder"]["service_read_only_paths"] == ["/home/models/bge-m3"]
    assert found["gpu-1/llama-3-3-70b"]["service_read_only_paths"] == []


def described() -> Iterator[tuple[str, Step]]:
    """A step of each role, of stacks that use all of them."""
    documents = [good(), pair(), many(), changed(good(), "pools.main.gpus", 1), changed(good(), "models.m", HUB_MODEL)]
    documents.append(changed(pair(), "front.floating", {"address": "10.0.0.100/24", "secret": THIRD_KEY}))
    documents += [changed(good(), "models.m", model_of(name)) for name in packages()]
    documents += [changed(good(), "gateway.name", name) for name in gateways.names()]
    documents += [changed(good(), "front.name", name) for name in fronts.names()]
    documents.append(with_changes(pair(), ("models.m", HUB_MODEL), ("store", {"host": "gpu-1"})))
    for document in documents:
        for step in steps(deployment(document)).values():
            yield step.role, step


ROLES = sorted({step.role for _, step in described()})


@pytest.mark.parametrize("role", ROLES)
def test_role_variables_are_in_the_argument_specs(root: Path, role: str) -> None:
    specs = yaml.safe_load((root / f"playbooks/roles/{role}/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    found = [step for name, step in described() if name == role]
    assert found
    for step in found:
        assert set(step.variables) <= set(options)
        assert required <= set(step.variables)


def test_every_role_is_looked_at_above(root: Path) -> None:
    """But those that only other roles include."""
    included = {"binary", "program", "unit"}
    assert {*ROLES, *included} == {folder.name for folder in (root / "playbooks/roles").iterdir()}


def test_what_a_deployment_without_a_model_here_has() -> None:
    """Names that providers serve need no engine: a gateway and a front for keys, limits and one address."""
    of: Deployment = deployment(
        with_changes(
            good(), ("providers.openai", {"key": "k"}), ("models.m", REMOVED), ("models.gpt", {"provider": "openai"})
        )
    )
    assert sorted(steps(of)) == [
        "gpu-1/acceptance",
        "gpu-1/base",
        "gpu-1/litellm",
        "gpu-1/nginx",
        "gpu-1/preflight",
        "gpu-1/program-litellm",
        "gpu-1/vacate",
    ]
    assert roles(of)["gpu-1/acceptance"]["acceptance_models"] == []
