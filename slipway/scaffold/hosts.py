"""How hosts are reached and who may use them: what only the owner of the hosts knows, checked word by word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.scaffold.errors import InitError
from slipway.settings.types import address, host_name, private_address, user_name
from slipway.targets.hosts.settings import Host

USER = "ubuntu"
TEAM = "platform"
KEY_FILES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
"""Where ssh itself looks; the first that is there."""
PLACEHOLDERS = 20
"""Hosts that get an address of 192.0.2.0/24, which is set aside for documentation (RFC 5737) and reaches nobody."""
_FIRST = 10


@dataclass(frozen=True, kw_only=True)
class Place:
    """One host's addresses."""

    address: str
    private_address: str | None = None
    """None where `address` is private itself, or no other host calls this one."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The hosts, the way in, and the teams."""

    places: tuple[Place, ...]
    placeholders: bool
    """Whether the addresses stand in for the real ones."""
    user: str
    key_file: str | None
    """As the stack's file has it; None where the SSH agent is asked."""
    teams: tuple[str, ...]


def access(
    *,
    hosts: Sequence[str],
    least_hosts: int,
    user: str = USER,
    key_file: Path | None = None,
    teams: Sequence[str] = (),
) -> Access:
    """Check what was given, and fill in what was not.

    Args:
        hosts: each `ADDRESS` or `ADDRESS=PRIVATE`; empty for placeholders.
        least_hosts: that the deployment takes.
        user: the SSH user.
        key_file: the SSH key. Default: the first of `KEY_FILES` that is there, else the SSH agent.
        teams: names; empty for one team, `platform`.

    Raises:
        InitError: something of it can't be.
    """
    return Access(
        places=_given(hosts, least_hosts) if hosts else _placeholders(least_hosts),
        placeholders=not hosts,
        user=_valid("--user", user_name, user),
        key_file=_key_file(key_file),
        teams=_distinct("--team", [_valid("--team", host_name, team) for team in teams or (TEAM,)]),
    )


def _given(hosts: Sequence[str], least: int) -> tuple[Place, ...]:
    if len(hosts) < least:
        raise InitError(
            f"--host: {len(hosts)} given, and the deployment takes {least}; the load would not be carried: give one for "
            "each, or none for placeholders"
        )
    places = []
    for text in hosts:
        reached, given, private = text.partition("=")
        place = Place(
            address=_valid("--host", address, reached),
            private_address=_valid("--host", private_address, private) if given else None,
        )
        if len(hosts) > 1 and _host(place).internal_address is None:
            raise InitError(
                f"--host: {place.address} is no private address, and the gateway calls the engines from host to host; "
                f"they would face the internet: give the host's private address too, as {place.address}=10.0.0.1"
            )
        places.append(place)
    _distinct("--host", [place.address for place in places])
    return tuple(places)


def _host(place: Place) -> Host:
    return Host(address=place.address, private_address=place.private_address, user=USER)


def _placeholders(count: int) -> tuple[Place, ...]:
    if count > PLACEHOLDERS:
        raise InitError(f"--host: the deployment takes {count} hosts, too many for placeholders: give their addresses")
    numbers = range(_FIRST + 1, _FIRST + 1 + count)
    return tuple(
        Place(address=f"192.0.2.{number}", private_address=f"10.20.0.{number}" if count > 1 else None)
        for number in numbers
    )


def _key_file(given: Path | None) -> str | None:
    if given is None:
        return next((name for name in KEY_FILES if Path(name).expanduser().is_file()), None)
    file = given.expanduser()
    if not file.is_file():
        raise InitError(
            f"--key-file: {given} is no file; the hosts could not be reached: correct it, make the key with ssh-keygen, or "
            "leave it out to ask the SSH agent"
        )
    # The program runs in the project's folder, so a path that counts from here would miss.
    return str(given) if str(given).startswith("~") else str(file.absolute())


def _valid(option: str, validator: Callable[[str], str], value: str) -> str:
    try:
        return validator(value)
    except ValueError as error:
        raise InitError(f"{option}: {error}") from None


def _distinct(option: str, values: list[str]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise InitError(f"{option}: {value} is given twice; the two could not be told apart: give each once")
    return tuple(values)
