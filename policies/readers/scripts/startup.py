"""What machines and containers run as they start: texts of scripts, and words of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policies.node import UNKNOWN, Node, Secret, UnknownValueError
from policies.readers.kubernetes.pods import ANY, containers_of
from policies.readers.kubernetes.workloads import running
from policies.readers.scripts.installs import Download, Install, downloads, installs, is_program
from policies.readers.scripts.shell import Command, decoded, nested, parse
from policies.readers.unknown import known_first
from policies.resources import Resource

TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
_FLEET_REQUEST = "aws:ec2/spotFleetRequest:SpotFleetRequest"
_MACHINES = {
    "aws:ec2/instance:Instance": ("userData", "userDataBase64"),
    "aws:ec2/launchTemplate:LaunchTemplate": ("userData",),
    "aws:ec2/launchConfiguration:LaunchConfiguration": ("userData", "userDataBase64"),
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest": ("userData", "userDataBase64"),
}
"""By type the properties with the script that a machine starts with, plain or in base64."""

MACHINES = (*_MACHINES, _FLEET_REQUEST)
"""Types of machines, or of what makes them."""
TYPES = (ANY, TASK_DEFINITION, *MACHINES)
"""Types in which `scripts` finds something."""


class Script(Node):
    """A text, or the words of a command, that is run at the start."""

    __slots__ = ("commands", "hidden")

    def __init__(self, node: Node, commands: Sequence[Command], *, hidden: bool) -> None:
        super().__init__(node.raw, node.path)
        self.commands = commands
        self.hidden = hidden
        """Whether Pulumi keeps it secret, so that nothing of it may be shown."""

    def installs(self) -> Iterator[Install]:
        """What it installs."""
        for command in self.commands:
            yield from installs(command)

    def downloads(self) -> Iterator[Download]:
        """What it fetches from a model hub."""
        for command in self.commands:
            yield from downloads(command.words)


def scripts(resource: Resource) -> Iterator[Script]:
    """What the resource's machine or containers run at their start.

    Raises:
        UnknownValueError: what decides is not known yet.
    """
    if resource.type in _MACHINES:
        yield from known_first(_machine(resource.inputs, key) for key in _MACHINES[resource.type])
    elif resource.type == _FLEET_REQUEST:
        machines = resource.inputs.each("launchSpecifications")
        yield from known_first(_machine(machine, "userData") for machine in machines)
    elif resource.type == CONFIG_MAP:
        yield from known_first(_file(name, place) for name, place in resource.inputs.entries("data"))
    elif resource.type == TASK_DEFINITION:
        tasks = resource.inputs.document("containerDefinitions").each()
        yield from known_first(_started(each, ("entryPoint", "command")) for each in tasks)
    else:
        found = known_first(map(containers_of, running(resource)))
        yield from known_first(_started(each, ("command", "args")) for each in found)


def _machine(machine: Node, key: str) -> Iterator[Script]:
    place = machine.node(key)
    text = machine.get(key)
    if isinstance(text, str):
        yield Script(place, list(parse(decoded(text))), hidden=isinstance(place.raw, Secret))


def _file(name: str, place: Node) -> Iterator[Script]:
    """A script that pods mount: by its name, or by its first line."""
    text = place.data
    named = name.endswith((".sh", ".bash"))
    if named and text is UNKNOWN:
        raise UnknownValueError(place.path)
    if isinstance(text, str) and (named or re.match(r"#!.*sh\b", text)):
        yield Script(place, list(parse(text)), hidden=isinstance(place.raw, Secret))


def _started(container: Node, keys: tuple[str, ...]) -> Iterator[Script]:
    """A container's command; a word that is not known counts only where it could hold a command."""
    places = [place for key in keys for place in container.each(key)]
    words = [place.data for place in places]
    unknown = next((place for place in places if place.data is UNKNOWN), None)
    known = [str(word) for word in words if word is not UNKNOWN]
    if unknown is not None and (words[0] is UNKNOWN or any(is_program(word) for word in known)):
        raise UnknownValueError(unknown.path)
    hidden = any(isinstance(place.raw, Secret) for place in places)
    yield Script(container, list(nested(Command(tuple(known)))), hidden=hidden)
