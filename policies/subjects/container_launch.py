"""An engine that a container starts.

A flag whose value only the cluster knows (`valueFrom`, a shell's own variable, a `--config` file) is unknown.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

from policies.node import Key, Node, UnknownValueError
from policies.subjects.engines import VLLM, Terms
from policies.subjects.flags import VARIABLE, Flags, Unseen, count, flags_of, is_on, place_of, server_words
from policies.subjects.keys import key_in
from policies.subjects.kubernetes import Container, environment, image, own_name
from policies.subjects.launch import Figures, Launch, catalog
from policies.subjects.node_gpus import demanded_gpu
from slipway.catalog.types import Gpu
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size

_RELEASE = re.compile(r"^v?(\d+\.\d+\.\d+(?:\.\d+)?)")
_REBUILT = re.compile(r"-rhel\d")
_WHOLE_GPUS = {"nvidia.com/gpu", "amd.com/gpu"}
"""Resources of which one is a whole GPU; others are slices (MIG), or shared."""
_UNMODELLED = {
    "kv-cache-memory-bytes",
    "enable-expert-parallel",
    "kv-transfer-config",
    "kv-offloading-size",
    "rope-scaling",
}
"""Flags of memory that the platform refuses or sets otherwise, besides `slipway.checks.subject.UNCOUNTED`."""
_TAKE_MORE = {
    "decode-context-parallel-size",
    "disable-hybrid-kv-cache-manager",
    "enable-expert-parallel",
    "enable-lora",
    "kv-cache-memory-bytes",
    "kv-transfer-config",
    "spec-method",
    "spec-model",
    "speculative-config",
}
"""Those of them that make no weights smaller."""
_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""A variable with which the engine takes contexts that the model does not know."""
_UNREADABLE = "config"
"""A file with more flags, which the stack does not hold."""


class ContainerLaunch(Launch):
    """Of a container that runs an engine's server, vLLM's unless `terms` are another's."""

    __slots__ = ("_flags", "container", "group", "terms")

    def __init__(self, container: Container, group: Node | None = None, terms: Terms = VLLM) -> None:
        """`group` is the size of the group of pods that the container's pod leads."""
        super().__init__(container.raw, container.path)
        self.container = container
        self.group = group
        self.terms = terms
        self._flags: Flags | None = None

    @property
    def release(self) -> str | None:
        """As `Launch`: of the image's tag."""
        reference = str(self.get("image", default=""))
        own = own_name(reference)
        # Of an image of another name the tag is that image's release, and Red Hat gives its images numbers of its own.
        if "vllm" not in own or _REBUILT.search(own):
            return None
        found = _RELEASE.match(image(reference)[1] or "")
        return None if found is None else found[1]

    @property
    def model(self) -> str | None:
        """As `Launch`."""
        flag = next((name for name in self.terms.model if name in self.flags), self.terms.model[0])
        if flag in self.flags:
            return self._text(flag)
        words = server_words(self.container) if self.terms.positional else []
        if words and not words[0].startswith("-") and not isinstance(words[0], Unseen):
            return self._resolved(words[0])
        return self._text(flag)

    @property
    def heads(self) -> int | None:
        """As `Launch`."""
        architecture = self.architecture
        return None if architecture is None else architecture.heads

    @property
    def flags(self) -> Flags:
        """As `Launch`; a variable that only the cluster knows stands as it is written, an unknown word as `Unseen`."""
        if self._flags is None:
            self._flags = flags_of(server_words(self.container))
        return self._flags

    @property
    def tensor_parallel(self) -> int:
        """As `Launch`."""
        return self._number("tensor-parallel-size") or 1

    @property
    def ranks(self) -> int:
        """As `Launch`: those in this pod where data parallelism says its local part, else of all its pods."""
        kinds = ("tensor", "pipeline", "prefill-context")
        copies = self._number("data-parallel-size") or 1
        if any(map(self.flags.given, ("data-parallel-rank", "data-parallel-external-lb"))):
            copies = 1
        local = self._number("data-parallel-size-local")
        sizes = (self._number(f"{kind}-parallel-size") or 1 for kind in kinds)
        return prod(sizes) * (copies if local is None else local)

    @property
    def hosts(self) -> int:
        """Pods that one engine spreads over."""
        if self.group is not None:
            return int(self.group.get(default=1))
        return self._number("nnodes") or 1

    @property
    def gpus(self) -> int | None:
        """As `Launch`: of all its pods. None with a Ray cluster or resource claims, where they are not in the container."""
        elsewhere = self.group is None and self._given("distributed-executor-backend") == "ray"
        if elsewhere or self.has("resources", "claims"):
            return None
        own = sum(self.container.gpus().values())
        return own if self._number("data-parallel-size-local") is not None else own * self.hosts

    @property
    def gpu(self) -> Gpu | None:
        """The kind of GPU that the pod demands of its node; None where nothing says it, or it is given a part of one."""
        if not set(self.container.gpus()) <= _WHOLE_GPUS:
            return None
        return demanded_gpu(self.container.pod, catalog())

    @property
    def max_num_seqs(self) -> int | None:
        """As `Launch`."""
        return self._number("max-num-seqs")

    @property
    def max_model_len(self) -> int | None:
        """As `Launch`."""
        return self._number("max-model-len")

    @property
    def output_tokens(self) -> int | None:
        """As `Launch`: nothing says it."""
        return None

    @property
    def trust_remote_code(self) -> bool:
        """As `Launch`."""
        given = self._given("trust-remote-code")
        return is_on(given if given is True else self._resolved(given))

    @property
    def revision(self) -> str | None:
        """The commit or branch that the engine fetches; None where it takes the newest."""
        return self._text(self.terms.revision)

    @property
    def key(self) -> object:
        """The key that callers need, True where it is not known yet; None where there is none."""
        flag, variable = self.terms.key, self.terms.key_variable
        if flag is not None and flag in self.flags:
            given = self.flags[flag]
            return True if isinstance(given, Unseen) else given
        from_outside = None if variable is None else key_in(self.container, variable)
        if from_outside is None and flag is not None:
            self.flags.given(flag)
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
        start = next((at for at, word in enumerate(words) if flag in flags_of([word])), len(words))
        _, equals, value = "".join(words[start : start + 1]).partition("=")
        if equals:
            return [value]
        end = next((at for at, word in enumerate(words) if at > start and word.startswith("-")), len(words))
        return words[start + 1 : end]

    def place_of(self, flag: str) -> tuple[Key, ...]:
        """Where the flag stands."""
        return place_of(self.container, flag)

    def figures(self) -> Figures | None:
        """As `Launch`: computed by Slipway's sizing, for the release that the image names where it is known.

        None too where a flag changes memory that the sizing does not count with, or asks for what it does not know.
        """
        from slipway.checks.subject import UNCOUNTED  # slow to import, and only needed here

        architecture, gpu = self.architecture, self.gpu
        if architecture is None or gpu is None or not self.gpus:
            return None
        shared_experts = self._number("data-parallel-size") is not None and any(
            layer.experts for layer in architecture.layers
        )
        if (UNCOUNTED | _UNMODELLED) & self.flags.keys() or self.hosts > 1 or shared_experts or self._fitted():
            return None
        if any(name == _LONGER for name, _ in environment(self.container)):
            return None
        sizing = self._sizing(architecture, gpu)
        return None if sizing is None else _of(sizing)

    def uncounted(self) -> str | None:
        """As `Launch`."""
        flags = self._uncounted()
        return self.container.at(*self.place_of(flags[0])) if flags else None

    def _uncounted(self) -> list[str]:
        from slipway.checks.subject import UNCOUNTED

        if self.architecture is None or self.gpu is None or not self.gpus or self.hosts > 1:
            return []
        return sorted((UNCOUNTED | _UNMODELLED) & self.flags.keys())

    def weights(self) -> tuple[float, float] | None:
        """As `Launch`."""
        architecture, gpu = self.architecture, self.gpu
        if architecture is None or gpu is None or not set(self._uncounted()) <= _TAKE_MORE:
            return None
        sizing = self._sizing(architecture, gpu)
        memory = None if sizing is None else sizing.memory
        return None if memory is None else (memory.weights.value, memory.requested.value)

    def _sizing(self, architecture: Architecture, gpu: Gpu) -> Sizing | None:
        pipeline = self._number("pipeline-parallel-size") or 1
        try:
            request = Request(
                architecture=architecture,
                gpu=gpu,
                count=self.tensor_parallel * pipeline,
                tensor_parallel=self.tensor_parallel,
                pipeline_parallel=pipeline,
                context=self.max_model_len,
                dtype=self._text("dtype") or "auto",
                quantization=_plain_quantization(self._text("quantization")),
                kv_cache_dtype=self._text("kv-cache-dtype") or "auto",
                gpu_memory_utilization=_share(self._text("gpu-memory-utilization")),
                max_num_batched_tokens=self._number("max-num-batched-tokens"),
                max_num_seqs=self.max_num_seqs,
                block_size=self._number("block-size"),
                prefix_caching=False if self.flags.given("no-enable-prefix-caching") else None,
                enforce_eager=self._on("enforce-eager"),
                engine_version=self.release,
            )
            return size(request)
        except SizingError:
            return None

    def _given(self, flag: str) -> Any:
        """The value of a flag as it is written; None where it has none.

        Raises:
            UnknownValueError: flags stand in a file, this one perhaps among them.
        """
        given = self.flags.value(flag)
        if given is None and self.terms.variables:
            given = self._variable(flag.upper().replace("-", "_"))
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

    def _text(self, flag: str) -> str | None:
        return self._resolved(self._given(flag))

    def _number(self, flag: str) -> int | None:
        return count(self._text(flag))

    def _on(self, flag: str) -> bool:
        given = self._given(flag)
        return given is True or str(self._resolved(given)).casefold() in {"true", "1"}

    def _keeps_experts_whole(self) -> bool:
        return self.flags.given("enable-expert-parallel")

    def _fitted(self) -> bool:
        """Whether the engine itself lowers the context to what fits."""
        return self._text("max-model-len") in {"auto", "-1"}

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


def _plain_quantization(name: str | None) -> str | None:
    """Without the kernel that the engine is told to use: `awq_marlin` runs checkpoints of `awq`, and loads them so."""
    plain = None if name is None else name.removesuffix("_marlin")
    return None if plain in {"awq", "gptq", "compressed-tensors", "none"} else plain


def _share(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _of(sizing: Sizing) -> Figures:
    memory = sizing.memory
    return Figures(
        fits=sizing.fits,
        errors=sizing.errors,
        kv_cache_tokens=sizing.kv_cache_tokens if sizing.fits else None,
        gpu_gib=None if memory is None else memory.total.value,
        requested_gib=None if memory is None else memory.requested.value,
        kv_cache_gib=None if memory is None else memory.kv_cache.value,
    )
