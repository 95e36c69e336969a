"""What is known of each engine: how it is recognized, and which flags and variables it takes.

All that rules know of single engines stands here. `ENGINES` are those whose command lines are read. Others are only
recognized, by `OTHER_COMMANDS` and `OTHER_IMAGES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Logging:
    """A flag or a variable that writes what users send, or get, to a log."""

    what: str
    """What happens where it is set, as a clause."""
    values: str = r"(?!(?:|0|false|no)$).*"
    """The values that set it, as a pattern in any case; by default all that do not say no."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is known of one engine."""

    name: str
    """Its name in a stack's settings and in Python's package index."""
    shown: str
    """Its name in messages."""
    command: re.Pattern[str] | None = None
    """What is in a command that starts its server; None where its containers are not recognized."""
    image: re.Pattern[str] | None = None
    """The end of a reference, without digest, to an image whose entry point starts its server."""
    own_flags: re.Pattern[str] | None = None
    """Flags that no other engine has: an image that is not known yet is its own where they are all that a container says."""
    on_cpu: bool = False
    """Whether it works on CPUs as well, unless its image is built for a GPU."""
    model: tuple[str, ...] = ()
    """Flags that name the model, the usual one first."""
    hub: frozenset[str] = frozenset()
    """Those of them that always name a repository of a hub; other ones tell by the form of their value."""
    path: frozenset[str] = frozenset()
    """Those of them that always name a file of the container's."""
    revision: str | None = "revision"
    """The flag for the commit of a hub's repository; None where there is none."""
    keyed: bool = True
    """Whether it can ask its callers for a key."""
    key: tuple[str, ...] = ("api-key",)
    """Flags for that key, or a file of keys; empty where nothing of a container says it."""
    key_variable: str | None = None
    host: str = "host"
    """The flag for the address on which it listens."""
    host_variable: str | None = None
    listens: str = "0.0.0.0"  # noqa: S104 -- what engines do
    """Where it listens if nothing says it."""
    variables: str | None = None
    """What is in front of a flag's name in the variable that sets it as well: with `""`, `--model-id` is also `MODEL_ID`."""
    positional: bool = False
    """Whether the first word may be the model."""
    short: Mapping[str, str] = field(default_factory=dict)
    """One-dash forms of flags, by the form, without the dash."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other forms of flags, without dashes."""
    slots: str = "max-num-seqs"
    """What sets the requests that it works on at once."""
    remote_code: bool = False
    """Whether it can run Python code that comes with a model."""
    spreads: bool = False
    """Whether it spreads a model's heads over GPUs, by `--tensor-parallel-size`."""
    logging_flags: Mapping[str, Logging] = field(default_factory=dict)
    logging_variables: Mapping[str, Logging] = field(default_factory=dict)
    quiet_since: tuple[int, ...] = ()
    """The first release that logs prompts only where it is told to; before it, `quiet_flag` turns that off."""
    quiet_flag: str = ""

    @property
    def key_setting(self) -> str:
        """The variable or flag that sets the key."""
        return self.key_variable or f"--{self.key[0]}"


VLLM = Terms(
    name="vllm",
    shown="vLLM",
    command=re.compile(r"\bvllm\s+serve\b|\bvllm\.entrypoints\.(openai\.)?api_server"),
    image=re.compile(r"(^|/)vllm[^/]*$"),
    own_flags=re.compile(
        r"--(max[-_]model[-_]len|tensor[-_]parallel[-_]size|gpu[-_]memory[-_]utilization|max[-_]num[-_]seqs)\b"
    ),
    model=("model",),
    key_variable="VLLM_API_KEY",
    positional=True,
    short={
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
    },
    # argparse takes any beginning that only one flag has; these are in use.
    aliases={
        "tensor-parallel": "tensor-parallel-size",
        "pipeline-parallel": "pipeline-parallel-size",
        "trust-remote": "trust-remote-code",
    },
    remote_code=True,
    spreads=True,
    logging_flags={
        "enable-log-requests": Logging(
            "the engine logs requests, and at log level DEBUG, or before 0.11.2 always, their prompts"
        ),
        "enable-log-outputs": Logging("the engine logs its answers"),
    },
    logging_variables={"VLLM_DEBUG_LOG_API_SERVER_RESPONSE": Logging("the engine logs its answers", "true|1|yes|on")},
    quiet_since=(0, 10, 1),  # vllm-project/vllm#21739
    quiet_flag="disable-log-requests",
)
SGLANG = Terms(
    name="sglang",
    shown="SGLang",
    command=re.compile(r"\bsglang\.launch_server|\bsglang\s+serve\b"),
    image=re.compile(r"(^|/)sglang[^/]*$"),
    model=("model-path", "model"),
    listens="127.0.0.1",
    aliases={"tp": "tensor-parallel-size", "tp-size": "tensor-parallel-size"},
    remote_code=True,
    spreads=True,
    logging_flags={"log-requests": Logging("the engine logs requests with their prompts")},
)
TGI = Terms(
    name="text-generation-inference",
    shown="Text Generation Inference",
    command=re.compile(r"\btext-generation-launcher\b"),
    image=re.compile(r"(^|/)(text-generation-inference|huggingface-pytorch-tgi-inference|tgi)([-:][^/]*)?$"),
    model=("model-id",),
    key_variable="API_KEY",
    host="hostname",
    variables="",
    remote_code=True,
)
LLAMA_CPP = Terms(
    name="llama_cpp",
    shown="llama.cpp",
    command=re.compile(r"\bllama-server\b"),
    image=re.compile(r"(^|/)(llama\.cpp:(full|server)[^/]*|llama-server[^/]*)$"),
    on_cpu=True,
    model=("model", "hf-repo", "model-url"),
    hub=frozenset({"hf-repo"}),
    path=frozenset({"model"}),
    revision=None,
    slots="parallel",
    key=("api-key", "api-key-file"),
    key_variable="LLAMA_API_KEY",
    host_variable="LLAMA_ARG_HOST",
    # By itself on loopback, but its image sets the variable.
    variables="LLAMA_ARG_",
    short={"m": "model", "mu": "model-url", "hf": "hf-repo", "hfr": "hf-repo", "v": "verbose", "lv": "verbosity"},
    logging_flags={
        "verbose": Logging("the engine logs all that passes through it"),
        "log-verbose": Logging("the engine logs all that passes through it"),
    },
)
OLLAMA = Terms(
    name="ollama",
    shown="Ollama",
    command=re.compile(r"\bollama\s+serve\b"),
    image=re.compile(r"(^|/)ollama/ollama[^/]*$"),
    on_cpu=True,
    revision=None,
    slots="parallel",
    keyed=False,
    key=(),
    host_variable="OLLAMA_HOST",
    logging_variables={"OLLAMA_DEBUG": Logging("the engine logs prompts at its debug levels")},
)
KSERVE = Terms(
    name="kserve", shown="KServe", model=("model-id", "model"), revision="model-revision", key=(), remote_code=True
)
"""A runtime that the cluster chooses; Hugging Face's takes these. Who asks for a key is no matter of the container."""

ENGINES = (VLLM, SGLANG, TGI, LLAMA_CPP, OLLAMA)
"""Those whose containers are recognized, and whose flags are read."""
OTHER_COMMANDS = re.compile(r"multi-node-serving\.sh|\blmdeploy\s+serve\b|\btrtllm-serve\b")
OTHER_IMAGES = re.compile(
    r"(^|/)(lmdeploy[^/]*|tritonserver:[^/]*(vllm|trtllm)[^/]*|tensorrt-llm/release[^/]*)$|(^|/)nim/"
)
"""Triton without an LLM backend runs on CPUs as well."""
GPU_BUILDS = re.compile(r"cuda|rocm|vulkan|musa|intel")
"""Words in an image's name or tag by which an engine that also works on CPUs is built for a GPU."""
SERVE_COMMANDS = frozenset({"vllm", "sglang"})
"""Programs whose server's own words follow `serve`."""
SERVER_WORD = re.compile(
    r"^vllm\.entrypoints\.|^sglang\.launch_server$|(^|/)text-generation-launcher$|(^|/)llama-server$"
)
"""Words after which a server's own begin."""
BARE_FLAG = re.compile(
    r"(no|enable|disable)-|(trust-remote-code|enforce-eager|headless|data-parallel-external-lb|verbose|log-requests)$"
)
"""Flags that take no value, so that what follows one is another word."""
_UNKNOWN_ENGINE = "another engine"


def terms_of(name: str) -> Terms:
    """The terms of the engine that a stack's settings call `name`; of one that is not known here, terms that say nothing."""
    found = next((terms for terms in ENGINES if terms.name == name), None)
    return found or Terms(name=name, shown=name or _UNKNOWN_ENGINE, revision=None, key=())
