"""What a container runs: an inference engine, vLLM among them, or a gateway. By its command; by its image where it has none.

Where neither is known the question is open, and so is every rule that asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from shlex import join

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.subjects.kubernetes import Container, image, own_name
from policies.subjects.scripts import performed

_ENGINES = re.compile(
    r"""(^|/)(
        vllm[^/]* | text-generation-inference[^/]* | tgi(-[^/]*)? | sglang[^/]* | lmdeploy[^/]*
        | tritonserver:[^/]*(vllm|trtllm)[^/]* | tensorrt-llm/release[^/]*
        | ollama/ollama[^/]* | llama\.cpp:(full|server)[^/]* | llama-server[^/]*
    )$ | (^|/)nim/ """,
    re.VERBOSE,
)
"""Images whose entry point starts an engine for GPUs. Triton without an LLM backend runs on CPUs as well."""
_BESIDE = re.compile(
    r"(router|gateway|proxy|exporter|operator|controller|simulator|benchmark|downloader|bench|sim|sr|ui)([-_]|$)"
)
"""Images of what stands beside an engine."""
_WITHOUT_GPUS = re.compile(r"(^|/)(ollama/ollama|llama-server|llama\.cpp)(?![^/]*(cuda|rocm|vulkan|musa|intel))[^/]*$")
"""Engines that work on CPUs as well, unless their image is built for a GPU."""
_STARTS_SGLANG = re.compile(r"\bsglang\.launch_server|\bsglang\s+serve\b")
_STARTS_TGI = re.compile(r"\btext-generation-launcher\b")
_STARTS_VLLM = re.compile(r"\bvllm\s+serve\b|\bvllm\.entrypoints\.(openai\.)?api_server")
_VLLM_FLAGS = re.compile(
    r"--(max[-_]model[-_]len|tensor[-_]parallel[-_]size|gpu[-_]memory[-_]utilization|max[-_]num[-_]seqs)\b"
)
"""Flags by which an image that is not known yet is vLLM's, where they are all that the container says."""
_STARTS_ENGINE = re.compile(
    rf"""{_STARTS_VLLM.pattern} | {_STARTS_SGLANG.pattern} | {_STARTS_TGI.pattern} | multi-node-serving\.sh
    | \blmdeploy\s+serve\b | \btrtllm-serve\b | \bollama\s+serve\b | \bllama-server\b""",
    re.VERBOSE,
)
_TGI = re.compile(r"(text-generation-inference|huggingface-pytorch-tgi-inference|tgi)(-|$)")
_SCRIPT_FILE = re.compile(r"\.(sh|bash)$")
_RUNS_FILE = re.compile(
    r"(^|[;&|\n]|\bexec\s|(^|[\s/])(ba|da|z|k|a)?sh\s(\s*-\w+\s)*)\s*[\w./-]+\.(sh|bash)(?=[\s;&|]|$)"
)
"""A command of a shell's script that runs a script in a file."""
_SHELL = re.compile(r"(^|/)(ba|da|z|k|a)?sh$")
_WRAPPERS = (
    r"(?:tini|dumb-init|catatonit|ddtrace-run|opentelemetry-instrument|timeout|(?:uv|poetry|pdm|hatch|rye)\srun)"
)
"""Programs that start another."""
_STARTS_LITELLM = re.compile(
    rf"""^(?: (?:\S*/)? {_WRAPPERS} (?:\s-\S*|\s\d\w*)* \s )*
         (?: (?:\S*/)? litellm | (?:\S*/)? python[\d.]* (?:\s-\w+)*? \s-m\s litellm ) (?=\s|$)
       | ^(?! (?:\S*/)? (?:kubectl|oc|docker|podman|nerdctl)\s ) .* \s--\s (?:\S*/)? litellm (?=\s|$) """,
    re.VERBOSE,
)
"""LiteLLM is the program, and no name of a database, a user or a Deployment that another program is given."""
_WORKER = re.compile(r"--headless\b|multi-node-serving\.sh\s+worker\b|--node[-_]rank[=\s]+[1-9]")
"""A further node of an engine, where no server answers."""
_CPU = re.compile(r"(^|[^a-z])cpu([^a-z]|$)")


def asked(
    containers: Iterable[Container], question: Callable[[Container], bool]
) -> Iterator[Container | UnknownValueError]:
    """The containers for which the answer is yes; in the place of one for which it is open, what is not known."""
    for container in containers:
        try:
            if question(container):
                yield container
        except UnknownValueError as unknown:
            yield unknown


def runs_vllm(container: Container) -> bool:
    """Whether vLLM's server starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _says_so(container) or _runs(
        container, _STARTS_VLLM, lambda reference: own_name(reference).startswith("vllm") and _is_engine(reference)
    )


def runs_sglang(container: Container) -> bool:
    """Whether SGLang's server starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _runs(
        container, _STARTS_SGLANG, lambda reference: own_name(reference).startswith("sglang") and _is_engine(reference)
    )


def runs_tgi(container: Container) -> bool:
    """Whether Text Generation Inference starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _runs(container, _STARTS_TGI, lambda reference: _TGI.match(own_name(reference)) is not None)


def runs_engine(container: Container) -> bool:
    """Whether an engine for large models starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _says_so(container) or _runs(container, _STARTS_ENGINE, _is_engine)


def runs_litellm(container: Container) -> bool:
    """Whether LiteLLM's proxy starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _runs(container, _STARTS_LITELLM, lambda reference: "litellm" in own_name(reference))


def serves_model(container: Container) -> bool:
    """Whether it answers for a large model itself, and is no further node of an engine.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return runs_engine(container) and not _WORKER.search(script(container))


def on_cpu(container: Container) -> bool:
    """Whether the engine in it is one for CPUs, or works there as well: by image, flag or environment.

    Raises:
        UnknownValueError: its image or environment are not known.
    """
    name, tag, _ = image(str(container.get("image", default="")))
    if _WITHOUT_GPUS.search(str(container.get("image", default="")).partition("@")[0]):
        return True
    if _CPU.search(f"{name.rpartition('/')[2]}:{tag}") or re.search(r"--device[=\s]+cpu\b", script(container)):
        return True
    names = {str(entry.get("name", default="")) for entry in container.each("env")}
    return "VLLM_CPU_KVCACHE_SPACE" in names


def script(container: Container) -> str:
    """Command and arguments in one line; what is not known is left out."""
    return " ".join(_known(container))


def _known(container: Container) -> tuple[str, ...]:
    return tuple(word for _, node in _words(container) if isinstance(word := node.data, str))


@lru_cache(maxsize=4096)
def _commands(words: tuple[str, ...]) -> tuple[str, ...]:
    """What is run, command by command: those of a shell's script too, and of a word that an entry point may hand to one.

    Words with a space in them are left out of a command, for they are prose, or a script that counts by itself.
    """
    texts = [join(words), *(word for word in words if " " in word and not _SHELL.search(words[0]))]
    return tuple(" ".join(word for word in command if " " not in word) for text in texts for command in performed(text))


def _says_so(container: Container) -> bool:
    if not _has_none(container) or _VLLM_FLAGS.search(script(container)) is None:
        return False
    return _BESIDE.search(own_name(str(container.node("image").data))) is None


def _has_none(container: Container) -> bool:
    """Whether it has no command, so that the image's own runs."""
    return container.node("command").data in (None, [])


def _runs(container: Container, starts: re.Pattern[str], is_image: Callable[[str], bool]) -> bool:
    if any(map(starts.search, _commands(_known(container)))):
        return True
    _need_program(container)
    # A command, such as a download or a migration of a database, runs in place of what the image would start. Triton's own
    # is the exception: which backend it serves with is the image's matter.
    own = _has_none(container) or "tritonserver" in script(container)
    if own:
        return is_image(str(container.get("image", default="")))
    # A script that nobody sees, in an engine's own image and with GPUs, most likely starts the engine.
    if _starts_file(container) and container.gpus() and is_image(str(container.get("image", default=""))):
        raise UnknownValueError(container.at("command"))
    return False


def _starts_file(container: Container) -> bool:
    """Whether the command is a shell's script in a file, or runs one."""
    words = _known(container)
    shell = bool(words) and _SHELL.search(words[0]) is not None
    inline = next((place for place, word in enumerate(words) if shell and re.match(r"-[a-z]*c$", word)), None)
    if inline is not None:
        return any(map(_RUNS_FILE.search, words[inline + 1 : inline + 2]))
    file = next((word for word in words[shell:] if not word.startswith("-")), "")
    return _SCRIPT_FILE.search(file) is not None


def _need_program(container: Container) -> None:
    """See that the words which may be a program, or a shell's script, are known; arguments may be unknown.

    Raises:
        UnknownValueError: one is not.
    """
    before = None
    for key, node in _words(container):
        if node.data is UNKNOWN and (key == "command" or before == "-c"):
            raise UnknownValueError(node.path)
        before = node.data


def _words(container: Container) -> Iterator[tuple[str, Node]]:
    """Each word of command and arguments, with which of the two it is of; an unknown list is one unknown word."""
    for key in ("command", "args"):
        found = container.node(key)
        if found.data is UNKNOWN:
            yield key, found
        else:
            yield from ((key, word) for word in container.each(key))


def _is_engine(reference: str) -> bool:
    return _ENGINES.search(reference.partition("@")[0]) is not None and _BESIDE.search(own_name(reference)) is None
