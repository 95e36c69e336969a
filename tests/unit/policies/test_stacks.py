"""Which stacks are production by their name."""

import pytest

from policies.resources import Stack


@pytest.mark.parametrize("name", ["prod", "llm-production", "eu_prod_2", "PROD", "prd", "llm-prd", "live", "live-eu"])
def test_production(name: str) -> None:
    assert Stack(name=name).production


@pytest.mark.parametrize("name", ["dev", "product", "reproduce", "delivery", "olive", "alive-check", "prdx"])
def test_others(name: str) -> None:
    assert not Stack(name=name).production
