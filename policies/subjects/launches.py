"""Starts of an inference engine: by Slipway's own platform, or by a Kubernetes container that runs vLLM.

Both are read into the same terms, so that a rule about models, GPUs and KV caches holds for stacks that Slipway did not
write. What the catalogue knows of model and GPU is looked up; nothing is guessed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from policies.node import UNKNOWN, Node
from policies.resources import PLATFORM, Resource
from policies.subjects.kubernetes import ANY, Container, command_line, containers, environment, image
from slipway.catalog import Catalog, load
from slipway.catalog.load import find_or_none
from slipway.catalog.types import Gpu, Model
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size

TYPES = (PLATFORM, ANY)
"""Types in which `launches` finds something."""

_RELEASE = re.compile(r"^v?(\d+\.\d+\.\d+(?:\.\d+)?)")
_GPU_LABELS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "karpenter.k8s.aws/instance-gpu-name")
_INSTANCE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_SHORT = {"tp": "tensor-parallel-size", "pp": "pipeline-parallel-size", "dp": "data-parallel-size", "q": "quantization"}
"""vLLM's one-dash forms."""


@dataclass(frozen=True)
class Figures:
    """What the sizing says of one copy of the model. GiB are of the fullest GPU; None where there is no such figure."""

    fits: bool
    errors: tuple[str, ...]
    kv_cache_tokens: int | None
    gpu_gib: float | None
    requested_gib: float | None
    kv_cache_gib: float | None


class Launch(Node):
    """One engine as it will be started; the node is the container, or the platform's inputs."""

    __slots__ = ()

    engine: str = "vllm"

    # Each property raises UnknownValueError where what it follows from is not known yet.

    @property
    def release(self) -> str | None:
        """The engine's release; None where nothing says it."""
        raise NotImplementedError

    @property
    def model(self) -> str | None:
        """The model's repository or name, as it is given; None where nothing says it."""
        raise NotImplementedError

    @property
    def known_model(self) -> Model | None:
        """The model's entry in the catalogue."""
        return None if self.model is None else find_or_none(_catalog().models, self.model)

    @property
    def heads(self) -> int | None:
        """Query heads of the model's attention; None where the model is not known."""
        raise NotImplementedError

    @property
    def flags(self) -> dict[str, Any]:
        """The server's flags by their long names, without dashes; a bare flag is True."""
        raise NotImplementedError

    @property
    def tensor_parallel(self) -> int:
        """GPUs that share each layer."""
        raise NotImplementedError

    @property
    def ranks(self) -> int:
        """GPUs that the engine uses: tensor, pipeline and data parallel together."""
        raise NotImplementedError

    @property
    def gpus(self) -> int | None:
        """GPUs that it is given; 0 on the CPU, None where nothing says it."""
        raise NotImplementedError

    @property
    def max_num_seqs(self) -> int | None:
        """Requests that each copy works on at once; None where it is left to the engine."""
        raise NotImplementedError

    @property
    def max_model_len(self) -> int | None:
        """The context window in tokens; None where it is left to the engine."""
        raise NotImplementedError

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the longest completion that clients are told to ask for; None where nothing says it."""
        raise NotImplementedError

    @property
    def trust_remote_code(self) -> bool:
        """Whether Python code of the model's repository is run."""
        raise NotImplementedError

    def figures(self) -> Figures | None:
        """What fits; None where model or GPU are not known."""
        raise NotImplementedError


class PlatformLaunch(Launch):
    """Of Slipway's own platform; see `slipway.checks.declaration`."""

    __slots__ = ()

    @property
    def release(self) -> str | None:
        """As `Launch`."""
        return _text(self.get("engine", "release"))

    @property
    def model(self) -> str | None:
        """As `Launch`."""
        return _text(self.get("model", "id", default=self.get("model", "name")))

    @property
    def heads(self) -> int | None:
        """As `Launch`."""
        heads: int | None = self.get("model", "attentionHeads")
        return heads

    @property
    def flags(self) -> dict[str, Any]:
        """As `Launch`; only those that the settings have no key for."""
        return dict(self.get("engine", "flags", default={}))

    @property
    def tensor_parallel(self) -> int:
        """As `Launch`."""
        return int(self.get("engine", "tensorParallel", default=1))

    @property
    def ranks(self) -> int:
        """As `Launch`."""
        sizes = (self.get("engine", key, default=1) for key in ("tensorParallel", "pipelineParallel", "dataParallel"))
        return _product(sizes)

    @property
    def gpus(self) -> int | None:
        """As `Launch`."""
        gpus: int | None = self.get("hardware", "gpus")
        return gpus

    @property
    def max_num_seqs(self) -> int | None:
        """As `Launch`; None too where the stack left it to its default."""
        seqs: int | None = self.get("engine", "maxNumSeqs")
        return seqs if self.get("engine", "maxNumSeqsGiven", default=True) else None

    @property
    def max_model_len(self) -> int | None:
        """As `Launch`."""
        length: int | None = self.get("model", "maxModelLen")
        return length

    @property
    def output_tokens(self) -> int | None:
        """As `Launch`."""
        tokens: int | None = self.get("model", "maxOutputTokens")
        return tokens

    @property
    def trust_remote_code(self) -> bool:
        """As `Launch`."""
        return bool(self.get("model", "trustRemoteCode", default=False))

    def figures(self) -> Figures | None:
        """As `Launch`: the plan that the platform declares."""
        plan = self.get("sizing")
        if plan is None:
            return None
        return Figures(
            fits=bool(plan.get("fits")),
            errors=tuple(plan.get("errors") or ()),
            kv_cache_tokens=plan.get("kvCacheTokens"),
            gpu_gib=plan.get("gpuGib"),
            requested_gib=plan.get("requestedGib"),
            kv_cache_gib=plan.get("kvCacheGib"),
        )


class ContainerLaunch(Launch):
    """Of a Kubernetes container that runs vLLM's server."""

    __slots__ = ("container",)

    def __init__(self, container: Container) -> None:
        super().__init__(container.raw, container.path)
        self.container = container

    @property
    def release(self) -> str | None:
        """As `Launch`: of the image's tag."""
        _, tag, _ = image(str(self.get("image", default="")))
        found = _RELEASE.match(tag or "")
        return None if found is None else found[1]

    @property
    def model(self) -> str | None:
        """As `Launch`."""
        words = _words(self.container)
        given = _flags(words).get("model")
        if given is None and "serve" in words:
            after = words[words.index("serve") + 1 :]
            given = after[0] if after and not after[0].startswith("-") else None
        return _text(given)

    @property
    def heads(self) -> int | None:
        """As `Launch`."""
        architecture = _architecture(self.known_model)
        return None if architecture is None else architecture.heads

    @property
    def flags(self) -> dict[str, Any]:
        """As `Launch`."""
        return _flags(_words(self.container))

    @property
    def tensor_parallel(self) -> int:
        """As `Launch`."""
        return _count(self.flags.get("tensor-parallel-size")) or 1

    @property
    def ranks(self) -> int:
        """As `Launch`."""
        flags = self.flags
        return _product(_count(flags.get(f"{kind}-parallel-size")) or 1 for kind in ("tensor", "pipeline", "data"))

    @property
    def gpus(self) -> int | None:
        """As `Launch`."""
        return sum(self.container.gpus().values())

    @property
    def gpu(self) -> Gpu | None:
        """The kind of GPU that the pod selects its node by."""
        selector = self.container.pod.get("nodeSelector", default={})
        catalog = _catalog()
        for label in _GPU_LABELS:
            if label in selector and (found := find_or_none(catalog.gpus, str(selector[label]))) is not None:
                return found
        for label in _INSTANCE_LABELS:
            instance = find_or_none(catalog.instances, str(selector.get(label, "")))
            if instance is not None:
                return catalog.gpus[instance.gpu]
        return None

    @property
    def max_num_seqs(self) -> int | None:
        """As `Launch`."""
        return _count(self.flags.get("max-num-seqs"))

    @property
    def max_model_len(self) -> int | None:
        """As `Launch`."""
        return _count(self.flags.get("max-model-len"))

    @property
    def output_tokens(self) -> int | None:
        """As `Launch`: nothing says it."""
        return None

    @property
    def trust_remote_code(self) -> bool:
        """As `Launch`."""
        return self.flags.get("trust-remote-code") in {True, "true", "True", "1"}

    def figures(self) -> Figures | None:
        """As `Launch`: computed by Slipway's sizing, for the release that the image names where it is known."""
        architecture, gpu, flags = _architecture(self.known_model), self.gpu, self.flags
        if architecture is None or gpu is None or not self.gpus:
            return None
        utilization = flags.get("gpu-memory-utilization")
        request = Request(
            architecture=architecture,
            gpu=gpu,
            count=_product(_count(flags.get(f"{kind}-parallel-size")) or 1 for kind in ("tensor", "pipeline")),
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=_count(flags.get("pipeline-parallel-size")) or 1,
            context=self.max_model_len,
            dtype=str(flags.get("dtype", "auto")),
            quantization=_text(flags.get("quantization")),
            kv_cache_dtype=str(flags.get("kv-cache-dtype", "auto")),
            gpu_memory_utilization=None if utilization is None else float(utilization),
            max_num_batched_tokens=_count(flags.get("max-num-batched-tokens")),
            max_num_seqs=self.max_num_seqs,
            enforce_eager=flags.get("enforce-eager") is True,
            engine_version=self.release,
        )
        try:
            return _of(size(request))
        except SizingError as error:
            return Figures(
                fits=False,
                errors=(str(error),),
                kv_cache_tokens=None,
                gpu_gib=None,
                requested_gib=None,
                kv_cache_gib=None,
            )


def launches(resource: Resource) -> Iterator[Launch]:
    """Every start of an engine in the resource.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    if resource.type == PLATFORM:
        yield PlatformLaunch(resource.inputs.raw)
        return
    for container in containers(resource):
        if _runs_vllm(container):
            yield ContainerLaunch(container)


def _runs_vllm(container: Container) -> bool:
    """By its image, or by its command where that is known; an unknown word of it says nothing here."""
    reference = container.node("image").data
    if isinstance(reference, str) and image(reference)[0].rpartition("/")[2].startswith("vllm"):
        return True
    words = [
        word for key in ("command", "args") for node in _known(container, key) if isinstance(word := node.data, str)
    ]
    text = " ".join(words)
    return re.search(r"\bvllm\s+serve\b|vllm\.entrypoints\.(openai\.)?api_server", text) is not None


def _known(container: Container, key: str) -> Iterator[Node]:
    if container.node(key).data is not UNKNOWN:
        yield from container.each(key)


def _words(container: Container) -> list[str]:
    """The words of the command; a shell's script is taken apart, and variables that the container sets are put in."""
    said = command_line(container)
    known = {name: entry for name, entry in environment(container) if name}

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return str(known[name].get("value", default=found[0])) if name in known else found[0]

    words: list[str] = []
    for word in said:
        filled = re.sub(r"\$\(([A-Za-z_]\w*)\)|\$\{?([A-Za-z_]\w*)\}?", value, word)
        words += _split(filled) if re.search(r"\s", filled.strip()) else [filled]
    return words


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script, comments=True)
    except ValueError:
        return script.split()


def _flags(words: list[str]) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for index, word in enumerate(words):
        if not re.match(r"--?[A-Za-z]", word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name) if not word.startswith("--") else name
        name = name.replace("_", "-")
        following = words[index + 1] if index + 1 < len(words) else "-"
        flags[name] = value if equals else True if re.match(r"--?[A-Za-z]|[;&|]|-$", following) else following
    return flags


def _architecture(model: Model | None) -> Architecture | None:
    if model is None:
        return None
    try:
        return read_config(model.config, model.id)
    except SizingError:
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


@cache
def _catalog() -> Catalog:
    return load()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() else None


def _product(values: Iterable[int]) -> int:
    result = 1
    for value in values:
        result *= int(value)
    return result
