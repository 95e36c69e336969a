"""Starts of an inference engine: by Slipway's own platform, or by a Kubernetes container that runs vLLM.

Both are read into the same terms, so that a rule about models, GPUs and KV caches holds for stacks that Slipway did not
write. What the catalogue knows of model and GPU is looked up; nothing is guessed: a script whose text is not in the stack is
no launch, and a flag whose value only the cluster knows (`valueFrom`, a shell's own variable, a `--config` file) is unknown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from policies.node import UNKNOWN, Node, Secret, UnknownValueError
from policies.resources import PLATFORM, Resource
from policies.subjects.kubernetes import ANY, Container, command_line, containers, environment, image
from policies.subjects.programs import asked, runs_vllm
from slipway.catalog import Catalog, load
from slipway.catalog.load import find_or_none
from slipway.catalog.names import CatalogError, find_gpu
from slipway.catalog.types import Gpu, Model
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.parallel import divides
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size

TYPES = (PLATFORM, ANY)
"""Types in which `launches` finds something."""

_RELEASE = re.compile(r"^v?(\d+\.\d+\.\d+(?:\.\d+)?)")
_SHELL = re.compile(r"(^|/)(ba|da|a|z)?sh$")
_ENDS = frozenset({";", "&", "&&", "|", "||", "\n", ";;"})
"""Where a shell's command ends."""
_VARIABLE = re.compile(r"\$\(([A-Za-z_]\w*)\)|\$\{([A-Za-z_]\w*)[^}]*\}|\$([A-Za-z_]\w*)")
_FLAG = re.compile(r"--?[A-Za-z]")

_PRODUCT = "nvidia.com/gpu.product"
"""GPU Feature Discovery's label."""
_GKE = "cloud.google.com/gke-accelerator"
_GKE_GPUS = {
    # Where GKE's own name is not the one that the catalogue has, or means another size of the memory.
    "nvidia-tesla-a100": "a100-sxm-40gb",
    "nvidia-tesla-v100": "v100-sxm2-16gb",
    "nvidia-h100-mega-80gb": "h100-sxm-80gb",
    "nvidia-rtx-pro-6000": "rtx-pro-6000-blackwell-server",
}
_GPU_NAMES = ("karpenter.k8s.aws/instance-gpu-name", "eks.amazonaws.com/instance-gpu-name")
"""Short names of AWS; `a100` and `v100` are sold with two sizes of memory, which another label tells apart (in MiB)."""
_TWO_SIZES = {"a100", "v100"}
_INSTANCE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_WHOLE_GPUS = {"nvidia.com/gpu", "amd.com/gpu"}
"""Resources of which one is a whole GPU; others are slices (MIG), or shared."""
_SHORT = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpe": "data-parallel-external-lb",
    "dcp": "decode-context-parallel-size",
    "pcp": "prefill-context-parallel-size",
    "ep": "enable-expert-parallel",
    "n": "nnodes",
    "q": "quantization",
}
"""vLLM's one-dash forms."""
_ABBREVIATED = {"tensor-parallel": "tensor-parallel-size", "pipeline-parallel": "pipeline-parallel-size"}
"""argparse takes any beginning that only one flag has; these are in use."""
_UNMODELLED = {
    "kv-cache-memory-bytes",
    "enable-expert-parallel",
    "kv-transfer-config",
    "kv-offloading-size",
    "rope-scaling",
}
"""Flags of memory that the platform refuses or sets otherwise, besides `slipway.checks.subject.UNCOUNTED`."""
_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""A variable with which the engine takes contexts that the model does not know."""
_UNREADABLE = "config"
"""A file with more flags, which the stack does not hold."""


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
        """The model's entry in the catalogue; of a folder or bucket the one that it is called after."""
        model = self.model
        if model is None:
            return None
        local = model.startswith(("/", "./", "../")) or "://" in model
        return find_or_none(_catalog().models, model.rstrip("/").rpartition("/")[2] if local else model)

    @property
    def architecture(self) -> Architecture | None:
        """How the model is built; None where the catalogue does not know it, or the sizing can't read it."""
        return _architecture(self.known_model)

    def uneven(self, ranks: int) -> str | None:
        """What of the model can't be spread over `ranks` GPUs; None where all can.

        With expert parallelism experts stay whole, and only the heads are looked at.
        """
        heads, architecture = self.heads, self.architecture
        if heads is not None and heads % ranks:
            return f"the {heads} attention heads"
        whole = architecture is None or "enable-expert-parallel" in self.flags
        return None if whole or architecture is None or divides(architecture, ranks) else "the KV heads and layers"

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
        heads: int | None = self.number("model", "attentionHeads")
        return heads

    @property
    def flags(self) -> dict[str, Any]:
        """As `Launch`; only those that the settings have no key for."""
        return dict(self.get("engine", "flags", default={}))

    @property
    def tensor_parallel(self) -> int:
        """As `Launch`."""
        return int(self.number("engine", "tensorParallel", default=1))

    @property
    def ranks(self) -> int:
        """As `Launch`."""
        sizes = (
            self.number("engine", key, default=1) for key in ("tensorParallel", "pipelineParallel", "dataParallel")
        )
        return _product(sizes)

    @property
    def gpus(self) -> int | None:
        """As `Launch`."""
        gpus: int | None = self.number("hardware", "gpus")
        return gpus

    @property
    def max_num_seqs(self) -> int | None:
        """As `Launch`; None too where the stack left it to its default."""
        seqs: int | None = self.number("engine", "maxNumSeqs")
        return seqs if self.get("engine", "maxNumSeqsGiven", default=True) else None

    @property
    def max_model_len(self) -> int | None:
        """As `Launch`."""
        length: int | None = self.number("model", "maxModelLen")
        return length

    @property
    def output_tokens(self) -> int | None:
        """As `Launch`."""
        tokens: int | None = self.number("model", "maxOutputTokens")
        return tokens

    @property
    def trust_remote_code(self) -> bool:
        """As `Launch`."""
        return bool(self.get("model", "trustRemoteCode", default=False))

    def figures(self) -> Figures | None:
        """As `Launch`: the plan that the platform declares."""
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


class ContainerLaunch(Launch):
    """Of a Kubernetes container that runs vLLM's server."""

    __slots__ = ("_flags", "container", "group")

    def __init__(self, container: Container, group: Node | None = None) -> None:
        """`group` is the size of the group of pods that the container's pod leads."""
        super().__init__(container.raw, container.path)
        self.container = container
        self.group = group
        self._flags: dict[str, Any] | None = None

    @property
    def release(self) -> str | None:
        """As `Launch`: of the image's tag."""
        _, tag, _ = image(str(self.get("image", default="")))
        found = _RELEASE.match(tag or "")
        return None if found is None else found[1]

    @property
    def model(self) -> str | None:
        """As `Launch`."""
        given = self._given("model")
        if given is None:
            words = _words(self.container)
            given = words[0] if words and not words[0].startswith("-") else None
        return self._resolved(given)

    @property
    def heads(self) -> int | None:
        """As `Launch`."""
        architecture = self.architecture
        return None if architecture is None else architecture.heads

    @property
    def flags(self) -> dict[str, Any]:
        """As `Launch`; a variable that only the cluster knows stands as it is written."""
        if self._flags is None:
            self._flags = _flags(_words(self.container))
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
        if "data-parallel-rank" in self.flags or "data-parallel-external-lb" in self.flags:
            copies = 1
        local = self._number("data-parallel-size-local")
        sizes = (self._number(f"{kind}-parallel-size") or 1 for kind in kinds)
        return _product(sizes) * (copies if local is None else local)

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
        wanted = _demanded(self.container.pod)
        found = {gpu.id: gpu for gpu in _gpus(wanted)}
        return next(iter(found.values())) if len(found) == 1 else None

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
        return self._on("trust-remote-code")

    def figures(self) -> Figures | None:
        """As `Launch`: computed by Slipway's sizing, for the release that the image names where it is known.

        None too where a flag changes memory that the sizing does not count with, or asks for what it does not know.
        """
        from slipway.checks.subject import UNCOUNTED  # slow to import, and only needed here

        architecture, gpu, flags = self.architecture, self.gpu, self.flags
        if architecture is None or gpu is None or not self.gpus:
            return None
        shared_experts = self._number("data-parallel-size") is not None and any(
            layer.experts for layer in architecture.layers
        )
        if (UNCOUNTED | _UNMODELLED) & flags.keys() or self.hosts > 1 or shared_experts or self._fitted():
            return None
        if any(name == _LONGER for name, _ in environment(self.container)):
            return None
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
                prefix_caching=False if "no-enable-prefix-caching" in flags else None,
                enforce_eager=self._on("enforce-eager"),
                engine_version=self.release,
            )
            return _of(size(request))
        except SizingError:
            return None

    def _given(self, flag: str) -> Any:
        """The value of a flag as it is written; None where it has none.

        Raises:
            UnknownValueError: flags stand in a file, this one perhaps among them.
        """
        flags = self.flags
        if flag not in flags and _UNREADABLE in flags:
            raise UnknownValueError(self._said_in())
        return flags.get(flag)

    def _text(self, flag: str) -> str | None:
        return self._resolved(self._given(flag))

    def _number(self, flag: str) -> int | None:
        return _count(self._text(flag))

    def _on(self, flag: str) -> bool:
        given = self._given(flag)
        return given is True or str(self._resolved(given)).casefold() in {"true", "1"}

    def _fitted(self) -> bool:
        """Whether the engine itself lowers the context to what fits."""
        return self._text("max-model-len") in {"auto", "-1"}

    def _resolved(self, given: Any) -> str | None:
        """A text in which no variable is left.

        Raises:
            UnknownValueError: one is; only the cluster knows what it is.
        """
        text = _text(given)
        found = None if text is None else _VARIABLE.search(text)
        if found is not None:
            name = found[1] or found[2] or found[3]
            places = {known: entry.path for known, entry in environment(self.container)}
            raise UnknownValueError(places.get(name, self._said_in()))
        return text

    def _said_in(self) -> str:
        return self.at("args" if self.has("args") else "command")


def launches(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """Every start of an engine in the resource; in the place of one of which nobody knows it, what is not known.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    if resource.type == PLATFORM:
        yield PlatformLaunch(resource.inputs.raw)
        return
    if resource.type.startswith("kubernetes:ray.io/"):
        return  # its operator writes the commands
    for container in asked(containers(resource), runs_vllm):
        if isinstance(container, UnknownValueError):
            yield container
        else:
            leads = container.path.startswith("spec.leaderWorkerTemplate.")
            group = resource.inputs.node("spec", "leaderWorkerTemplate", "size") if leads else None
            yield ContainerLaunch(container, group)


def _words(container: Container) -> list[str]:
    """The words that vLLM's server is given: what follows `vllm serve`, or all where the image itself starts it.

    A shell's script is taken apart, and variables that the container sets are put in.
    """
    words = command_line(container)
    if any("$" in word for word in words):
        known = {name: entry for name, entry in environment(container) if name}
        words = [_filled(word, known) for word in words]
    if words and _SHELL.search(words[0]):
        after = next((place for place, word in enumerate(words) if re.match(r"-[a-z]*c$", word)), len(words))
        words = [part for word in words[after + 1 :] for part in _split(word)]
    for place, word in enumerate(words):
        served = word == "serve" and place and words[place - 1].rpartition("/")[2] == "vllm"
        if served or word.startswith("vllm.entrypoints."):
            words = words[place + 1 :]
            break
    end = next((place for place, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]


def _filled(word: str, known: dict[str, Node]) -> str:
    """With the values of variables; what is unknown, secret or comes from elsewhere stays a variable."""

    def value(found: re.Match[str]) -> str:
        entry = known.get(found[1] or found[2] or found[3])
        said = None if entry is None else entry.node("value").raw
        return found[0] if said is None or said is UNKNOWN or isinstance(said, Secret) else str(said)

    for _ in range(3):  # one variable may hold another
        word = _VARIABLE.sub(value, word)
    return word


def _split(script: str) -> list[str]:
    """The words of a shell's script; ends of commands are words of their own."""
    text = re.sub(r"(?m)(^|[ \t])#.*$", "", script.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return script.split()


def _flags(words: list[str]) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for index, word in enumerate(words):
        if not _FLAG.match(word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not word.startswith("--"):
            joined = re.match(r"(tp|pp|dp|dpl|n)(\d+)$", name)
            name, equals, value = (joined[1], "=", joined[2]) if joined else (name, equals, value)
            name = _SHORT.get(name, name)
        name = _ABBREVIATED.get(name, name)
        following = words[index + 1] if index + 1 < len(words) else "-x"
        flags[name] = value if equals else True if _FLAG.match(following) else following
    return flags


def _demanded(pod: Node) -> dict[str, set[str]]:
    """By label of the node, the values of which the pod demands one."""
    wanted: dict[str, set[str]] = {}
    labels = (_PRODUCT, _GKE, *_GPU_NAMES, *map(_memory_label, _GPU_NAMES), *_INSTANCE_LABELS)
    for label in labels:
        value = pod.node("nodeSelector").get(label)
        if value is not None:
            wanted[label] = {str(value)}
    required = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = list(pod.each(*required))
    if len(terms) == 1:  # of several, any one will do
        for expression in terms[0].each("matchExpressions"):
            label = expression.get("key")
            if label in labels and expression.get("operator") == "In":
                wanted.setdefault(label, set(map(str, expression.get("values", default=[]))))
    return wanted


def _gpus(wanted: dict[str, set[str]]) -> Iterator[Gpu]:
    """The GPUs of the nodes that a pod may be put on, by the first label that says; none where one of them is not known."""
    catalog = _catalog()
    found: list[Gpu | None] = []
    for label in (_PRODUCT, _GKE, *_GPU_NAMES, *_INSTANCE_LABELS):
        for value in sorted(wanted.get(label, ())):
            if label in _INSTANCE_LABELS:
                instance = find_or_none(catalog.instances, value)
                found.append(None if instance is None else catalog.gpus[instance.gpu])
            elif label in _GPU_NAMES:
                found.append(_sized(catalog, value, wanted.get(_memory_label(label), set())))
            else:
                found.append(find_or_none(catalog.gpus, _GKE_GPUS.get(value, value) if label == _GKE else value))
        if found:
            break
    if None not in found:
        yield from (gpu for gpu in found if gpu is not None)


def _sized(catalog: Catalog, name: str, memories: set[str]) -> Gpu | None:
    """The GPU that AWS calls `name`, told from others of that name by its memory in MiB."""
    memory = _count(next(iter(memories))) if len(memories) == 1 else None
    if memory is None:
        return None if name in _TWO_SIZES else find_or_none(catalog.gpus, name)
    try:
        return find_gpu(catalog.gpus, name, memory / 1024)
    except CatalogError:
        return None


def _memory_label(label: str) -> str:
    return label.removesuffix("name") + "memory"


def _plain_quantization(name: str | None) -> str | None:
    """Without the kernel that the engine is told to use: `awq_marlin` runs checkpoints of `awq`, and loads them so."""
    plain = None if name is None else name.removesuffix("_marlin")
    return None if plain in {"awq", "gptq", "compressed-tensors", "none"} else plain


def _share(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


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


_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
"""As vLLM's flags take them: 1k is 1000, 1K is 1024."""


def _count(value: Any) -> int | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG]?)", str(value))
    if found is None or ("." in found[1] and not found[2]):
        return None
    return int(float(found[1]) * _UNITS.get(found[2], 1))


def _product(values: Iterable[int]) -> int:
    result = 1
    for value in values:
        result *= int(value)
    return result
