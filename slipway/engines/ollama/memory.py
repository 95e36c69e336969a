"""How Ollama counts memory: its runner is llama.cpp's; see `slipway.sizing.engines.llama_cpp`."""

from slipway.deployment.types import Measured, Plan
from slipway.engines.gguf import base_request, measure_gguf, pooling, unreadable
from slipway.engines.ollama.options import Options
from slipway.findings import Finding
from slipway.sizing.result import SizingError


def measure(plan: Plan, gaps: tuple[Finding, ...]) -> Measured:
    """What one replica takes; `gaps` are those that are known already."""
    options = plan.settings.engine
    if not isinstance(options, Options):
        raise TypeError(options)
    try:
        request = base_request(plan)
    except SizingError as error:
        return unreadable(plan, gaps, error)
    if request is not None:
        request = request.but(engine="ollama", parallel=options.parallel, pooling=pooling(plan, request.model, None))
    return measure_gguf(plan, gaps, request)
