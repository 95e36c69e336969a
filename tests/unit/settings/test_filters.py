"""What a stack may say of filters, and what the gateway is told of it."""

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.deployment.teams import teams
from slipway.gateways.litellm.filters import filters
from slipway.settings.filters import FilterPattern
from tests.unit.deployment.stacks import deployment
from tests.unit.roles.gateway_part import part
from tests.unit.settings.documents import good

file = part("filters.file")


def stack(filters_of_team: Any, patterns: Any = None) -> dict[str, Any]:
    document = good()
    document["gateway"]["teams"]["a"]["filters"] = filters_of_team
    if patterns is not None:
        document["gateway"]["filters"] = patterns
    return document


def test_the_gateway_takes_what_it_is_told() -> None:
    patterns = {
        "staff": {"pattern": "EMP-[0-9]{6}", "label": "(staff)", "longest": 10},
        "card": {"pattern": "[0-9]+", "check": "luhn"},
    }
    of = deployment(stack({"in": {"staff": "block", "email": "log"}, "out": {"card": "mask"}}, patterns))
    told = filters(of)
    assert told["teams"] == {"a": {"in": {"staff": "block", "email": "log"}, "out": {"card": "mask"}}}
    assert told["patterns"]["staff"] == {"pattern": "EMP-[0-9]{6}", "check": None, "label": "(staff)", "longest": 10}
    taken = file.parse(json.dumps(told))
    assert taken.of("a", "in").actions == {"staff": "block", "email": "log"}
    assert taken.of("a", "out").labels["card"] == "[card]"
    # So the front sends it through the gateway.
    assert teams(of)["teams"][0]["filtered"]


@pytest.mark.parametrize("empty", [{}, {"in": {}}, {"in": {}, "out": {}}])
def test_a_team_without_filters_is_not_told_of(empty: dict[str, Any]) -> None:
    of = deployment(stack(empty))
    assert filters(of) == {"patterns": {}, "teams": {}}
    assert not teams(of)["teams"][0]["filtered"]


@pytest.mark.parametrize(
    ("team", "patterns", "said"),
    [
        ({"in": {"iban": "mask"}}, None, "there is no kind 'iban'"),
        ({"both": {"email": "mask"}}, None, "'in' or 'out'"),
        ({"in": {"email": "delete"}}, None, "'block', 'mask' or 'log'"),
        ({"in": {"E-Mail": "mask"}}, None, "can't name a kind"),
        ({}, {"email": {"pattern": "a"}}, "is recognised already"),
        ({}, {"Own": {"pattern": "a"}}, "can't name a kind"),
    ],
)
def test_mistakes_are_told_with_their_mend(team: Any, patterns: Any, said: str) -> None:
    with pytest.raises(Exception, match=re.escape(said)):
        deployment(stack(team, patterns))


@pytest.mark.parametrize("pattern", ["(", "[", "(?<=a+", "*", "a*", "", "x?"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"regular expression|empty text"):
        FilterPattern(pattern=pattern)


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb", "", "x" * 65])
def test_a_label_that_would_break_json_is_refused(label: str) -> None:
    with pytest.raises(ValidationError, match="control characters"):
        FilterPattern(pattern="a", label=label)


@pytest.mark.parametrize("more", [{"longest": 0}, {"longest": 513}, {"check": "crc"}, {"name": "x"}])
def test_other_mistakes_of_a_pattern(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilterPattern(pattern="a", **more)
