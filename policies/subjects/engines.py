"""By what flags and variables each engine takes its model, and the key that callers need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """One engine's."""

    shown: str
    """As people call it."""
    model: tuple[str, ...]
    """Flags, the usual one first; so are the others."""
    revision: str = "revision"
    key: str | None = "api-key"
    """None where nothing says it: then it is no matter of the container."""
    key_variable: str | None = None
    host: str = "host"
    listens: str = "0.0.0.0"  # noqa: S104 -- what engines do
    """Where it listens if nothing says it."""
    variables: bool = False
    """Whether each flag may be a variable as well: `--model-id` as `MODEL_ID`."""
    positional: bool = False
    """Whether the first word may be the model."""

    @property
    def key_setting(self) -> str:
        """What one sets the key by."""
        return self.key_variable or f"--{self.key}"


VLLM = Terms("vLLM", ("model",), key_variable="VLLM_API_KEY", positional=True)
SGLANG = Terms("SGLang", ("model-path", "model"), listens="127.0.0.1")
TGI = Terms("Text Generation Inference", ("model-id",), key_variable="API_KEY", host="hostname", variables=True)
KSERVE = Terms("KServe", ("model-id", "model"), "model-revision", key=None)
"""A runtime that the cluster chooses; Hugging Face's takes these."""
