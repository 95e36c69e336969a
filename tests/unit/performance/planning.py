"""What the tests of plans share: the catalogue, and plans that are small enough to be made many times."""

from functools import cache
from typing import Any

from slipway.catalog import Catalog, load
from slipway.performance.plan import plan
from slipway.performance.plan_types import Option, Plan, Question

SMALL = "Qwen/Qwen3-8B"
LARGE = "meta-llama/Llama-3.3-70B-Instruct"


@cache
def catalog() -> Catalog:
    return load()


def planned(users: int = 50, *, model: str = SMALL, **asked: Any) -> Plan:
    return plan(Question(model=model, users=users, **asked), catalog())


def option(answer: Plan, wanted: str) -> Option:
    (found,) = [each for each in answer.options if each.id == wanted]
    return found
