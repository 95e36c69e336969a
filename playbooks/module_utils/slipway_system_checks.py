"""What preflight asks of a host's system: the distribution, the roles that it can run, its Python. Each problem is one line.

Nothing is changed, and nothing of the hardware is looked at: that is the survey's (host_survey).
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible.module_utils.slipway_systems import OLDEST_PYTHON, OWN_PYTHON, SUPPORTED, System, find

HOSTS = "hosts"


def check_system(release: dict[str, str], *, systemd: bool, hosts: str = HOSTS) -> Iterator[str]:
    """Distribution and init; `release` are the fields of os-release."""
    if find(release) is None:
        yield (
            f"the system is {release.get('PRETTY_NAME', 'an unknown system')}; Slipway needs {SUPPORTED}: "
            f"install one of them or name another host in {hosts}"
        )
    if not systemd:
        yield (
            "systemd does not run here, and every layer is a systemd unit: "
            f"boot the host with systemd or name another one in {hosts}"
        )


def check_roles(release: dict[str, str], roles: list[str]) -> Iterator[str]:
    """Roles that the system can't run."""
    system = find(release)
    for role in roles if system else ():
        if role in system.refused:
            yield f"{role} cannot run on {release.get('PRETTY_NAME', system.name)}: {system.refused[role]}"


def check_python(system: System | None, version: tuple[int, ...], *, venv: bool, hosts: str = HOSTS) -> Iterator[str]:
    """The system's own Python, with which the first environment is made, and most others."""
    own = system is None or system.python == OWN_PYTHON
    if own and version < OLDEST_PYTHON:
        have = ".".join(str(number) for number in version) if version else "none"
        yield (
            f"{OWN_PYTHON} is {have}; the layers need Python {'.'.join(map(str, OLDEST_PYTHON))} or later: "
            f"upgrade the system or name another host in {hosts}"
        )
    elif not venv:
        yield (
            "python3 cannot make virtual environments, and apt knows no package python3-venv: "
            "complete apt's sources on the host (then apt-get update)"
        )
