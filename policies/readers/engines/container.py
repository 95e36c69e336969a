"""An engine that a container starts.

A flag whose value only the cluster knows (`valueFrom`, a shell's own variable, a `--config` file) is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

from typing_extensions import override

from policies.node import Key, Node, UnknownValueError
from policies.readers.engines import container_sizing
from policies.readers.engines.flags import VARIABLE, Flags, Unseen, count, flags_of, is_on, place_of, server_words
from policies.readers.engines.keys import key_in
from policies.readers.engines.launch import Figures, Launch, catalog
from policies.readers.engines.terms import VLLM, Terms
from policies.readers.kubernetes.node_gpus import demanded_gpu
from policies.readers.kubernetes.pods import Container, environment, image, own_name
from slipway.catalog.types import Gpu

_RELEASE = re.compile(r"^v?(\d+\.\d+\.\d+(?:\.\d+)?)")
_REBUILT = re.compile(r"-rhel\d")
_WHOLE_GPUS = {"nvidia.com/gpu", "amd.com/gpu"}
"""Resources of which one is a whole GPU; others are slices (MIG), or shared."""
_UNREADABLE = "config"
"""A file with more flags, which the stack does not hold."""


class ContainerLaunch(Launch):
    """An engine's server that a container starts, vLLM's unless `terms` are another's."""

    __slots__ = ("_flags", "_terms", "container", "group")

    def __init__(self, container: Container, group: Node | None = None, terms: Terms = VLLM) -> None:
        """`group` is the size of the group of pods that the container's pod leads."""
        super().__init__(container.raw, container.path)
        self.container = container
        self.group = group
        self._terms = terms
        self._flags: Flags | None = None

    @property
    @override
    def terms(self) -> Terms:
        return self._terms

    @property
    @override
    def release(self) -> str | None:
        """By the image's tag, of vLLM's own images."""
        reference = str(self.get("image", default=""))
        own = own_name(reference)
        # Of an image of another name the tag is that image's release, and Red Hat gives its images numbers of its own.
        if "vllm" not in own or _REBUILT.search(own):
            return None
        found = _RELEASE.match(image(reference)[1] or "")
        return None if found is None else found[1]

    @property
    @override
    def model(self) -> str | None:
        flag = self.model_flag
        if flag is None:
            return None
        if flag in self.flags:
            return self.value_of(flag)
        words = server_words(self.container) if self.terms.positional else []
        if words and not words[0].startswith("-") and not isinstance(words[0], Unseen):
            return self._resolved(words[0])
        return self.value_of(flag)

    @property
    def model_flag(self) -> str | None:
        """The flag that names the model, or would; None where the engine takes none."""
        names = self.terms.model
        return next((name for name in names if name in self.flags), names[0] if names else None)

    @property
    @override
    def heads(self) -> int | None:
        architecture = self.architecture
        return None if architecture is None else architecture.heads

    @property
    @override
    def flags(self) -> Flags:
        """A variable that only the cluster knows stands as it is written, an unknown word as `Unseen`."""
        if self._flags is None:
            self._flags = flags_of(server_words(self.container), self.terms)
        return self._flags

    @property
    @override
    def tensor_parallel(self) -> int:
        return self.count_of("tensor-parallel-size") or 1

    @property
    @override
    def ranks(self) -> int:
        """Of this pod where data parallelism says its local part, else of all its pods."""
        kinds = ("tensor", "pipeline", "prefill-context")
        copies = self.count_of("data-parallel-size") or 1
        if any(map(self.flags.given, ("data-parallel-rank", "data-parallel-external-lb"))):
            copies = 1
        local = self.count_of("data-parallel-size-local")
        sizes = (self.count_of(f"{kind}-parallel-size") or 1 for kind in kinds)
        return prod(sizes) * (copies if local is None else local)

    @property
    def hosts(self) -> int:
        """Pods that one engine spreads over."""
        if self.group is not None:
            return int(self.group.get(default=1))
        return self.count_of("nnodes") or 1

    @property
    @override
    def gpus(self) -> int | None:
        """Of all its pods. None with a Ray cluster or resource claims, where they are not in the container."""
        elsewhere = self.group is None and self._given("distributed-executor-backend") == "ray"
        if elsewhere or self.has("resources", "claims"):
            return None
        own = sum(self.container.gpus().values())
        return own if self.count_of("data-parallel-size-local") is not None else own * self.hosts

    @property
    def gpu(self) -> Gpu | None:
        """The kind of GPU that the pod demands of its node; None where nothing says it, or it is given a part of one."""
        if not set(self.container.gpus()) <= _WHOLE_GPUS:
            return None
        return demanded_gpu(self.container.pod, catalog())

    @property
    @override
    def max_num_seqs(self) -> int | None:
        return self.count_of("max-num-seqs")

    @property
    @override
    def max_model_len(self) -> int | None:
        return self.count_of("max-model-len")

    @property
    @override
    def output_tokens(self) -> int | None:
        return None

    @property
    @override
    def trust_remote_code(self) -> bool:
        if not self.terms.remote_code:
            return False
        given = self._given("trust-remote-code")
        return is_on(given if given is True else self._resolved(given))

    @property
    def revision(self) -> str | None:
        """The commit or branch that the engine fetches; None where it takes the newest."""
        return None if self.terms.revision is None else self.value_of(self.terms.revision)

    @property
    def key(self) -> object:
        """The key that callers need, True where it is not known yet; None where there is none."""
        flags, variable = self.terms.key, self.terms.key_variable
        for flag in flags:
            if flag in self.flags:
                given = self.flags[flag]
                return True if isinstance(given, Unseen) else given
        from_outside = None if variable is None else key_in(self.container, variable)
        if from_outside is None:
            self.need_flags(*flags)
        return from_outside

    def said(self, flag: str) -> str | None:
        """The flag's value as the command says it, whatever a file with more flags may say.

        Raises:
            UnknownValueError: it is not known yet.
        """
        return self._resolved(self.flags.value(flag))

    def need_flags(self, *flags: str) -> None:
        """See that it is known of each of them whether it is there.

        Raises:
            UnknownValueError: of one it is not.
        """
        for flag in flags:
            self.flags.given(flag)

    def words_of(self, flag: str) -> list[str]:
        """All words that follow a flag which takes several."""
        words = server_words(self.container)
        start = next((at for at, word in enumerate(words) if flag in flags_of([word], self.terms)), len(words))
        _, equals, value = "".join(words[start : start + 1]).partition("=")
        if equals:
            return [value]
        end = next((at for at, word in enumerate(words) if at > start and word.startswith("-")), len(words))
        return words[start + 1 : end]

    def place_of(self, flag: str) -> tuple[Key, ...]:
        """Where the flag stands."""
        return place_of(self.container, flag, self.terms)

    @override
    def environment(self) -> Iterator[tuple[str, Node]]:
        for name, entry in environment(self.container):
            yield name, entry.node("value")

    @override
    def place(self, kind: str) -> Node:
        return Node(None, self.at("image")) if kind == "release" else self

    @override
    def place_of_flag(self, flag: str) -> str:
        return self.at(*self.place_of(flag))

    @override
    def figures(self) -> Figures | None:
        """Computed by Slipway's sizing, for the release that the image names where it is known."""
        return container_sizing.figures(self)

    @override
    def uncounted(self) -> str | None:
        flags = container_sizing.uncounted(self)
        return self.container.at(*self.place_of(flags[0])) if flags else None

    @override
    def weights(self) -> tuple[float, float] | None:
        return container_sizing.weights(self)

    def _given(self, flag: str) -> Any:
        """The value of a flag as it is written; None where it has none.

        Raises:
            UnknownValueError: flags stand in a file, this one perhaps among them.
        """
        given = self.flags.value(flag)
        if given is None and self.terms.variables is not None:
            given = self._variable(self.terms.variables + flag.upper().replace("-", "_"))
        if given is None and _UNREADABLE in self.flags:
            raise UnknownValueError(self.container.at(*self.place_of(_UNREADABLE)))
        return given

    def _variable(self, name: str) -> str | None:
        for said, entry in environment(self.container):
            if said == name:
                if entry.has("valueFrom"):
                    raise UnknownValueError(entry.at("valueFrom"))
                return str(entry.get("value", default=""))
        return None

    def value_of(self, flag: str) -> str | None:
        """The flag's value; None where it has none.

        Raises:
            UnknownValueError: it is not known yet, or may stand in a file with more flags.
        """
        return self._resolved(self._given(flag))

    def count_of(self, flag: str) -> int | None:
        """The flag's value as a whole number; None where it has none.

        Raises:
            UnknownValueError: as `value_of`.
        """
        return count(self.value_of(flag))

    def is_set(self, flag: str) -> bool:
        """Whether a flag without a value is given, or its variable is on.

        Raises:
            UnknownValueError: as `value_of`.
        """
        given = self._given(flag)
        return given is True or str(self._resolved(given)).casefold() in {"true", "1"}

    def _keeps_experts_whole(self) -> bool:
        return self.flags.given("enable-expert-parallel")

    def _resolved(self, given: Any) -> str | None:
        """A text in which no variable is left.

        Raises:
            UnknownValueError: one is; only the cluster knows what it is.
        """
        text = given if isinstance(given, str) else None
        found = None if text is None else VARIABLE.search(text)
        if found is not None:
            name = found[1] or found[2] or found[3]
            places = {known: entry.path for known, entry in environment(self.container)}
            raise UnknownValueError(places.get(name, self._said_in()))
        return text

    def _said_in(self) -> str:
        return self.container.at("args" if self.has("args") else "command")
