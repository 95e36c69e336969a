"""Names and ports that follow from a model's name."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slipway import gateways
from slipway.deployment.names import (
    MAX_INSTANCE,
    MAX_REPLICAS,
    PORTS,
    UNIT,
    gateway_names,
    instance_name,
    is_reserved,
    port,
    reserved,
    slug,
)
from tests.unit.deployment.stacks import deployment, problems
from tests.unit.settings.documents import good, with_changes

MODEL_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}", fullmatch=True)

SLUGS = {
    "m": "m",
    "tiny-llama": "tiny-llama",
    "llama-3.3-70b": "llama-3-3-70b",
    "Qwen/Qwen2.5-7B": "qwen-qwen2-5-7b",
    "gpt_4o:mini-": "gpt-4o-mini",
    "abcdefghijklmnopqrstu": "abcdefghijklmnopqrstu",
    "llama-3.3-70b-instruct-awq": "llama-3-3-70b-in-7a60",
}


@pytest.mark.parametrize("name", SLUGS)
def test_slugs(name: str) -> None:
    assert slug(name) == SLUGS[name]


@given(MODEL_NAMES, st.integers(0, MAX_REPLICAS - 1))
def test_units_and_users_can_carry_every_name(name: str, number: int) -> None:
    instance = instance_name(slug(name), number)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", instance)
    assert len(instance) <= MAX_INSTANCE


@given(MODEL_NAMES)
def test_a_long_name_is_told_from_others_that_begin_alike(name: str) -> None:
    long = "the-same-beginning-for-all-" + name
    assert slug(long) != slug(long + "x")


@given(st.lists(MODEL_NAMES.map(slug), unique=True, max_size=40), st.sets(st.integers(8000, 9000), max_size=50))
def test_ports_are_free_and_do_not_follow_from_others(instances: list[str], taken: set[int]) -> None:
    before = set(taken)
    for instance in instances:
        listens = port(instance, before)
        assert listens in PORTS
        assert listens not in before
        assert listens == port(instance, set(before))
        before.add(listens)


def test_ports_wrap_around_at_the_end() -> None:
    assert port("x", set(PORTS) - {PORTS[0]}) == PORTS[0]
    assert port("x", set(PORTS) - {PORTS[-1]}) == PORTS[-1]


def test_the_folders_of_roles_are_no_models(root: Path) -> None:
    """Removing a model called like one would take the folder away; role service refuses the same names."""
    variables = yaml.safe_load((root / "playbooks/roles/service/vars/main.yml").read_text())
    assert set(variables["service_reserved"]) <= reserved()


def test_role_service_takes_every_name_and_none_that_is_longer(root: Path) -> None:
    role = root / "playbooks/roles/service"
    form = yaml.safe_load((role / "vars/main.yml").read_text())["service_name_form"]
    assert re.fullmatch(form, "x" * MAX_INSTANCE)
    assert not re.fullmatch(form, "x" * (MAX_INSTANCE + 1))
    assert len(UNIT.format("x" * MAX_INSTANCE).removesuffix(".service")) == 32
    ours = [instance_name(slug("x" * 99), MAX_REPLICAS - 1)]
    ours += [name for program in gateways.names() for name in gateway_names(program)]
    assert all(re.fullmatch(form, name) for name in ours)
    # As it is told.
    told = [role / name for name in ("defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml")]
    for file in (*told, root / "docs/architecture.md"):
        assert f"a slug of at most {MAX_INSTANCE} " in " ".join(file.read_text().split())


@pytest.mark.parametrize("name", [*sorted(reserved()), "program-x", "model-x", "Models", "LiteLLM"])
def test_what_is_something_elses_is_refused(name: str) -> None:
    assert is_reserved(slug(name))
    document = with_changes(good(), (("models", name), {"source": {"host_path": "/srv/x"}}))
    assert problems(document) == [
        f"models.{name}: its unit would be {slug(name)}, which is something else's; rename it"
    ]


def test_every_other_step_of_a_machine_has_a_reserved_name() -> None:
    from slipway.layers import LAYERS

    looked_at = deployment(with_changes(good(), ("providers.openai", {"key": "k"})))
    engines = {instance.name for instance in looked_at.instances}
    others = {step.instance for layer in LAYERS for step in layer.steps(looked_at)} - engines
    assert len(others) >= 8
    assert not [name for name in others if not is_reserved(name)]
