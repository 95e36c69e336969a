"""The words and flags that an engine's server is started with."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.flags import Unseen, count, flags_of, place_of, server_words
from policies.readers.kubernetes.pods import Container, Pod


def container(**data: Any) -> Container:
    return Container(data, "it", Pod({}, "", Node(None)))


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        (["vllm", "serve", "m"], ["--seed", "1"], ["m", "--seed", "1"]),
        ([], ["serve", "m", "--seed", "serve"], ["m", "--seed", "serve"]),
        ([], ["m", "--served-model-name", "serve"], ["m", "--served-model-name", "serve"]),
        (["python3", "-m", "sglang.launch_server", "--model-path", "m"], [], ["--model-path", "m"]),
        (["/opt/text-generation-launcher"], ["--model-id", "m"], ["--model-id", "m"]),
        (["sh", "-c", "echo serve & exec vllm serve m; echo --late"], [], ["m"]),
        (["bash", "-e", "-c"], ["litellm --port 1", "--port"], ["litellm", "--port", "1", "--port"]),
        (["sh", "start.sh", "--port", "1"], [], []),
        (["sh", UNKNOWN, "vllm serve m --seed 1"], [], ["m", "--seed", "1"]),
        (["sh", "-c", UNKNOWN], [], [Unseen]),
        (["sh", "-c", 'vllm serve "$@"', "--", UNKNOWN], [], ["$@", "--", Unseen]),
        (["vllm", "serve", "$(M)"], [UNKNOWN], ["$(M)", Unseen]),
        (["vllm", "serve", "m"], UNKNOWN, ["m", Unseen]),
    ],
)
def test_words_of_a_server(command: Any, args: Any, words: list[Any]) -> None:
    found = server_words(container(command=command, args=args))
    assert [Unseen if isinstance(word, Unseen) else word for word in found] == words


def test_variables_matter_only_to_words_that_name_one() -> None:
    assert server_words(container(args=["m"], env=UNKNOWN)) == ["m"]
    with pytest.raises(UnknownValueError):
        server_words(container(args=["$(M)"], env=UNKNOWN))


ONE, SEVERAL = Unseen("one", several=False), Unseen("several", several=True)


@pytest.mark.parametrize(
    ("words", "flags", "loose"),
    [
        (["--n", "2"], {"n": "2"}, None),
        (["--trust-remote-code", "false"], {"trust-remote-code": "false"}, None),
        (["--seed", ONE], {"seed": ONE}, None),
        (["--seed", SEVERAL], {"seed": SEVERAL}, SEVERAL),
        (["--seed=1", ONE], {"seed": "1"}, ONE),
        (["--seed", "1", ONE], {"seed": "1"}, ONE),
        (["--headless", ONE], {"headless": True}, ONE),
        (["m", ONE, SEVERAL], {}, ONE),
    ],
)
def test_flags_and_what_may_be_one(words: list[str], flags: dict[str, Any], loose: Unseen | None) -> None:
    found = flags_of(words)
    assert found == flags
    assert found.loose is loose


def test_a_flag_that_is_given_is_known_whatever_else_may_be_given() -> None:
    flags = flags_of(["--seed", "1", ONE, SEVERAL])
    assert (flags.value("seed"), flags.given("seed")) == ("1", True)
    for question in (flags.value, flags.given):
        with pytest.raises(UnknownValueError, match="one"):
            question("model")


@pytest.mark.parametrize(
    ("given", "flag", "place"),
    [
        ({"args": ["-tp=2"]}, "tensor-parallel-size", ("args", 0)),
        ({"command": UNKNOWN, "args": ["m", "--seed=1"]}, "seed", ("args", 1)),
        ({"command": ["sh", "-c", "vllm serve m --seed 1"], "args": ["x --seed 2"]}, "seed", ("command", 2)),
        ({"command": ["sh", "-c", "vllm serve m --seed 1"], "args": ["--seed", "2"]}, "seed", ("args", 0)),
        ({"args": ["m", "--max-model-len", "8", "--model-loader-extra-config={}"]}, "model", ("args",)),
        ({"command": ["vllm", "serve"]}, "seed", ("command",)),
    ],
)
def test_where_a_flag_stands(given: dict[str, Any], flag: str, place: tuple[Any, ...]) -> None:
    assert place_of(container(**given), flag) == place


@pytest.mark.parametrize(("said", "number"), [("8192", 8192), ("1.5k", 1500), ("1.5", None), ("k", None), (None, None)])
def test_numbers_of_flags(said: Any, number: int | None) -> None:
    assert count(said) == number
