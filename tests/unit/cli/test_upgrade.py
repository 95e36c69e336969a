"""`slipway upgrade` with doubles of Pulumi's engine and of the hosts: who is asked what, in which order, and where it stops."""

import fcntl
import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import doctor, upgrade
from cli.errors import UserError
from cli.main import app
from cli.remote import RemoteError
from slipway.deployment.types import Deployment, Machine
from slipway.doctor.report import HostReport, Result, State
from tests.unit.settings.documents import OTHER_KEY, changed, good
from tests.unit.upgrade.stacks import hosts, urn

BACKENDS = ("m@a/m", "m@b/m")


class Double:
    """The engine and two hosts: a change of the model's engine on each, until an `up` has made it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.due = {"a/m", "b/m", "a/acceptance"}
        self.marks: dict[str, dict[str, Any]] = {}
        self.out: set[str] = set()
        """Hosts whose engine the front does not see."""
        self.fails: set[str] = set()
        """Keys of what can't be changed."""
        self.silent: set[str] = set()
        self.breaks: Callable[[str], None] = lambda _: None
        """Called with each thing that is told."""

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.breaks(what)

    # the engine

    def exists(self) -> bool:
        return True

    def select(self) -> None:
        pass

    def resources(self) -> dict[str, dict[str, Any]]:
        keys = ("a/m", "b/m", "a/vacate", "b/vacate", "a/nginx", "a/litellm", "a/acceptance")
        return {urn(key): {"type": "playbook:index:Playbook", "outputs": {}} for key in keys}

    def preview(self) -> dict[str, Any]:
        needs = {"a/acceptance": [urn("a/m"), urn("b/m")]}
        return {
            "steps": [
                {"op": "update", "urn": urn(key), "newState": {"dependencies": needs.get(key, [])}}
                for key in sorted(self.due)
            ]
        }

    def up(self, *, to_stderr: bool, targets: Sequence[str] = (), replaces: Sequence[str] = ()) -> None:
        keys = [each.rpartition("::")[2] for each in (*targets, *replaces)]
        self._note(f"up {' '.join(keys) or 'all'}")
        for key in keys or sorted(self.due):
            if key in self.fails:
                raise UserError("pulumi up ended with status 255, see above", status=1)
            self.due.discard(key)

    # the hosts

    def on_machine(
        self, deployment: Deployment, machine: Machine, command: str, *, given: str | None = None, timeout_s: float
    ) -> str:
        assert given is not None
        if machine.name in self.silent:
            raise RemoteError(f"{machine.name} (10.0.0.1) did not answer within {timeout_s:g} s")
        printed: list[str] = []
        call = given.splitlines()[-1]
        exec(call, {"json": json, "run": lambda order: self.answer(machine.name, order), "print": printed.append})  # noqa: S102
        return "\n".join(printed)

    def answer(self, host: str, order: dict[str, Any]) -> dict[str, Any]:
        if order["action"] == "look":
            return {"mark": self.marks.get(host), "holds": False}
        if order["action"] == "serving":
            return {"backends": {name: name.partition("@")[2][0] not in self.out for name in BACKENDS}}
        self._note(f"{order['action']} {host}")
        if order["action"] == "drain":
            own = {key: order[key] for key in ("owner", "host", "units")}
            self.marks[host] = {**own, "since": "s", "until": "u", "over": False}
            self.out.add(host)
        if order["action"] == "start" and f"{host}/m" not in self.fails:
            self.out.discard(host)
        if order["action"] == "end":
            self.marks.pop(host, None)
        return {"seconds": 1.0}


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Double:
    found = Double()
    monkeypatch.setattr(upgrade, "PulumiStack", lambda _: found)
    monkeypatch.setattr(upgrade, "on_machine", found.on_machine)
    monkeypatch.setattr(upgrade, "STATE", tmp_path)
    monkeypatch.setattr(upgrade, "_EVERY_S", 0)
    monkeypatch.setattr(upgrade, "_ASK_S", 0)
    document = changed(good(), "pools.main.hosts", hosts("a", "b"))
    document = changed(document, "gateway.engine_key", OTHER_KEY)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "playbooks").symlink_to(root / "playbooks")
    (tmp_path / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))
    return found


def run(tmp_path: Path, **options: Any) -> None:
    upgrade.upgrade_stack("s", upgrade.Options(**options), tmp_path)


B_THEN_A = [
    *("drain b", "up b/m b/vacate a/acceptance", "start b", "end b"),
    *("drain a", "up a/m a/vacate a/acceptance", "start a", "end a"),
]


def test_each_host_is_drained_changed_verified_and_put_back_before_the_next(double: Double, tmp_path: Path) -> None:
    run(tmp_path)
    assert double.told == [*B_THEN_A, "up all"]
    assert (double.marks, double.out) == ({}, set())


def test_a_preview_touches_nothing(double: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, preview=True)
    assert double.told == []
    assert capsys.readouterr().out.startswith("1. b: m\n")


def test_json_is_one_object_on_stdout(double: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [(group["hosts"][0]["host"], group["state"]) for group in told["order"]] == [
        ("b", "changed"),
        ("a", "changed"),
    ]


def test_one_host_alone_and_nothing_beyond_it(double: Double, tmp_path: Path) -> None:
    run(tmp_path, hosts=["a"])
    assert double.told == B_THEN_A[4:]


def test_it_stops_at_the_first_host_that_fails_and_goes_on_there(double: Double, tmp_path: Path) -> None:
    double.fails = {"b/m"}
    with pytest.raises(UserError) as stopped:
        run(tmp_path)
    assert stopped.value.status == 1
    assert "b: the change failed: pulumi up ended with status 255, see above" in str(stopped.value)
    assert "as they were: a" in str(stopped.value)
    assert "still served: m by a/m" in str(stopped.value)
    assert double.told == ["drain b", "up b/m b/vacate a/acceptance"]
    double.fails, double.told = set(), []
    run(tmp_path)
    assert double.told == [*B_THEN_A, "up all"]
    assert double.marks == {}


def test_who_interrupts_it_reads_which_host_is_drained(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(double, "up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    said = capsys.readouterr().out
    assert "interrupted in the turn of b: " in said
    assert "`slipway upgrade s` goes on" in said
    assert double.marks.keys() == {"b"}


@pytest.mark.parametrize("at", B_THEN_A)
def test_killed_anywhere_it_converges_and_leaves_no_host_drained(double: Double, tmp_path: Path, at: str) -> None:
    class Killed(BaseException):
        pass

    def kill(what: str) -> None:
        if what == at:
            raise Killed

    double.breaks = kill
    with pytest.raises(Killed):
        run(tmp_path)
    double.breaks = lambda _: None
    run(tmp_path)
    assert (double.due, double.marks, double.out) == (set(), {}, set())


def test_a_host_that_was_drained_and_not_put_back_comes_first(double: Double, tmp_path: Path) -> None:
    double.due = {"b/m", "a/acceptance"}
    own = socket.gethostname()
    double.marks["a"] = {"owner": "me", "host": own, "since": "s", "until": "u", "over": False}
    run(tmp_path)
    # Nothing changes there, so nobody has asked through the front yet.
    assert double.told[:5] == ["drain a", "start a", "up a/acceptance", "end a", "drain b"]


@pytest.mark.parametrize(("over", "options"), [(True, {}), (False, {"take_over": True})])
def test_a_run_of_another_machine_is_left_alone_until_its_time_is_over_or_one_is_told(
    double: Double, tmp_path: Path, *, over: bool, options: dict[str, Any]
) -> None:
    foreign = {"owner": "ann (pid 7)", "host": "another", "since": "s", "until": "u", "over": False}
    double.marks["b"] = foreign
    with pytest.raises(UserError, match=r"b is drained by ann \(pid 7\) on another since s"):
        run(tmp_path)
    assert double.told == []
    double.marks["b"] = {**foreign, "over": over}
    run(tmp_path, **options)
    assert double.told[0] == "drain b"


def test_a_second_run_at_the_same_time_is_refused(double: Double, tmp_path: Path) -> None:
    with (tmp_path / "upgrade-s.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another `slipway upgrade s` is at work on this machine"):
            run(tmp_path)
    assert double.told == []


def test_nothing_is_drained_while_nobody_stands_in(double: Double, tmp_path: Path) -> None:
    double.due = {"b/m"}
    answer = double.answer

    def down(host: str, order: dict[str, Any]) -> dict[str, Any]:
        if order["action"] == "serving":
            return {"backends": {"m@a/m": "drain b" in double.told, "m@b/m": True}}
        return answer(host, order)

    double.answer = down  # type: ignore[method-assign]
    with pytest.raises(UserError, match="m would have no replica, as the front gets no answer from a/m"):
        run(tmp_path)
    # The leave is for what the plan names as away, and m is not.
    with pytest.raises(UserError, match="m would have no replica"):
        run(tmp_path, allow_outage=True)
    assert double.told == []


def examined_as(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, HostReport]
) -> None:
    """The hosts have a GPU each, and what `slipway doctor` asks of them is answered so."""
    file = tmp_path / "stacks/Pulumi.s.yaml"
    document = yaml.safe_load(file.read_text())
    platform = document["config"]["slipway:platform"]
    platform["pools"]["main"].update(gpu="rtx-4090", gpus=1)
    platform["models"]["m"].update(gpus=1)
    file.write_text(yaml.safe_dump(document))

    def examined(of: Deployment, machine: Machine, asked: dict[str, Any], root: Path) -> HostReport:
        # All that a host can be asked by itself, with the kernel of the proof.
        assert asked == doctor.own_order(of, of.machines[machine.name], root)
        assert {"gpu.xid", "cuda.kernel"} <= {check["id"] for check in asked["checks"]}
        assert asked["ptx"]
        double.told.append(f"examine {machine.name}")
        return answers.get(machine.name, HostReport(host=machine.name))

    monkeypatch.setattr(upgrade, "examined", examined)


def result(check: str, evidence: str, severity: str = "critical") -> Result:
    return Result(
        id=check,
        what="w",
        severity=severity,
        state=State.FAILED,
        evidence=(evidence,),
        gpus=(0,),
        consequence="c",
        mend=f"mend {check}",
    )


EXAMINED_B_THEN_A = [
    *("drain b", "up b/m b/vacate a/acceptance", "start b", "examine b", "end b"),
    *("drain a", "up a/m a/vacate a/acceptance", "start a", "examine a", "end a"),
]


def test_each_gpu_host_is_examined_once_it_answers_and_before_it_is_put_back(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = HostReport(host="b", results=(result("gpu.slowed", "heat", "warning"),))
    examined_as(double, tmp_path, monkeypatch, {"b": warned})

    run(tmp_path)

    assert double.told == [*EXAMINED_B_THEN_A, "up all"]
    assert (double.marks, double.out) == ({}, set())


def test_hosts_without_gpus_are_not_examined(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "examined", None)
    run(tmp_path)
    assert double.told == [*B_THEN_A, "up all"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            HostReport(
                host="b",
                results=(
                    result("gpu.xid", "Xid 79 of the GPU at 0000:17:00.0"),
                    result("gpu.slowed", "heat", "warning"),
                    result("cuda.kernel", "computed 5 numbers wrong"),
                ),
            ),
            "gpu.xid: Xid 79 of the GPU at 0000:17:00.0: mend gpu.xid; "
            "cuda.kernel: computed 5 numbers wrong: mend cuda.kernel",
        ),
        (HostReport(host="b", error="b (10.0.0.12) did not answer within 300 s"), "b (10.0.0.12) did not answer"),
        (
            HostReport(host="b", watch={"out": {"m": {"since": "s", "reason": "r", "passes": 0}}}),
            "`slipway doctor s --host b` says why",
        ),
    ],
)
def test_a_gpu_host_that_is_not_well_is_drained_again_and_the_others_stay(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: HostReport, why: str
) -> None:
    examined_as(double, tmp_path, monkeypatch, {"b": answer})

    with pytest.raises(UserError) as stopped:
        run(tmp_path)

    assert stopped.value.status == 1
    assert f"b: its checks failed: {why}" in str(stopped.value)
    assert "slowed" not in str(stopped.value)
    assert "as they were: a" in str(stopped.value)
    assert "b stays out of service" in str(stopped.value)
    assert double.told == [*EXAMINED_B_THEN_A[:4], "drain b"]
    assert (double.marks.keys(), double.out) == ({"b"}, {"b"})
    assert double.marks["b"]["units"] == ["slipway-m.service"]

    # Mended, it goes on there.
    examined_as(double, tmp_path, monkeypatch, {})
    double.told = []
    run(tmp_path)
    assert [each for each in double.told if each.startswith("e")] == ["examine b", "end b", "examine a", "end a"]
    assert (double.marks, double.out) == ({}, set())


def test_a_replica_that_the_front_does_not_see_again_stops_it(double: Double, tmp_path: Path) -> None:
    answer = double.answer

    def dead(host: str, order: dict[str, Any]) -> dict[str, Any]:
        if order["action"] == "serving":
            return {"backends": {"m@a/m": True, "m@b/m": "drain b" not in double.told}}
        return answer(host, order)

    double.answer = dead  # type: ignore[method-assign]
    ended = iter([0.0, 1.0, *[1e6 * number for number in range(1, 9)]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ended))
        with pytest.raises(UserError, match="b: the wait for an answer failed: the front gets none from m@b/m within"):
            run(tmp_path)
    assert "end b" not in double.told


def test_a_new_replica_that_the_front_does_not_know_yet_does_not_stop_it(double: Double, tmp_path: Path) -> None:
    """The front's own part changes later, on a."""
    answer = double.answer

    def omits(host: str, order: dict[str, Any]) -> dict[str, Any]:
        return {"backends": {"m@a/m": True}} if order["action"] == "serving" else answer(host, order)

    double.answer = omits  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no front knows its other replicas yet"):
        run(tmp_path)
    run(tmp_path, allow_outage=True)
    assert double.told[:4] == B_THEN_A[:4]


def test_what_is_beside_the_hosts_goes_along_with_each_of_them(double: Double, tmp_path: Path) -> None:
    quorum = "urn:pulumi:s::slipway::slipway:index:Platform$playbook:index:Quorum::main-preflight"
    preview = double.preview

    def counted() -> dict[str, Any]:
        return {"steps": [{"op": "create", "urn": quorum, "newState": {}}, *preview()["steps"]]}

    double.preview = counted  # type: ignore[method-assign]
    run(tmp_path)
    assert double.told[1] == "up b/m b/vacate main-preflight a/acceptance"


def test_the_store_is_brought_before_any_host_is_drained(double: Double, tmp_path: Path) -> None:
    double.due |= {"a/stored-m"}
    run(tmp_path)
    assert double.told == ["up a/stored-m", *B_THEN_A, "up all"]


def test_the_acceptance_waits_for_a_front_that_changes_later(double: Double, tmp_path: Path) -> None:
    double.due |= {"a/nginx"}
    preview = double.preview

    def needed() -> dict[str, Any]:
        found = preview()
        for step in found["steps"]:
            if step["urn"] == urn("a/acceptance"):
                step["newState"]["dependencies"].append(urn("a/nginx"))
        return found

    double.preview = needed  # type: ignore[method-assign]
    run(tmp_path)
    assert double.told[1] == "up b/m b/vacate"
    assert double.told[5] == "up a/m a/nginx a/vacate a/acceptance"


def test_an_outage_needs_leave(double: Double, tmp_path: Path) -> None:
    file = tmp_path / "stacks/Pulumi.s.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"]["slipway:platform"]["models"]["m"]["replicas"] = 1
    file.write_text(yaml.safe_dump(document))
    double.due = {"a/m"}
    with pytest.raises(UserError, match="nobody would answer for model m while a changes"):
        run(tmp_path)
    assert double.told == []
    run(tmp_path, allow_outage=True)
    assert "up a/m a/vacate" in double.told


def test_a_host_that_does_not_answer_is_named_before_anything_happens(double: Double, tmp_path: Path) -> None:
    double.silent = {"b"}
    with pytest.raises(UserError, match=r"nothing was touched: b \(10\.0\.0\.1\) did not answer.*--host"):
        run(tmp_path)
    assert double.told == []
    # Whoever stands in is asked by the front.
    run(tmp_path, hosts=["a"])
    assert double.told == B_THEN_A[4:]


def test_a_drain_that_fails_puts_the_host_back(double: Double, tmp_path: Path) -> None:
    answer = double.answer

    def stuck(host: str, order: dict[str, Any]) -> dict[str, Any]:
        return {"error": "it did not stop"} if order["action"] == "drain" else answer(host, order)

    double.answer = stuck  # type: ignore[method-assign]
    with pytest.raises(UserError, match="b: the drain failed: b: it did not stop"):
        run(tmp_path)
    assert double.told == ["start b", "end b"]


def test_the_commands_options_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(upgrade, "upgrade_stack", lambda stack, options: told.append((stack, options)))
    line = ["upgrade", "s", "--host", "a", "--host", "b", "--preview", "--allow-outage", "--take-over", "--json"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert told == [
        (
            "s",
            upgrade.Options(hosts=["a", "b"], preview=True, allow_outage=True, take_over=True, as_json=True),
        )
    ]


def test_a_stack_that_was_never_up_is_told_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Empty(Double):
        def exists(self) -> bool:
            return False

    monkeypatch.setattr(upgrade, "PulumiStack", lambda _: Empty())
    said = "take it up first, by `pulumi up --stack s` as its file says, or by `slipway up s`, which does not ask$"
    with pytest.raises(UserError, match=said):
        upgrade.upgrade_stack("s", upgrade.Options(), tmp_path)
