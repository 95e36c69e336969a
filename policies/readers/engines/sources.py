"""Where the model of a launch comes from, in the terms that rules compare: `hub:org/name`, `mirror:https://…`, `path:/…`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.flags import Unseen
from policies.readers.engines.launch import Launch
from policies.readers.engines.platform import PlatformLaunch
from policies.readers.engines.terms import VLLM
from policies.readers.kubernetes.pods import environment
from policies.readers.scripts.shell import clean
from policies.readers.unknown import known_first

_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
_TRUE = {"1", "true", "yes", "on"}
"""What huggingface_hub takes for yes, whatever its case."""
_PUBLIC_HUBS = re.compile(
    r"^https?://(www\.)?(huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.(cn|ai))(/|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Source:
    """Where the model's files come from."""

    kind: str
    """`hub`, `mirror`, `path` (of the machine that deploys), `host` (of the engine's host), `provider`, or the scheme of an
    address."""
    address: str
    """`org/name`, a path, or an address; without user, password and query."""
    hub: str = ""
    """The host of a hub or object store of one's own, or of a provider; of a provider without an address its kind."""

    def __str__(self) -> str:
        if self.hub:
            return f"{self.kind}@{self.hub}:{self.address}"
        return self.address if "://" in self.address and self.kind != "mirror" else f"{self.kind}:{self.address}"


def source(launch: Launch) -> Source | None:
    """The launch's; None where nothing says it.

    Raises:
        UnknownValueError: it is not known yet, or it is in a variable whose value comes from elsewhere.
    """
    if isinstance(launch, ContainerLaunch):
        return _of_container(launch)
    kind = launch.get("source", "kind")
    if kind is None:
        return None
    key = {"hub": "repository", "mirror": "url", "s3": "url"}.get(kind, "path")
    if kind == "s3":
        address, own = clean(str(launch.get("source", key, default=""))), launch.get("source", "endpoint")
        return (
            Source(kind, address.removeprefix("s3://"), urlsplit(str(own)).hostname or str(own))
            if own
            else Source(kind, address)
        )
    return Source(
        "host" if kind in {"hostPath", "storePath"} else kind, clean(str(launch.get("source", key, default="")))
    )


def provided_source(model: Node, platform: Node) -> Source:
    """Of a model that a provider serves.

    Args:
        model: as the platform declares it.
        platform: the platform's inputs.

    Raises:
        UnknownValueError: the model, the provider or its address is not known.
    """
    name = model.get("provider")
    provider = next((each for each in platform.each("providers") if each.get("name") == name), Node({}))
    address = str(provider.get("url", default=""))
    asked = str(model.get("model", default=model.get("name")))
    return Source("provider", asked, urlsplit(address).hostname or str(provider.get("kind", default=name)))


def _of_container(launch: ContainerLaunch) -> Source | None:
    model = launch.model
    if model is None:
        return None
    if launch.model_flag in launch.terms.hub:
        return Source("hub", model.partition(":")[0])
    scheme, colon, rest = model.partition("://")
    if scheme == "hf" and colon:  # KServe's, with the revision after a colon
        return Source("hub", rest.partition(":")[0])
    if colon:
        return Source(scheme, clean(model))
    if is_fetched(model) and launch.model_flag not in launch.terms.path:
        return Source("hub", model)
    return Source("host", model)


def called(launch: Launch) -> str:
    """The model as messages show it: of a platform by the name that clients ask for, too.

    Raises:
        UnknownValueError: as `source`.
    """
    shown = clean(launch.model or "a model that nothing names")
    name = launch.get("name") if isinstance(launch, PlatformLaunch) else None
    return f"{name} ({shown})" if name and name != shown else shown


def revision(launch: ContainerLaunch) -> str | None:
    """The commit or branch that the container's engine fetches; None where it takes the newest.

    Raises:
        UnknownValueError: as `source`.
    """
    scheme, _, rest = str(launch.model).partition("://")
    said = rest.partition(":")[2] if scheme == "hf" else ""
    return said or launch.revision


def from_own_hub(found: Source, launch: Launch) -> Source:
    """The source with the hub that the container asks, where that is another than the public one.

    Raises:
        UnknownValueError: which hub it asks is not known yet, or comes from elsewhere.
    """
    if found.kind != "hub":
        return found
    if isinstance(launch, ContainerLaunch):
        # A whole set of variables from elsewhere (`envFrom`) seldom holds this one, and would leave every model open.
        said = [entry for name, entry in environment(launch.container) if name == "HF_ENDPOINT"]
        outside = next((entry for entry in said if entry.has("valueFrom")), None)
        if outside is not None:
            raise UnknownValueError(outside.at("valueFrom"))
        endpoint = str(said[-1].get("value", default="")) if said else ""
    else:
        endpoint = str(launch.get("source", "endpoint", default=""))
    return replace(found, hub=urlsplit(endpoint).hostname or endpoint) if is_own_hub(endpoint) else found


@dataclass(frozen=True)
class Fetched:
    """What an engine fetches from a hub."""

    what: str
    repository: str
    revision: str | None


def fetched(launch: ContainerLaunch) -> Iterator[Fetched]:
    """What the container's engine fetches: its model, and of vLLM what stands beside it.

    Raises:
        UnknownValueError: a flag's value is not known yet; the others have been told then.
    """
    parts = [_model(launch), _tokenizer(launch), _draft(launch), _adapters(launch)]
    return known_first(parts if launch.terms is VLLM else parts[:1])


def _model(launch: ContainerLaunch) -> Iterator[Fetched]:
    found = source(launch)
    if found is not None and found.kind == "hub":
        yield Fetched("the model", found.address, revision(launch))


def _tokenizer(launch: ContainerLaunch) -> Iterator[Fetched]:
    tokenizer = launch.said("tokenizer")
    if tokenizer is not None and tokenizer != launch.model and is_fetched(tokenizer):
        # vLLM takes the model's revision for both where the tokenizer's own is not said.
        yield Fetched("the tokenizer", tokenizer, launch.said("tokenizer-revision") or launch.said("revision"))


def _draft(launch: ContainerLaunch) -> Iterator[Fetched]:
    config = Node(launch.said("speculative-config")).document()
    model, said = config.get("model"), config.get("revision")
    if isinstance(model, str) and is_fetched(model):
        yield Fetched("the draft model", model, None if said is None else str(said))


def _adapters(launch: ContainerLaunch) -> Iterator[Fetched]:
    for word in launch.words_of("lora-modules") if launch.flags.given("lora-modules") else ():
        if isinstance(word, Unseen):
            raise UnknownValueError(word.path)
        path = str(Node(word).document().get("path", default=word.partition("=")[2]))
        if "/" in path and is_fetched(path):
            yield Fetched("the LoRA adapter", path, None)


def is_fetched(repository: str) -> bool:
    """Whether a name is one of a hub, and no path."""
    return _HUB.fullmatch(repository) is not None and not repository.startswith(".")


def variable(launch: ContainerLaunch, name: str) -> str | None:
    """What the container sets the variable to; None where it does not.

    Raises:
        UnknownValueError: its value is not known yet, or comes from elsewhere.
    """
    for said, entry in environment(launch.container):
        if said == name:
            if entry.has("valueFrom"):
                raise UnknownValueError(entry.at("valueFrom"))
            return str(entry.get("value", default=""))
    if launch.has("envFrom"):
        raise UnknownValueError(launch.at("envFrom"))
    return None


def hub_is_off(launch: ContainerLaunch) -> bool:
    """Whether the container's libraries are told to leave the hub alone.

    Raises:
        UnknownValueError: as `variable`.
    """
    # huggingface_hub asks for the second only where the first is not set.
    said = variable(launch, "HF_HUB_OFFLINE") or variable(launch, "TRANSFORMERS_OFFLINE")
    return said is not None and said.casefold() in _TRUE


def is_own_hub(endpoint: str | None) -> bool:
    """Whether this is the address of a hub of one's own."""
    return bool(endpoint) and _PUBLIC_HUBS.match(str(endpoint)) is None


def says_no(value: object) -> bool:
    """Whether a variable that switches something on is set, and not to yes."""
    return value is not None and str(value).casefold() not in _TRUE
