"""One memory model per engine: adding an engine is adding a module and its line here."""

from slipway.sizing.engines import vllm
from slipway.sizing.engines.base import MemoryModel

MODELS: dict[str, MemoryModel] = {"vllm": vllm.MODEL}
"""By the engine's name."""
