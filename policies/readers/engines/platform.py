"""The engines of Slipway's own platform, as `slipway.deployment.declaration` declares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Self

from typing_extensions import override

from policies.node import Node, UnknownValueError
from policies.readers.engines.flags import is_on
from policies.readers.engines.launch import Figures, Launch
from policies.readers.engines.terms import Terms, terms_of
from policies.readers.unknown import unknown_as_item

SERVED, PROVIDED = "served", "provided"


class Instance(Node):
    """One replica of a model, or one machine's part of it: a unit on one machine."""

    __slots__ = ()

    @property
    def is_asked(self) -> bool:
        """Whether it is the one of its replica that answers requests; the others hold a part of the model."""
        return not self.get("rank", default=0)

    @property
    def replica(self) -> str | None:
        """By what all parts of a replica that machines share are known; None for one on one machine."""
        return _text(self.get("head"))

    @property
    def machine(self) -> str:
        """The machine's name."""
        return str(self.get("machine", default="?"))

    @property
    def gpus(self) -> list[int]:
        """The indices of its GPUs."""
        return [index for node in self.each("gpus") if isinstance(index := node.get(), int)]


class PlatformLaunch(Launch):
    """One served model of a platform; the node is its declaration."""

    __slots__ = ()

    @classmethod
    def of(cls, node: Node) -> Self:
        """The launch that a model's declaration describes."""
        return cls(node.raw, node.path)

    @property
    @override
    def terms(self) -> Terms:
        return terms_of(str(self.get("engine", "name", default="")))

    @property
    def name(self) -> str:
        """What clients ask for."""
        return str(self.get("name", default="?"))

    def instances(self) -> Iterator[Instance]:
        """Its units: one for each replica, or for each machine that shares one.

        Raises:
            UnknownValueError: the list is not known.
        """
        for node in self.each("instances"):
            yield Instance(node.raw, node.path)

    @property
    def keyed(self) -> bool:
        """Whether it asks its callers for a key: it is given one, and is an engine that can."""
        return bool(self.get("engine", "keyed", default=False)) and self.terms.keyed

    @property
    @override
    def release(self) -> str | None:
        return _text(self.get("engine", "release"))

    @property
    @override
    def model(self) -> str | None:
        return _text(self.get("id", default=self.get("name")))

    @property
    @override
    def heads(self) -> int | None:
        heads: int | None = self.number("attentionHeads")
        return heads

    @property
    @override
    def flags(self) -> Mapping[str, Any]:
        """Only those that the settings have no key for."""
        return dict(self.get("engine", "flags", default={}))

    @property
    @override
    def tensor_parallel(self) -> int:
        return int(self.number("engine", "tensorParallel", default=1))

    @property
    @override
    def ranks(self) -> int:
        keys = ("tensorParallel", "pipelineParallel", "dataParallel")
        return prod(int(self.number("engine", key, default=1)) for key in keys)

    @property
    @override
    def gpus(self) -> int | None:
        """GPUs of each replica; 0 on the CPU."""
        gpus: int | None = self.number("gpus")
        return gpus

    @property
    @override
    def max_num_seqs(self) -> int | None:
        """None too where the stack left it to its default."""
        slots: int | None = self.number("engine", "slots")
        return slots if self.get("engine", "slotsGiven", default=True) else None

    @property
    @override
    def max_model_len(self) -> int | None:
        length: int | None = self.number("maxModelLen")
        return length

    @property
    @override
    def output_tokens(self) -> int | None:
        tokens: int | None = self.number("maxOutputTokens")
        return tokens

    @property
    @override
    def trust_remote_code(self) -> bool:
        if not self.terms.remote_code:
            return False
        return bool(self.get("trustRemoteCode", default=False)) or is_on(self.flags.get("trust-remote-code"))

    @override
    def environment(self) -> Iterator[tuple[str, Node]]:
        return self.entries("engine", "environment")

    @override
    def place(self, kind: str) -> Node:
        keys = {"source": ("source",), "release": ("engine", "release"), "remote_code": ("trustRemoteCode",)}
        return Node(None, self.at(*keys[kind]))

    @override
    def place_of_flag(self, flag: str) -> str:
        return self.at("engine", "flags", flag)

    @override
    def figures(self) -> Figures | None:
        """The plan that the platform declares."""
        plan = self.node("sizing")
        if not isinstance(plan.get(), dict):
            return None
        return Figures(
            fits=bool(plan.get("fits")),
            errors=tuple(str(each.get()) for each in plan.each("errors")),
            kv_cache_tokens=plan.number("kvCacheTokens"),
            gpu_gib=plan.number("gpuGib"),
            requested_gib=plan.number("requestedGib"),
            kv_cache_gib=plan.number("kvCacheGib"),
        )


def served(platform: Node) -> Iterator[PlatformLaunch | UnknownValueError]:
    """The models that a platform serves itself; in the place of one of which the kind is not known, that value.

    Raises:
        UnknownValueError: the list of models is not known.
    """
    for model in models(platform):
        if isinstance(model, UnknownValueError):
            yield model
        elif model.get("kind") == SERVED:
            yield PlatformLaunch.of(model)


def provided(platform: Node) -> Iterator[Node | UnknownValueError]:
    """The models that providers serve for a platform; in the place of one of which the kind is not known, that value."""
    for model in unknown_as_item(models(platform)):
        if isinstance(model, UnknownValueError) or model.get("kind") == PROVIDED:
            yield model


def models(platform: Node) -> Iterator[Node | UnknownValueError]:
    """All models that a platform declares; in the place of one of which the kind is not known, that value.

    Raises:
        UnknownValueError: the list of models is not known.
    """
    for model in platform.each("models"):
        try:
            model.get("kind")
        except UnknownValueError as unknown:
            yield unknown
        else:
            yield model


def listeners(platform: Node) -> Iterator[Node | UnknownValueError]:
    """What of a platform listens: engines and gateways, each with `name`, `machine`, `address` and `port`."""
    yield from unknown_as_item(platform.each("gateways"))
    for launch in unknown_as_item(served(platform)):
        if isinstance(launch, UnknownValueError):
            yield launch
        else:
            yield from unknown_as_item(launch.instances())


def taken_gpus(platform: Node) -> Iterator[tuple[str, int]]:
    """Each GPU that an instance has: its machine, and its index there.

    Raises:
        UnknownValueError: an instance, or its GPUs, are not known.
    """
    for launch in served(platform):
        if isinstance(launch, UnknownValueError):
            raise launch
        for instance in launch.instances():
            yield from ((instance.machine, index) for index in instance.gpus)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
