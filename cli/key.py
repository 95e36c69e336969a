"""`slipway key`: makes, renews, takes away and lists the keys of a stack's teams. A key is shown once; a hash of it is kept."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cli.errors import UserError
from slipway.keys import Entry, make, with_keys, write
from slipway.paths import ROOT
from slipway.settings.errors import PREFIX
from slipway.settings.gateway import Team
from slipway.settings.load import read_public, stack_file
from slipway.settings.types import epoch, moment

_OVERLAP = re.compile(r"(\d{1,4})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def create_key(stack: str, team: str, *, days: int | None, until: str | None, as_json: bool, root: Path = ROOT) -> None:
    """Make a further key for a team; it ends after so many days, or `until` then, or never.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team, or a time that is none or is over.
    """
    keys = _team(stack, team, root).keys
    made = make(_end(days, until))
    _write(stack, team, [*(_entry(key) for key in keys), made.entry], root)
    _show(stack, team, made.key, made.entry, as_json=as_json)


def rotate_key(
    stack: str, team: str, *, overlap: str, days: int | None, until: str | None, as_json: bool, root: Path = ROOT
) -> None:
    """Make a new key for a team; those that it has end after the overlap (such as ``7d``, ``12h``, ``0m``).

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team, a time that is none, or a team without created keys.
    """
    settings = _team(stack, team, root)
    if not settings.keys:
        raise UserError(
            f"team {team!r} has no created key that could be renewed; `slipway key create {stack} --team {team}` makes one"
        )
    ends = (datetime.now(tz=UTC) + _duration(overlap)).replace(microsecond=0)
    older = [_entry(key) for key in settings.keys]
    for entry in older:
        if "not_after" not in entry or epoch(entry["not_after"]) > ends.timestamp():
            entry["not_after"] = ends.isoformat().replace("+00:00", "Z")
    made = make(_end(days, until))
    _write(stack, team, [*older, made.entry], root)
    _show(stack, team, made.key, made.entry, as_json=as_json)
    print(f"the older keys of {team} end at {ends:%Y-%m-%d %H:%M} UTC", file=sys.stderr)
    if settings.key is not None:
        print(f"{PREFIX}.gateway.teams.{team}.key goes on: it is the site's own to change", file=sys.stderr)


def revoke_key(stack: str, team: str, id_: str, *, root: Path = ROOT) -> None:
    """Take a key away.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team or key, or it is the team's last one.
    """
    settings = _team(stack, team, root)
    left = [_entry(key) for key in settings.keys if key.id != id_]
    if len(left) == len(settings.keys):
        known = ", ".join(key.id for key in settings.keys) or "none"
        raise UserError(f"team {team!r} has no key with the id {id_!r}; its created keys: {known}")
    if not left and settings.key is None:
        raise UserError(
            f"{id_} is the last key of team {team!r}, and a team without one is refused; "
            "create another first, or remove the team"
        )
    _write(stack, team, left, root)
    print(
        f"{id_} opens nothing any more after the next `slipway up {stack}`, within seconds and without a restart",
        file=sys.stderr,
    )


def list_keys(stack: str, team: str | None, *, as_json: bool, root: Path = ROOT) -> None:
    """Print the keys by their ids: never the keys, of which nothing is known.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team.
    """
    teams = read_public(stack, root).gateway.teams
    if team is not None:
        teams = {team: _team(stack, team, root)}
    rows = [
        {"team": name, "id": id_, "not_after": end, "state": _state(end, settings.expires)}
        for name, settings in teams.items()
        for id_, end in [
            *([(None, None)] if settings.key is not None else []),
            *((key.id, key.not_after) for key in settings.keys),
        ]
    ]
    if as_json:
        print(json.dumps({"keys": rows}, indent=2))
        return
    lines = [("team", "id", "ends", "state")]
    lines += [
        (str(row["team"]), row["id"] or "(own secret)", row["not_after"] or "never", row["state"] or "") for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _team(stack: str, team: str, root: Path) -> Team:
    teams = read_public(stack, root).gateway.teams
    if team not in teams:
        raise UserError(f"stack {stack} has no team {team!r}; its teams: {', '.join(teams)}")
    return teams[team]


def _entry(key: object) -> Entry:
    data = {name: getattr(key, name) for name in ("id", "salt", "hash", "not_after")}
    return {name: value for name, value in data.items() if value is not None}


def _write(stack: str, team: str, entries: list[Entry], root: Path) -> None:
    file = stack_file(stack, root)
    write(file, with_keys(file.read_text(encoding="utf-8"), ("config", PREFIX, "gateway", "teams", team), entries))


def _show(stack: str, team: str, key: str, entry: Entry, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"team": team, "id": entry["id"], "key": key, "not_after": entry.get("not_after")}, indent=2))
    else:
        print(key)
    ends = entry.get("not_after")
    print(
        f"key {entry['id']} of team {team}{f', until {ends}' if ends else ''}: shown this once and kept nowhere. "
        f"It opens after the next `slipway up {stack}`, within seconds and without a restart.",
        file=sys.stderr,
    )


def _end(days: int | None, until: str | None) -> str | None:
    if days is not None and until is not None:
        raise UserError("--days and --until say the same; give one of them")
    if days is not None:
        return (datetime.now(tz=UTC).date() + timedelta(days=days)).isoformat()
    if until is None:
        return None
    try:
        text = moment(until)
    except ValueError as error:
        raise UserError(f"--until {until}: {error}") from None
    if epoch(text) <= datetime.now(tz=UTC).timestamp():
        raise UserError(f"--until {until}: is over; the key would open nothing")
    return text


def _duration(text: str) -> timedelta:
    found = _OVERLAP.fullmatch(text)
    if found is None:
        raise UserError(f"--overlap {text}: is no time; write it like 7d, 12h or 30m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _state(end: str | date | None, team_end: str | None) -> str:
    now = datetime.now(tz=UTC).timestamp()
    ends = [epoch(str(each)) for each in (end, team_end) if each is not None]
    return "ended" if any(now >= each for each in ends) else "valid"
