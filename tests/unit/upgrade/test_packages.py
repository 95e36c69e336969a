"""Hosts' own packages in a plan: whose turn it is for them, what they stop, and how it reads."""

from typing import Any

import pytest

from slipway.upgrade.packages import LONGEST_S, Brought, Pending, order
from slipway.upgrade.plan import Plan, away_at_reboot, plan, with_partners
from slipway.upgrade.words import Report, ended, lines, refusal, stopped
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import good
from tests.unit.upgrade.stacks import change, in_pairs, on_gpus, seen, three, two_fronts

SOME = Pending(upgraded=("openssl", "libc6"))
KERNEL = Pending(upgraded=("linux-image-amd64",), new=("linux-image-2",), kernels=("2",))
ANSWER = {
    "upgraded": [],
    "new": [],
    "removed": [],
    "kernels": [],
    "unfinished": False,
    "role_due": False,
    "reboot": "",
    "age_s": None,
}


def planned(of: Any, packages: dict[str, Pending], *changes: Any, only: tuple[str, ...] = (), **more: Any) -> Plan:
    return plan(of, changes, seen(of, packages=packages, **more), only)


def test_a_host_with_pending_packages_has_a_turn_and_the_others_are_passed_over() -> None:
    found = planned(three(), {"b": SOME})
    assert [group.name for group in found.groups] == ["b"]
    assert found.done == ("a", "c")
    host = found.groups[0].hosts[0]
    assert (host.stops, host.reboots, host.packages) == (("m",), False, SOME)
    assert found.groups[0].stand_ins == {"m": ("m@a/m", "m@c/m")}


def test_the_host_puts_itself_back_no_sooner_than_packages_may_take() -> None:
    without = planned(three(), {}, change("b/m")).groups[0].hosts[0]
    assert planned(three(), {"b": SOME}, change("b/m")).groups[0].hosts[0].lease_s == without.lease_s + LONGEST_S


def test_hosts_that_change_together_are_brought_one_after_the_other_while_all_of_them_are_drained() -> None:
    of = in_pairs()
    pair, other = ({part.machine.name for part in of.parts(head)} for head in of.of("m"))
    assert with_partners(of, [min(pair)]) == pair
    assert with_partners(of, ()) == pair | other
    changes = [change(f"{each.machine.name}/{each.name}") for each in of.instances if each.machine.name in pair]
    (without,) = planned(of, {}, *changes).groups
    (group,) = planned(of, dict.fromkeys(pair, SOME), *changes).groups
    assert [host.name for host in group.hosts] == [host.name for host in without.hosts]
    assert [now.lease_s - then.lease_s for now, then in zip(group.hosts, without.hosts, strict=True)] == [
        2 * LONGEST_S
    ] * 2


def test_a_host_that_was_not_asked_is_not_said_to_be_done() -> None:
    found = planned(three(), {"b": SOME}, only=("b",), unasked=("a",))
    assert (found.left_out, found.done) == (("a",), ("c",))


def test_a_reboot_alone_that_has_no_leave_is_put_off_and_stops_no_other_host() -> None:
    due = Pending(reboot="kernel 2 is installed, and 1 runs")
    found = planned(three(), {"a": due, "b": SOME})
    assert ([group.name for group in found.groups], found.away) == (["b"], ())
    assert (found.put_off, found.done) == ((("a", due.reboot),), ("c",))
    assert any(line.startswith("put off: a is to be rebooted (kernel 2 is installed") for line in lines(found))
    assert Report("s", found).data()["put_off"] == [{"host": "a", "reboot_due": due.reboot}]
    # Its own change comes all the same, without the reboot.
    group = planned(three(), {"a": due}, change("a/m")).groups[0]
    assert (group.name, group.hosts[0].reboots, group.hosts[0].packages) == ("a", False, None)
    # Another host's reboot takes nothing along, and with leave it is foreseen.
    assert planned(three(), {"b": due}).put_off == ()
    with_leave = plan(three(), [], seen(three(), packages={"a": due}), allow_outage=True)
    assert ([group.name for group in with_leave.groups], with_leave.put_off) == (["a"], ())
    # What is more than a reboot is not put off.
    assert planned(three(), {"a": KERNEL}).put_off == ()


def test_what_is_advised_repeats_the_command() -> None:
    report = Report("s", planned(three(), {"a": KERNEL}), packages=True, hosts=("a",))
    assert "`slipway upgrade s --host a --packages --allow-outage`" in refusal(report)
    its = report.of(report.plan.groups[0])
    its.state, its.after = "failed", "the change"
    assert stopped(report, report.plan.groups[0]).endswith("then `slipway upgrade s --host a --packages`")
    its.after = "the packages"
    assert "`slipway upgrade s --host a`, without --packages" in stopped(report, report.plan.groups[0])


def test_a_host_that_has_booted_is_not_said_to_stay_out() -> None:
    report = Report("s", planned(three(), {"b": KERNEL}), packages=True)
    group = report.plan.groups[0]
    its = report.of(group)
    its.state, its.after, its.booted = "failed", "the reboot", {"b"}
    told = stopped(report, group)
    assert "stays out of service" not in told
    assert "what b has runs as after each boot" in told
    assert "to go back: `slipway upgrade s`, without --packages" in told


def test_one_host_alone() -> None:
    found = planned(three(), {"a": SOME, "b": SOME}, only=("b",))
    assert ([group.name for group in found.groups], found.left_out) == (["b"], ("a",))


def test_a_reboot_takes_a_front_and_a_gateway_along_and_needs_leave() -> None:
    found = planned(three(), {"a": KERNEL})
    assert {each.what for _, each in found.away} == {"gateway", "front"}
    assert "nobody would answer for" in refusal(Report("s", found))
    found = planned(three(), {"a": SOME})
    assert found.away == ()
    # One that shows only once they are installed would take the same along.
    assert {each.what for each in away_at_reboot(three(), found.groups[0])} == {"gateway", "front"}
    assert away_at_reboot(three(), planned(three(), {"b": SOME}).groups[0]) == ()


def test_of_two_fronts_the_address_is_given_away_first() -> None:
    found = planned(two_fronts(), {"a": KERNEL, "b": KERNEL}, holder="a")
    assert [group.name for group in found.groups] == ["b", "a"]
    assert all(host.gives_address for group in found.groups for host in group.hosts)
    assert found.away == ()


def test_a_model_without_another_replica_is_away() -> None:
    of = three(replicas=1)
    host = of.of("m")[0].machine.name
    assert [each.name for _, each in planned(of, {host: SOME}).away if each.what == "model"] == ["m"]


def test_how_it_reads() -> None:
    told = list(lines(planned(three(), {"b": KERNEL, "c": SOME}, change("b/m"))))
    assert told[0] == "1. b: m; packages: 2 packages; kernel 2"
    assert told[1].endswith("; reboots")
    assert "2. c: packages: 2 packages" in told


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"upgraded": ["a"]}, "packages: 1 package"),
        ({"upgraded": ["a"], "removed": ["b"]}, "packages: 2 packages; removes b"),
        ({"unfinished": True}, "packages: what was cut off is completed"),
        ({"role_due": True}, "packages: the driver's role is to note the kernel"),
        (
            {"reboot": "kernel 2 is installed, and 1 runs"},
            "packages: a reboot is due: kernel 2 is installed, and 1 runs",
        ),
        ({"upgraded": ["a"], "age_s": 3 * 24 * 3600 + 1}, "packages: 1 package; by lists of 3 d ago"),
    ],
)
def test_what_is_pending(more: dict[str, Any], words: str) -> None:
    found = Pending.of({**ANSWER, **more}, three().machines["a"])
    assert found.due
    assert found.words == words


def test_nothing_is_pending_on_a_host_that_must_not_reboot_and_only_waits_for_it() -> None:
    document = good()
    document["pools"]["main"] |= {"gpu": "rtx-4090", "gpus": 1, "driver": {"reboot": False}}
    machine = deployment(document).machines["gpu-1"]
    found = Pending.of({**ANSWER, "reboot": "kernel 2 is installed, and 1 runs"}, machine)
    assert (found.due, found.reboots) == (False, False)
    assert Pending.of({**ANSWER, "upgraded": ["a"], "kernels": ["2"]}, machine).due
    assert not Pending.of(ANSWER, three().machines["a"]).due


def test_a_host_is_told_of_the_driver_only_where_that_is_slipways() -> None:
    of = on_gpus()
    told = order(of.machines["a"], fresh=True, driver=True)
    assert told["driver"]["setting"] == "pools.main.driver"
    assert told["fresh"]
    assert order(of.machines["e"], fresh=False, driver=True)["driver"] is None
    # The stack has one, and it is still to come.
    assert order(of.machines["a"], fresh=True, driver=False)["driver"] is None


def test_json_and_the_end_say_what_became_of_it() -> None:
    of = three()
    report = Report("s", planned(of, {"b": KERNEL, "c": SOME}), packages=True)
    first = report.of(report.plan.groups[0])
    first.state = "changed"
    first.packages["b"] = Brought(changed=("linux-image-2", "x"), rebooted=True, reboot_due="", seconds=91.2)
    one, other = (group["hosts"][0]["packages"] for group in report.data()["order"])
    assert one["pending"]["kernels"] == ["2"]
    assert one["brought"] == {"changed": ["linux-image-2", "x"], "rebooted": True, "reboot_due": None, "seconds": 91.2}
    assert other["brought"] is None
    assert "b: 2 packages changed, rebooted in 91 s" in list(ended(report))


def test_a_failure_says_how_to_go_on_and_back() -> None:
    report = Report("s", planned(three(), {"b": SOME}), packages=True)
    group = report.plan.groups[0]
    its = report.of(group)
    its.state, its.failure, its.after = "failed", "b: apt-get dist-upgrade failed: E: …", "the packages"
    told = stopped(report, group).splitlines()
    assert told[0] == "b: the packages failed: b: apt-get dist-upgrade failed: E: …"
    assert any(
        line.startswith("  b stays out of service; without a further run it puts itself back after") for line in told
    )
    assert told[-2:] == [
        "  to go on: mend what it says, then `slipway upgrade s --packages` goes on at b",
        "  to go back: `slipway upgrade s`, without --packages, puts it back with the packages that it has",
    ]
