"""Whether callers of an engine or a gateway need a key, by all that the stack says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.flags import flags_of, place_of, server_words
from policies.readers.engines.keys import is_placeholder, key_in
from policies.readers.engines.sources import variable
from policies.readers.engines.terms import KSERVE
from policies.readers.gateways.litellm import configurations
from policies.readers.kubernetes.mounts import file_in, mounted
from policies.readers.kubernetes.pods import Container
from policies.readers.scripts.docker import HostContainer
from policies.resources import Resource, Stack

_LOOPBACK = re.compile(r"^(?:https?://)?(?:127\.|localhost|\[?::1)")


def open_engine(launch: ContainerLaunch, workload: Resource, stack: Stack) -> str | None:
    """How it is that anybody may ask the engine; None where nobody may without a key.

    Raises:
        UnknownValueError: what decides is not known yet, or stands in a file that the stack does not hold.
    """
    terms, flags = launch.terms, launch.flags
    if terms is KSERVE or _is_inside(launch.container):
        return None
    key = launch.key
    if key is None:
        if "headless" in flags or "uds" in flags or _LOOPBACK.match(_listens(launch)):
            return None
        if not terms.keyed:
            return f"{terms.shown} answers whoever reaches it: it has no keys"
        if launch.said("config") is not None:
            key = _of_file(launch, workload, stack)
    flag = f"--{terms.key[0]}"
    missing = f"{flag} is not set" if terms.key_variable is None else f"neither {flag} nor {terms.key_variable} is set"
    return _problem(key, terms.shown, missing)


def is_loopback(address: str) -> bool:
    """Whether only the machine itself reaches what listens there."""
    return _LOOPBACK.match(address) is not None


def _listens(launch: ContainerLaunch) -> str:
    """The address on which the engine listens."""
    said = launch.said(launch.terms.host)
    if said is None and launch.terms.host_variable is not None:
        said = variable(launch, launch.terms.host_variable)
    return said or launch.terms.listens


def open_gateway(container: Container, workload: Resource, stack: Stack) -> str | None:
    """How it is that anybody may ask LiteLLM; None where nobody may without a key.

    The master key is in the environment, or in the configuration that the container is given.

    Raises:
        UnknownValueError: as `open_engine`.
    """
    if _is_inside(container):
        return None
    key = key_in(container, "LITELLM_MASTER_KEY")
    if key is None and flags_of(server_words(container)).given("config"):
        found = [each for resource in mounted(container, workload, stack) for each in configurations(resource)]
        if not found:
            raise UnknownValueError(container.at(*place_of(container, "config")))
        keys = [each.get("general_settings", "master_key") for each in found]
        key = next((each for each in keys if each is not None), None)
    return _problem(key, "LiteLLM", "neither LITELLM_MASTER_KEY nor master_key is set")


def _problem(key: object, shown: str, missing: str) -> str | None:
    if key is None:
        return f"{shown} answers without a key: {missing}"
    return f"{shown} answers to a placeholder that everybody knows as its key" if is_placeholder(key) else None


def _is_inside(container: Container) -> bool:
    """Whether only its own machine reaches it."""
    return isinstance(container, HostContainer) and not container.published


def _of_file(launch: ContainerLaunch, workload: Resource, stack: Stack) -> object:
    """The key in the file with more flags."""
    place = launch.container.at(*launch.place_of("config"))
    path = str(launch.said("config"))
    files = [file for resource in mounted(launch.container, workload, stack) for file in file_in(resource, path)]
    documents: list[Node] = [file.document() for file in files]
    if not any(isinstance(document.data, Mapping) for document in documents):
        raise UnknownValueError(place)
    keys = [document.get(key) for document in documents for key in ("api-key", "api_key")]
    return next((key for key in keys if key is not None), None)
