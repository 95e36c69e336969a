"""How llama.cpp's server counts memory: see `slipway.sizing.engines.llama_cpp`."""

from slipway.deployment.types import Measured, Plan
from slipway.engines.gguf import base_request, measure_gguf, pooling, unreadable
from slipway.engines.llama_cpp.options import Options
from slipway.findings import Finding
from slipway.sizing.engines.llama_cpp import CHECKPOINTS
from slipway.sizing.engines.llama_cpp_memory import checkpoint_bytes
from slipway.sizing.result import SizingError
from slipway.units import GiB


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
        request = request.but(
            parallel=options.parallel,
            cache_type=options.cache_type,
            gpu_layers=options.gpu_layers,
            pooling=pooling(plan, request.model, options.pooling),
            prompt_cache=GiB(options.prompt_cache_gib),
        )
        # Of the saved states of models with windows, which are large, no more than of prompts.
        states = checkpoint_bytes(request) * options.parallel
        request = request.but(
            checkpoints=min(CHECKPOINTS, int(GiB(options.prompt_cache_gib).bytes // states)) if states else 0
        )
    return measure_gguf(plan, gaps, request)
