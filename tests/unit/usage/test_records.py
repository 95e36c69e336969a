"""What was used, summed up from the front's records."""

import json

from slipway.usage.records import read, sums

LINES = [
    '{"time":"2026-11-29T09:15:00.123Z","team":"a","model":"m","in":5,"out":4,"status":200,"seconds":0.5}',
    '{"time":"2026-11-29T09:59:59.999Z","team":"a","model":"m","in":1,"out":2,"status":200,"seconds":0.25}',
    '{"time":"2026-11-29T10:00:00.000Z","team":"a","model":"m","status":429,"seconds":0}',
    '{"time":"2026-11-30T00:00:00.000Z","team":"b","asked":"x","in":3,"status":404,"seconds":0}',
]


def test_records_are_summed_up_by_period_team_and_model() -> None:
    records, broken = read(LINES)
    assert broken == 0
    hours = sums(records, "hour")
    assert [(each.period, each.team, each.model, each.requests, each.refused) for each in hours] == [
        ("2026-11-29T09", "a", "m", 2, 0),
        ("2026-11-29T10", "a", "m", 1, 1),
        ("2026-11-30T00", "b", "x", 1, 1),
    ]
    assert (hours[0].tokens_in, hours[0].tokens_out, hours[0].tokens, hours[0].seconds) == (6, 6, 12, 0.75)
    (of_a, of_b) = sums(records, "month")
    assert (of_a.period, of_a.requests, of_b.tokens_in) == ("2026-11", 3, 3)


def test_lines_that_are_no_records_are_counted_and_left_out() -> None:
    records, broken = read([*LINES, "", LINES[0][:40], "[1]", '{"time":1,"team":"a"}', json.dumps({"team": "a"})])
    assert len(records) == len(LINES)
    assert broken == 4


def test_no_records_are_no_sums() -> None:
    assert sums([], "day") == []
