"""What a container runs: an inference engine, or a gateway. By its command; by its image where it has none.

Where neither is known the question is open, and so is every rule that asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from shlex import join

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.terms import ENGINES, GPU_BUILDS, OTHER_COMMANDS, OTHER_IMAGES, VLLM, Terms
from policies.readers.kubernetes.pods import Container, image, own_name
from policies.readers.scripts.shell import performed

_BESIDE = re.compile(
    r"(router|gateway|proxy|exporter|operator|controller|simulator|benchmark|downloader|bench|sim|sr|ui)([-_]|$)"
)
"""Images of what stands beside an engine."""
_ANY_ENGINE = re.compile(
    "|".join([OTHER_COMMANDS.pattern, *(each.command.pattern for each in ENGINES if each.command)])
)
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


def matching(
    containers: Iterable[Container], question: Callable[[Container], bool]
) -> Iterator[Container | UnknownValueError]:
    """The containers for which the answer is yes; in the place of one for which it is open, the unknown value."""
    for container in containers:
        try:
            if question(container):
                yield container
        except UnknownValueError as unknown:
            yield unknown


def engine_of(container: Container) -> Terms | None:
    """The engine whose server starts in it, as far as its terms are known; None for every other program.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    if _has_vllm_flags(container):
        return VLLM
    commands = _commands(_known(container))
    for terms in ENGINES:
        if terms.command is not None and any(map(terms.command.search, commands)):
            return terms
    if not _image_decides(container, _is_engine):
        return None
    reference = str(container.get("image", default=""))
    return next((terms for terms in ENGINES if _is_image_of(terms, reference)), None)


def runs_engine(container: Container) -> bool:
    """Whether an engine for large models starts in it.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _has_vllm_flags(container) or _runs(container, _ANY_ENGINE, _is_engine)


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
    reference = str(container.get("image", default=""))
    name, tag, _ = image(reference)
    if any(terms.on_cpu and _is_image_of(terms, reference) for terms in ENGINES) and not GPU_BUILDS.search(str(tag)):
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


def _has_vllm_flags(container: Container) -> bool:
    """Whether it has no command, and flags that only vLLM has: then the image is vLLM's, known or not."""
    flags = VLLM.own_flags
    if flags is None or not _has_none(container) or flags.search(script(container)) is None:
        return False
    return _BESIDE.search(own_name(str(container.node("image").data))) is None


def _has_none(container: Container) -> bool:
    """Whether it has no command, so that the image's own runs."""
    return container.node("command").data in (None, [])


def _runs(container: Container, starts: re.Pattern[str], is_image: Callable[[str], bool]) -> bool:
    if any(map(starts.search, _commands(_known(container)))):
        return True
    return _image_decides(container, is_image)


def _image_decides(container: Container, is_image: Callable[[str], bool]) -> bool:
    """Whether the image is one of those asked for, and starts its own program.

    Raises:
        UnknownValueError: the image is not known, or a script that nobody sees may start that program.
    """
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
    """Whether an image starts an engine for large models."""
    ours = any(_is_image_of(terms, reference) for terms in ENGINES)
    return ours or (OTHER_IMAGES.search(reference.partition("@")[0]) is not None and not _is_beside(reference))


def _is_image_of(terms: Terms, reference: str) -> bool:
    """Whether an image starts the server of this engine."""
    found = terms.image is not None and terms.image.search(reference.partition("@")[0]) is not None
    return found and not _is_beside(reference)


def _is_beside(reference: str) -> bool:
    return _BESIDE.search(own_name(reference)) is not None
