"""`slipway init`: a new stack's file, from options, from a plan, or from answers at the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from slipway.catalog import Catalog, CatalogError, Model, Tier, load
from slipway.catalog.load import find
from slipway.errors import UserMistake
from slipway.paths import ROOT
from slipway.performance.plan_types import Option, Plan, PlanError, Question
from slipway.scaffold import (
    Access,
    Draft,
    InitError,
    Written,
    access,
    for_option,
    for_tier,
    free_name,
    read_plan,
    stack_text,
    write,
)
from slipway.scaffold.draft import fitting_tiers
from slipway.scaffold.hosts import TEAM, USER

_T = TypeVar("_T")
_MODEL = "Qwen/Qwen2.5-7B-Instruct"
_USERS = 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, as it came; empty or None where nothing was said."""

    stack: str
    from_plan: Path | None = None
    option: int | None = None
    model: str | None = None
    tier: str | None = None
    hosts: tuple[str, ...] = ()
    user: str | None = None
    key_file: Path | None = None
    teams: tuple[str, ...] = ()
    catalog: Path | None = None
    force: bool = False


def make(options: Options, *, as_json: bool, root: Path = ROOT) -> None:
    """Write the stack's file, and say where it is and what to do next.

    Raises:
        UserMistake: one of its kinds; nothing was written.
    """
    free_name(options.stack, root, force=options.force)
    _consistent(options)
    catalog = load(options.catalog)
    if options.from_plan is not None:
        plan = read_plan(options.from_plan)
        draft = for_option(plan, options.option, max(1, len(options.teams)), catalog)
    elif options.model is not None and options.tier is not None:
        draft = for_tier(options.model, options.tier, catalog)
    elif at_terminal():
        draft, options = _asked(options, catalog)
    else:
        missing = " and ".join(
            name for name, value in (("--model", options.model), ("--tier", options.tier)) if value is None
        )
        raise InitError(
            f"init: {missing} missing, and there is no terminal to ask at; nothing was written: give --model and --tier, or "
            "--from-plan FILE of `slipway plan --json`"
        )
    made = write(
        stack_text(options.stack, draft, _access(options, draft), _absolute(options.catalog)),
        options.stack,
        root,
        force=options.force,
    )
    _show(options.stack, made, _access(options, draft), root, as_json=as_json)


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _consistent(options: Options) -> None:
    if options.from_plan is not None and (options.model is not None or options.tier is not None):
        raise InitError(
            "--from-plan: names model and hardware itself, and --model or --tier would contradict it: drop one"
        )
    if options.option is not None and options.from_plan is None:
        raise InitError("--option: belongs to a plan, and there is none to choose from: give --from-plan FILE too")


def _absolute(file: Path | None) -> str | None:
    return None if file is None else str(file.expanduser().absolute())


def _access(options: Options, draft: Draft) -> Access:
    return access(
        hosts=options.hosts,
        least_hosts=draft.hosts,
        user=USER if options.user is None else options.user,
        key_file=options.key_file,
        teams=options.teams,
    )


def _show(stack: str, made: Written, reach: Access, root: Path, *, as_json: bool) -> None:
    file = str(made.file.relative_to(root))
    following = f'eval "$(slipway env {stack})" && pulumi preview --stack {stack}'
    if as_json:
        found = [
            {"id": each.id, "severity": str(each.severity), "where": each.where, "message": each.message}
            for each in made.findings
        ]
        content = {
            "stack": stack,
            "file": file,
            "placeholders": reach.placeholders,
            "findings": found,
            "next": following,
        }
        print(json.dumps(content, indent=2))
        return
    from cli.check import lines
    from cli.stack_report import Report

    print(f"{file} is written.")
    print("\n".join(lines(Report(stack=stack, deployment=made.deployment, findings=made.findings))))
    if reach.placeholders:
        print("Its addresses are placeholders: put your hosts' there.")
    print(f"Next: {following}")


# The questions. Each has a default, and an answer that can't be is asked for again.


def _asked(options: Options, catalog: Catalog) -> tuple[Draft, Options]:
    """The draft and the options, with what was not given asked for."""
    from slipway.performance.costs import scenarios

    known = scenarios()
    _say("What is it for?", *(f"  {each.id:10} {each.name}: {each.summary}" for each in known.values()))
    scenario = _choice("Scenario", tuple(known), next(iter(known)))
    model = _model(options, catalog)
    users = _number("Users", _USERS)
    teams = _settled(
        options.teams,
        lambda: _words("Teams that get a key each, separated by spaces", TEAM),
        lambda teams: access(hosts=(), least_hosts=1, teams=teams),
    )
    options = replace(options, teams=teams)
    plan = _plan(model, users, scenario, catalog)
    offered = {} if plan is None else _by_tier(plan)
    tier = options.tier or _tier(model, users, offered, catalog)
    option = offered.get(tier)
    if plan is not None and option is not None and option.meets_targets:
        draft = for_option(plan, plan.options.index(option) + 1, len(teams), catalog)
    else:
        draft = for_tier(model.id, tier, catalog)
    return draft, _reach(options, draft)


def _model(options: Options, catalog: Catalog) -> Model:
    """One that some tier holds."""

    def held(name: str | None) -> Model:
        model = find(catalog.models, name or "", "--model:")
        if not fitting_tiers(model, catalog):
            raise InitError(
                f"--model: no tier holds {model.id}; nothing could serve it: choose a smaller or quantized one"
            )
        return model

    return held(_settled(options.model, lambda: _text("Model (see `slipway models`)", _MODEL), held))


def _plan(model: Model, users: int, scenario: str, catalog: Catalog) -> Plan | None:
    from slipway.performance.plan import plan

    try:
        return plan(Question(model=model.id, users=users, scenario=scenario, places=("on-premises",)), catalog)
    except (PlanError, CatalogError) as error:
        _say(f"No plan for {users} users: {error}; tiers are marked by what fits alone.")
        return None


def _by_tier(plan: Plan) -> dict[str, Option]:
    """The options by tier, the best first."""
    return {option.tier: option for option in plan.options if option.tier is not None}


def _tier(model: Model, users: int, offered: dict[str, Option], catalog: Catalog) -> str:
    fitting = fitting_tiers(model, catalog)
    _say(f"Tiers, and what they are for {model.id}:")
    for tier in catalog.tiers.values():
        mark = "*" if tier.id in fitting else " "
        _say(f" {mark} {tier.id:15} {tier.name:36} {_mark(tier, users, offered.get(tier.id), fits=tier.id in fitting)}")
    _say(" * it fits")
    carrying = [name for name, option in offered.items() if option.meets_targets and name in fitting]
    return _choice("Tier", tuple(fitting), (carrying or fitting)[0])


def _mark(tier: Tier, users: int, option: Option | None, *, fits: bool) -> str:
    if not fits:
        return "does not fit"
    if option is None:
        return "fits; how many users it carries is not predicted" if tier.gpu is None else "fits"
    if not option.meets_targets:
        return f"fits; {option.why_not[0]}" if option.why_not else "fits; misses the targets"
    hosts = f"{option.hosts} host{'s' if option.hosts > 1 else ''}"
    return f"carries {users} users with {hosts}"


def _reach(options: Options, draft: Draft) -> Options:
    count = draft.hosts
    whose = "the host, ADDRESS" if count == 1 else f"the {count} hosts, each ADDRESS or ADDRESS=PRIVATE_ADDRESS"
    return replace(
        options,
        hosts=_settled(
            options.hosts,
            lambda: _words(f"Addresses of {whose} (empty: placeholders)", ""),
            lambda hosts: access(hosts=hosts, least_hosts=count),
        ),
        user=_settled(
            options.user,
            lambda: _text("SSH user", USER),
            lambda user: access(hosts=(), least_hosts=1, user=user or ""),
        ),
        key_file=_settled(
            options.key_file,
            lambda: _file("SSH key file (empty: the usual one if it is there, else the SSH agent)"),
            lambda file: access(hosts=(), least_hosts=1, key_file=file),
        ),
    )


def _settled(given: _T, ask: Callable[[], _T], check: Callable[[_T], object]) -> _T:
    """What was given, or an answer that passes `check`.

    Raises:
        UserMistake: what was given does not pass.
    """
    if given:
        check(given)
        return given
    while True:
        answer = ask()
        try:
            check(answer)
        except UserMistake as error:
            _say(error.report)
        else:
            return answer


def _file(question: str) -> Path | None:
    answer = _text(question, "")
    return Path(answer) if answer else None


def _say(*lines: str) -> None:
    print("\n".join(lines), file=sys.stderr)


def _text(question: str, default: str) -> str:
    import typer

    answer: str = typer.prompt(question, default=default, show_default=bool(default), err=True)
    return answer.strip()


def _words(question: str, default: str) -> tuple[str, ...]:
    return tuple(_text(question, default).replace(",", " ").split())


def _number(question: str, default: int) -> int:
    def check(answer: str) -> None:
        if not answer.isascii() or not answer.isdigit() or int(answer) < 1:
            raise InitError(f"{answer!r} is no whole number from 1 on; give one, such as {default}")

    return int(_settled("", lambda: _text(question, str(default)), check))


def _choice(question: str, values: tuple[str, ...], default: str) -> str:
    def check(answer: str) -> None:
        if answer not in values:
            raise InitError(f"{answer!r} is not to be had; give one of {', '.join(values)}")

    return _settled("", lambda: _text(question, default), check)
