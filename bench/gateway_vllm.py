"""The tiny vLLM behind the gateway's bench: the real engine, built for CPUs, with the lab's model.

It is the engine of the stack `lab` as its unit would start it, but for where its files are and how many requests it works on at
once. Its environment is that of the role's lock, installed once in this user's cache. What it generates is nonsense, and its
speed says nothing of a GPU's: it takes its part of the same cores.
"""

from pathlib import Path

from tests.integration.engine import Engine
from tools.lab.model import make_tiny_llama

_AT_ONCE = 64


def tiny_vllm(folder: Path, name: str) -> Engine:
    """The engine, which is not started yet.

    Args:
        folder: in which it has a folder of its own.
        name: of the model; it is known as NAME-inside too, as the gateway calls it.
    """
    model = make_tiny_llama(folder / "tiny-llama")
    return Engine(folder / "vllm", model, [name, f"{name}-inside"], {"max-num-seqs": _AT_ONCE})
