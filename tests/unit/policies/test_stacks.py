"""Which stacks are production by their name, and what is worked out once a stack."""

import pytest

from policies.resources import Stack


@pytest.mark.parametrize("name", ["prod", "llm-production", "eu_prod_2", "PROD", "prd", "llm-prd", "live", "live-eu"])
def test_production(name: str) -> None:
    assert Stack(name=name).production


@pytest.mark.parametrize("name", ["dev", "product", "reproduce", "delivery", "olive", "alive-check", "prdx"])
def test_others(name: str) -> None:
    assert not Stack(name=name).production


def test_a_question_about_the_stack_is_answered_once() -> None:
    asked: list[str] = []

    def index(stack: Stack) -> list[str]:
        asked.append(stack.name)
        return asked

    one, other = Stack(name="one"), Stack(name="other")
    assert one.cached(index) is one.cached(index)
    other.cached(index)
    assert asked == ["one", "other"]
