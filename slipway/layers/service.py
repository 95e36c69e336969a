"""A launch, as role service takes it: one systemd unit with its user, folders, secrets and files."""

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.deployment.claims import Claims
from slipway.deployment.names import PROGRAM_PREFIX
from slipway.deployment.types import Machine
from slipway.engines.base import Launch, Program
from slipway.layers import drivers
from slipway.layers.step import Step

STOPPING_S = 90
"""What a stop may take beyond its drain."""


def service_step(
    machine: Machine,
    instance: str,
    launch: Launch,
    program: Program,
    *,
    url: str,
    memory_max: str,
    elsewhere: str = "",
    replica: Iterable[str] = (),
    drain_s: int,
    start_timeout_s: int,
    claims: Claims,
    after: tuple[str, ...],
    again_after: tuple[str, ...] = (),
    reads: Mapping[str, str] | None = None,
    read_only_paths: tuple[str, ...] = (),
    egress: Mapping[str, Iterable[int]] | None = None,
    ingress: tuple[str, ...] | None = None,
    rolling: str | None = None,
    out_mark: str | None = None,
) -> Step:
    """The step that runs `launch` as `instance` on `machine`.

    Args:
        machine: where.
        instance: its name; unit, user and folders are called after it.
        launch: how it is started.
        program: what it runs.
        url: where it answers, without a path.
        memory_max: systemd's memory limit.
        elsewhere: where else to look when it does not come up, in words.
        replica: digests of the other parts of its replica, if it is the head (`slipway.layers.vacate`).
        drain_s: how long a stop waits for what has begun.
        start_timeout_s: from a start to the first answer.
        claims: what it has of the machine for itself.
        after: keys of the steps before it.
        again_after: keys of the steps after each of whose runs it runs again.
        reads: files of others that it reads, with the SHA-256 of what ought to be in them.
        read_only_paths: folders that it reads and that lie where services see nothing.
        egress: the ports that it may open connections to, by address; loopback is an address like any other; None for all.
        ingress: addresses that may call one that has such a limit, beside loopback; None for all.
        rolling: the group of which one at a time is changed; None where nobody else serves the same.
        out_mark: a file beside which it does not start: somebody on the machine has taken it out of service.
    """
    probe: dict[str, Any] = {} if launch.probe is None else {"url": url + launch.probe.path}
    if launch.probe is not None and launch.probe.body is not None:
        probe["body"] = dict(launch.probe.body)
    variables: dict[str, Any] = {
        "service_name": instance,
        "service_description": launch.description,
        "service_command": [f"{program.folder}/bin/{launch.command[0]}", *launch.command[1:]],
        "service_environment": dict(launch.environment),
        "service_secrets": dict(launch.secrets),
        "service_files": {
            name: {"content": file.content, "secret": file.secret, "reload": file.reload}
            for name, file in launch.files.items()
        },
        "service_reads": dict(reads or {}),
        "service_read_only_paths": list(read_only_paths),
        "service_sandbox": {
            name: value if isinstance(value, str) else list(value) for name, value in launch.sandbox.items()
        },
        "service_after_start": [[f"{program.folder}/bin/{command[0]}", *command[1:]] for command in launch.after_start],
        "service_claims": claims.data(),
        "service_memory_max": memory_max,
        "service_drain_timeout": drain_s,
        "service_start_timeout": start_timeout_s,
        "service_probe": probe,
        "service_also": {name: url + path for name, path in launch.also.items()},
        "service_journal": dict(launch.journal),
        "service_program": {"root": program.root, "folder": program.folder},
    }
    # What the role has a default for.
    given: dict[str, Any] = {
        "service_probe_key": launch.probe_key,
        "service_ready_line": launch.ready,
        "service_interfaces": dict(launch.interfaces) or None,
        "service_peers": list(launch.peers) or None,
        "service_elsewhere": elsewhere or None,
        "service_replica": list(replica) or None,
        # As a list: an address may be a reference, which can stand in a value and not in a key.
        "service_egress": None
        if egress is None
        else [{"address": address, "ports": list(ports)} for address, ports in egress.items()],
        "service_ingress": None if ingress is None else list(ingress),
        "service_out_mark": out_mark,
    }
    variables |= {name: value for name, value in given.items() if value is not None}
    return Step(
        machine=machine,
        instance=instance,
        role="service",
        variables=variables,
        after=after,
        again_after=again_after,
        rolling=rolling,
        timeout_s=start_timeout_s + drain_s + STOPPING_S,
    )


def program_name(program: Program) -> str:
    """What the step that installs `program` is called."""
    return f"{PROGRAM_PREFIX}{program.name}"


def program_step(machine: Machine, program: Program) -> Step:
    """The step that installs `program` on `machine`."""
    return Step(
        machine=machine,
        instance=program_name(program),
        role=program.role,
        variables={
            f"{program.role}_root": program.root,
            f"{program.role}_folder": program.folder,
            **program.variables,
        },
        after=(drivers.ready(machine),),
        timeout_s=program.timeout_s,
        playbooks=None if program.playbooks is None else str(program.playbooks),
    )
