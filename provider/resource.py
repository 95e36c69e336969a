"""`Playbook` for Pulumi programs: an Ansible role applied to one host.

Example:
    >>> web = Playbook(
    ...     "web",
    ...     host=HostArgs(name="web-1", address="10.0.0.5", user="admin", key_file="~/.ssh/id_ed25519"),
    ...     role="nginx",
    ...     variables={"nginx_port": 443, "nginx_site_key": config.require_secret("key")},
    ... )
    >>> pulumi.export("certificate", web.results["ca_certificate"])

The plugin is found through `plugins.providers` of Pulumi.yaml; this module needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

_COMPUTED = ("digest", "drift", "results", "changed", "generation", "managed", "missing")


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """The machine that a role is applied to.

    Attributes:
        name: what messages, state and log call it. Another name is another machine: the resource is replaced.
        address: IP address or DNS name; not needed for a local connection.
        port: of sshd, 22 unless given.
        user: the login; OpenSSH's own choice unless given.
        key_file: the private key's path, relative to the project. The key itself never becomes an input.
        host_key: the host's public key as `ssh-ed25519 AAAA…`. Unless given, the first one seen is remembered.
        connection: `ssh`, or `local` for this very machine.
        become: whether the role runs as root through sudo, true unless given.
    """

    name: pulumi.Input[str]
    address: pulumi.Input[str] | None = None
    port: pulumi.Input[int] | None = None
    user: pulumi.Input[str] | None = None
    key_file: pulumi.Input[str] | None = None
    host_key: pulumi.Input[str] | None = None
    connection: pulumi.Input[str] | None = None
    become: pulumi.Input[bool] | None = None

    def properties(self) -> dict[str, pulumi.Input[Any]]:
        """The map that the plugin expects, without what was not given."""
        given = {
            "name": self.name,
            "address": self.address,
            "port": self.port,
            "user": self.user,
            "keyFile": self.key_file,
            "hostKey": self.host_key,
            "connection": self.connection,
            "become": self.become,
        }
        return {key: value for key, value in given.items() if value is not None}


class Playbook(pulumi.CustomResource):
    """A role, applied to a host, kept as it was applied, and removed with the resource."""

    def __init__(
        self,
        resource_name: str,
        *,
        host: HostArgs | pulumi.Input[Mapping[str, Any]],
        role: pulumi.Input[str],
        instance: pulumi.Input[str] | None = None,
        playbooks: pulumi.Input[str] | None = None,
        variables: pulumi.Input[Mapping[str, Any]] | None = None,
        timeout: pulumi.Input[float] | None = None,
        removal: pulumi.Input[Mapping[str, Any]] | None = None,
        triggers: pulumi.Input[Sequence[Any]] | None = None,
        records: pulumi.Input[str] | None = None,
        deep: pulumi.Input[bool] | None = None,
        rolling: pulumi.Input[str] | None = None,
        absence: pulumi.Input[Mapping[str, Any]] | None = None,
        environment: pulumi.Input[Sequence[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declares the resource.

        Args:
            resource_name: the resource's name in the stack.
            host: the machine.
            role: a folder below `roles/` of the playbooks folder.
            instance: what this application of the role is called, where a host has the role several times; the role's
                name unless given. Another one is another thing on the host: the resource is replaced.
            playbooks: the folder with `roles/`, relative to the project; `playbooks` unless given.
            variables: the role's variables. Values are taken as they are: `{{ }}` in them is text, not a template.
            timeout: seconds that a run may take; 1800 unless given.
            removal: variables that make the role remove what it made, on top of `variables`;
                `{"<role>_state": "absent"}` unless given.
            triggers: values whose change applies the role again.
            records: the folder on the host in which it is kept what the role manages; /var/lib/playbook unless given. Its
                parent has to be there.
            deep: whether a refresh runs the role in check mode even where the host looks as recorded.
            rolling: a name; of all that have the same one, one at a time is changed, and none any more once one has failed.
                What is made or removed does not wait.
            absence: `{group, most, refused, others}`: up to `most` hosts of a `group` may be missing. Of one that can't be
                reached, or with `refused` that fails the role, nothing is applied, and the command goes on; the state says
                why, and the next command applies it. `others` are hosts without which there is nothing to apply.
            environment: names, or beginnings as `AWS_*`, of variables of the engine's environment that plugins of the role on
                this machine find in the variable `playbook_environment`. Values are in no state and no file; no other
                variable that may be a secret reaches a run.
            opts: the usual options.
        """
        properties: dict[str, Any] = {
            "host": host.properties() if isinstance(host, HostArgs) else host,
            "role": role,
            "instance": instance,
            "playbooks": playbooks,
            "variables": variables,
            "timeout": timeout,
            "removal": removal,
            "triggers": triggers,
            "records": records,
            "deep": deep,
            "rolling": rolling,
            "absence": absence,
            "environment": environment,
            **dict.fromkeys(_COMPUTED),
        }
        super().__init__("playbook:index:Playbook", resource_name, properties, opts)

    @property
    def digest(self) -> pulumi.Output[str]:
        """The digest of all files that make the role, as applied; empty when the last run did not finish."""
        return self._output("digest")

    @property
    def drift(self) -> pulumi.Output[list[str]]:
        """What the last refresh found changed on the host: `instance: task (path)` each."""
        return self._output("drift")

    @property
    def results(self) -> pulumi.Output[dict[str, Any]]:
        """What the role exported with `set_stats` under `playbook_results`."""
        return self._output("results")

    @property
    def changed(self) -> pulumi.Output[int]:
        """How many tasks changed something in the last run."""
        return self._output("changed")

    @property
    def generation(self) -> pulumi.Output[int]:
        """How often the role was applied after the first time."""
        return self._output("generation")

    @property
    def managed(self) -> pulumi.Output[int | None]:
        """How many things on the host a refresh looks at; None where it has to run the role in check mode."""
        return self._output("managed")

    @property
    def missing(self) -> pulumi.Output[str]:
        """Why nothing was applied although nothing failed: the host is missing, and may be; empty otherwise."""
        return self._output("missing").apply(lambda reason: reason or "")

    def _output(self, name: str) -> pulumi.Output[Any]:
        value: pulumi.Output[Any] = pulumi.get(self, name)
        return value


class Quorum(pulumi.CustomResource):
    """Enough hosts of a group are there; the resource fails, and what depends on it is left alone, where too many are missing."""

    def __init__(
        self,
        resource_name: str,
        *,
        group: str,
        most: int,
        hosts: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declares the resource.

        Args:
            resource_name: the resource's name in the stack.
            group: what messages call the hosts.
            most: how many of them may be missing.
            hosts: by each one's name why it is missing, as `Playbook.missing` says.
            opts: the usual options.
        """
        properties = {"group": group, "most": most, "hosts": hosts, "missing": None}
        super().__init__("playbook:index:Quorum", resource_name, properties, opts)

    @property
    def missing(self) -> pulumi.Output[dict[str, str]]:
        """Those that are missing, by name with the reason."""
        value: pulumi.Output[dict[str, str]] = pulumi.get(self, "missing")
        return value
