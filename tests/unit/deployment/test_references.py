"""Addresses as tokens: wherever they stand in a text they are found, and nothing of them is left once they are put in."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slipway.deployment.declaration import declaration
from slipway.deployment.references import (
    Reference,
    Side,
    all_references,
    private,
    public,
    references,
    resolve,
    resolved,
)
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import deployment, ready, roles, seen, steps
from tests.unit.settings.documents import many

PRIVATE_USE = re.compile("[\ue000-\uf8ff]")
A, B = public("gpu-1"), private("gpu-2")


def address(reference: Reference) -> str:
    return f"{reference.machine}.{reference.side}.test"


TEXTS = {
    "nothing": ("plain {{ text }} $x", "plain {{ text }} $x"),
    "alone": (A, "gpu-1.public.test"),
    "a URL": (f"http://{B}:8000/v1", "http://gpu-2.private.test:8000/v1"),
    "a flag": (f"--host={B}", "--host=gpu-2.private.test"),
    "side by side": (f"{A}{B}{A}", "gpu-1.public.testgpu-2.private.testgpu-1.public.test"),
    "text in YAML": (f"a:\n  - {A}\n  - 'x {B}'\n", "a:\n  - gpu-1.public.test\n  - 'x gpu-2.private.test'\n"),
    "text in JSON": (json.dumps({"a": A}, ensure_ascii=False), '{"a": "gpu-1.public.test"}'),
}


@pytest.mark.parametrize("case", TEXTS)
def test_tokens_are_put_in_wherever_they_stand(case: str) -> None:
    text, expected = TEXTS[case]
    assert resolve(text, address) == expected


def test_tokens_survive_yaml_and_come_back_as_they_were() -> None:
    text = yaml.safe_dump({"url": f"http://{A}/v1", "list": [B]}, allow_unicode=True)
    assert yaml.safe_load(resolve(text, address)) == {
        "url": "http://gpu-1.public.test/v1",
        "list": ["gpu-2.private.test"],
    }


def test_references_are_found_once_and_in_order() -> None:
    assert references(f"{B} {A} {B}") == [Reference("gpu-2", Side.PRIVATE), Reference("gpu-1", Side.PUBLIC)]
    nested = {"x": [A, {"y": (f"http://{B}", 3, None)}], "z": True}
    assert list(all_references(nested)) == [Reference("gpu-1", Side.PUBLIC), Reference("gpu-2", Side.PRIVATE)]


def test_nested_data_keeps_its_form_and_all_else() -> None:
    secret = Secret("canary")
    value = {"x": [A, {"y": (B, 3, None, 1.5)}], "z": True, "s": secret}
    assert resolved(value, address) == {
        "x": ["gpu-1.public.test", {"y": ["gpu-2.private.test", 3, None, 1.5]}],
        "z": True,
        "s": secret,
    }


@given(st.lists(st.one_of(st.text(), st.sampled_from([A, B]))))
def test_what_is_no_token_stays(parts: list[str]) -> None:
    text = "".join(part for part in parts if part in {A, B} or not PRIVATE_USE.search(part))
    assert not PRIVATE_USE.search(resolve(text, address))
    assert resolve(text, str) == text


def test_a_text_with_an_address_that_is_not_known_is_none_and_no_other_is() -> None:
    def known(reference: Reference) -> str | None:
        return None if reference.machine == "gpu-2" else address(reference)

    told = {"a": [A, f"--host={B}", "plain"], "b": f"{A} {B}", "n": 1}
    assert resolved(told, known) == {"a": ["gpu-1.public.test", None, "plain"], "b": None, "n": 1}


MACHINE_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(MACHINE_NAMES, st.sampled_from(list(Side)))
def test_every_machines_name_fits_in_a_token(name: str, side: Side) -> None:
    reference = Reference(name, side)
    assert references(f"x{reference}y") == [reference]


def test_nothing_of_a_token_is_left_in_any_step_of_any_stack(root: Path) -> None:
    for name, looked_at in ready(root).items():
        told: list[Any] = [*roles(looked_at).items(), ("declaration", seen(looked_at, declaration(looked_at)))]
        told.append(("endpoint", seen(looked_at, looked_at.front.endpoint)))
        for key, variables in told:
            assert not PRIVATE_USE.search(json.dumps(variables, ensure_ascii=False)), (name, key)


def test_no_step_holds_an_address_itself() -> None:
    """Only as a token: a machine that is not made yet has none. The hosts' own settings go to the connection alone."""
    looked_at = deployment(many())
    machines = looked_at.machines.values()
    addresses = {text for machine in machines for text in (machine.address, machine.private_address) if text}
    assert len(addresses) == 6
    for key, step in steps(looked_at).items():
        told = repr(step.variables)
        assert not [text for text in addresses if text in told], key


def test_what_listens_elsewhere_is_a_token_of_the_right_side() -> None:
    found = steps(deployment(many()))
    engine = found["gpu-1/llama-3-3-70b"].variables
    assert set(all_references(engine)) == {Reference("gpu-1", Side.PRIVATE)}
    gateway = found["edge-1/litellm"].variables
    assert set(all_references(gateway)) == {Reference(name, Side.PRIVATE) for name in ("gpu-1", "gpu-2", "cpu-1")}
    front = found["edge-1/nginx"].variables
    there = {Reference(name, Side.PRIVATE) for name in ("gpu-1", "gpu-2", "cpu-1")}
    assert set(all_references(front)) == {Reference("edge-1", Side.PUBLIC), *there}
