"""How a rolling change reads."""

import json

from slipway.upgrade.plan import plan
from slipway.upgrade.words import Report, ended, lines, no_stand_in, refusal, stopped, taken
from tests.unit.upgrade.stacks import MARK, change, seen, three, two_fronts

ENGINES = [change("a/m"), change("b/m"), change("c/m")]


def report() -> Report:
    of = three()
    return Report("s", plan(of, ENGINES, seen(of)))


def test_the_order_says_what_changes_and_who_answers_meanwhile() -> None:
    told = list(lines(report().plan))
    assert told[0] == "1. b: m"
    assert told[1].startswith("   stops m, what they have begun ends within ")
    assert told[2] == "   m is answered by a/m, c/m meanwhile"
    assert told[6] == "3. a: m"


def test_what_moves_the_address_says_so() -> None:
    of = two_fronts()
    told = "\n".join(lines(plan(of, [change("a/nginx"), change("b/nginx", "replace")], seen(of, holder="a"))))
    assert "1. b: nginx (replace)\n   gives the floating address to the other front" in told


def test_nothing_to_do_is_a_line() -> None:
    of = three()
    assert list(lines(plan(of, [], seen(of)))) == ["every host is as the stack says"]
    left = list(lines(plan(of, ENGINES[:1], seen(of), ["b"])))
    assert left == ["every host that was asked for is as the stack says", "left out: a"]


def test_a_host_that_was_left_drained_says_by_whom() -> None:
    of = three()
    told = list(lines(plan(of, [], seen(of, marks={"b": MARK}))))
    assert told[0] == "1. b: left drained by ann (pid 7) on laptop since 2026-11-30T10:00:00Z; it is put back"


def test_an_outage_is_refused_with_the_option_that_allows_it() -> None:
    of = three(replicas=1)
    host = of.of("m")[0].machine.name
    told = refusal(Report("s", plan(of, [change(f"{host}/m")], seen(of))))
    assert told.startswith(
        f"nothing was touched: nobody would answer for model m while {host} changes (its only replica is on {host})"
    )
    assert "`slipway upgrade s --allow-outage`" in told


def test_somebody_elses_drain_is_named_with_its_end() -> None:
    told = taken("b", MARK, "slipway upgrade s")
    assert "b is drained by ann (pid 7) on laptop since 2026-11-30T10:00:00Z" in told
    assert "puts itself back at 2026-11-30T12:00:00Z" in told
    assert "--take-over" in told


def test_a_stop_says_what_failed_who_serves_and_the_two_ways_on() -> None:
    found = report()
    first, second, third = found.plan.groups
    found.of(first).state = "changed"
    its = found.of(second)
    its.state, its.failure, its.after = "failed", "no such flag", "the change"
    told = stopped(found, second)
    assert told.splitlines() == [
        "c: the change failed: no such flag",
        "  changed: b",
        "  as they were: a",
        "  still served: m by a/m, b/m",
        f"  c stays out of service; without a further run it puts itself back after {second.hosts[0].lease_s // 60} min",
        "  to go on: mend what it says, then `slipway upgrade s` goes on at c",
        "  to go back: put the old value into the stack's file, then `slipway upgrade s`",
    ]
    states = [group["state"] for group in found.data()["order"]]
    assert states == ["changed", "failed", "waiting"]
    assert third.name == "a"


def test_a_host_that_was_never_drained_does_not_say_that_it_is_out() -> None:
    found = report()
    first = found.plan.groups[0]
    why = no_stand_in(first, "m", {"m@a/m": False, "m@c/m": False})
    assert why.startswith("b was left as it is: m would have no replica, as the front gets no answer from a/m, c/m")
    its = found.of(first)
    its.state, its.failure, its.after = "failed", why, "the look at the others"
    assert "stays out of service" not in stopped(found, first)


def test_a_host_that_runs_again_does_not_say_that_it_is_out() -> None:
    found = report()
    its = found.of(found.plan.groups[0])
    its.state, its.failure, its.after = "failed", "none", "the wait for an answer"
    assert "stays out of service" not in stopped(found, found.plan.groups[0])


def test_the_end_says_how_long_each_was_out() -> None:
    found = report()
    first = found.of(found.plan.groups[0])
    first.state, first.drained_s, first.out_s = "changed", 1.25, 31.04
    assert list(ended(found)) == ["b: changed; drained in 1.2 s, out for 31.0 s"]


def test_json_has_all_of_it() -> None:
    data = json.loads(json.dumps(report().data()))
    first = data["order"][0]
    assert first["state"] == "waiting"
    assert first["hosts"][0] == {
        "host": "b",
        "changes": [{"instance": "m", "kind": "update"}],
        "stops": ["m"],
        "reboots": False,
        "gives_floating_address": False,
        "drain_s": first["hosts"][0]["drain_s"],
        "drained_before": False,
        "packages": None,
    }
