"""How vLLM counts memory: the request that a plan makes of the sizing, and what the sizing cannot count."""

from slipway.deployment.types import Measured, Parallelism, Plan
from slipway.engines.base import Figures
from slipway.engines.vllm.options import Options
from slipway.findings import Finding, Severity
from slipway.performance.copies import is_mixture
from slipway.settings.errors import place
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

UNCOUNTED = frozenset(
    {
        "cpu-offload-gb",
        "cpu-offload-params",
        "decode-context-parallel-size",
        "disable-hybrid-kv-cache-manager",
        "enable-lora",
        "hf-overrides",
        "language-model-only",
        "num-gpu-blocks-override",
        "offload-backend",
        "offload-group-size",
        "offload-params",
        "prefill-context-parallel-size",
        "quantization-config",
        "spec-method",
        "spec-model",
        "speculative-config",
    }
)
"""Flags that change what weights or KV cache take, and that the sizing does not count with."""


def measure(plan: Plan, gaps: tuple[Finding, ...]) -> Measured:
    """What one replica takes, and how it is spread over its GPUs; `gaps` are those that are known already."""
    options = _options(plan)
    where = (*plan.keys, "engine")
    if plan.on_gpus and plan.gpu is None:
        gaps = (*gaps, _gap(("pools", plan.pool, "gpu"), "is not given", "name the GPU there, or a tier in tier"))
    gaps = (
        *gaps,
        *(
            _gap(
                (*where, "flags", flag),
                "changes what weights or KV cache take, and the sizing does not count with it",
                "look at what the engine's log says, or leave the flag out",
            )
            for flag in sorted(UNCOUNTED & options.flags.keys())
        ),
        *_shared_experts(plan, options),
    )
    sizing = None
    if not gaps and plan.architecture is not None:
        try:
            sizing = size(_request(plan, options, plan.architecture))
        except SizingError as error:
            gaps = (Finding(id="sizing.refused", severity=Severity.ERROR, where=place(*where), message=str(error)),)
    return Measured(
        parallelism=_parallelism(plan, options, sizing), figures=_figures(plan, sizing), sizing=sizing, gaps=gaps
    )


def _options(plan: Plan) -> Options:
    options = plan.settings.engine
    if not isinstance(options, Options):
        raise TypeError(options)
    return options


def _gap(keys: tuple[str | int, ...], what: str, mend: str) -> Finding:
    return Finding(
        id="sizing.not-checked",
        severity=Severity.WARNING,
        where=place(*keys),
        message=f"{what}; whether the model fits was not checked: {mend}",
    )


def _shared_experts(plan: Plan, options: Options) -> tuple[Finding, ...]:
    """Data parallelism makes no copies of a mixture of experts (`slipway.performance.copies`): nothing is computed then."""
    copies, architecture = options.data_parallel, plan.architecture
    if copies == 1 or not plan.on_gpus or architecture is None or not is_mixture(architecture):
        return ()
    return (
        _gap(
            (*plan.keys, "engine", "data_parallel"),
            f"{copies} with {architecture.name}, a mixture of experts: the engine spreads the experts over the GPUs of all "
            f"{copies} and waits for all of them in every step, and the sizing does not count with that",
            "remove it, so that one copy takes the GPUs, or look at what the engine's log says",
        ),
    )


def _request(plan: Plan, options: Options, architecture: Architecture) -> Request:
    """Of one copy of the model: those of data parallelism are alike, and each has its own GPUs."""
    tensor, pipeline = options.tensor_parallel, options.pipeline_parallel
    if not plan.on_gpus:
        pipeline = plan.hosts
    block_size = options.flags.get("block-size")
    copy_gpus = max(1, plan.gpus // options.data_parallel)
    if tensor and (pipeline or plan.hosts == 1):
        copy_gpus = tensor * (pipeline or 1)
    return Request(
        architecture=architecture,
        gpu=plan.gpu,
        count=copy_gpus if plan.on_gpus else plan.hosts,
        hosts=plan.hosts,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        context=plan.settings.max_model_len,
        dtype=options.dtype,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype or "auto",
        gpu_memory_utilization=options.gpu_memory_utilization if plan.on_gpus else None,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_num_seqs=options.max_num_seqs,
        block_size=block_size if isinstance(block_size, int) else None,
        enforce_eager=options.flags.get("enforce-eager") is True,
        engine="vllm",
        cpu_kv_cache=None if plan.on_gpus else GiB(options.cpu_kv_cache_gib),
        host_memory=None if plan.on_gpus or plan.host_memory_gib is None else GiB(plan.host_memory_gib),
    )


def _parallelism(plan: Plan, options: Options, sizing: Sizing | None) -> Parallelism:
    """What the stack says, else what the sizing chose, else all of one copy's GPUs."""
    if not plan.on_gpus:
        return Parallelism(pipeline=plan.hosts)
    chosen = None if sizing is None else sizing.request
    pipeline = options.pipeline_parallel or (chosen.pipeline_parallel if chosen else None) or _stages(plan, options)
    tensor = options.tensor_parallel or (chosen.tensor_parallel if chosen else None)
    return Parallelism(
        tensor=tensor or max(1, plan.gpus // (pipeline * options.data_parallel)),
        pipeline=pipeline,
        data=options.data_parallel,
    )


def _stages(plan: Plan, options: Options) -> int:
    """Pipeline stages where neither the stack nor the sizing says: one for each machine, or what tensor parallelism leaves."""
    if plan.hosts > 1 and options.tensor_parallel:
        return max(1, plan.gpus // options.tensor_parallel)
    return plan.hosts


def _figures(plan: Plan, sizing: Sizing | None) -> Figures | None:
    if sizing is None:
        return None
    first, memory, kv_cache = sizing.first, sizing.memory, sizing.request.cpu_kv_cache
    on_cpu = 0.0
    if not plan.on_gpus and plan.architecture is not None and kv_cache is not None:
        weights = max(weights_per_rank(plan.architecture, tensor_parallel=1, pipeline_parallel=plan.hosts))
        on_cpu = GiB.of_bytes(weights).value + kv_cache.value
    return Figures(
        fits=sizing.fits,
        errors=sizing.errors,
        # The log's first words are those of the first pipeline stage; the number of tokens is that of the smallest.
        weights_gib=None if first is None else round(first.weights.value, 2),
        kv_cache_gib=round(first.kv_cache.value, 2)
        if first is not None
        else None
        if kv_cache is None
        else round(kv_cache.value, 2),
        kv_cache_tokens=sizing.kv_cache_tokens,
        max_concurrency=round(sizing.max_concurrency, 2),
        host_gib=round(on_cpu, 2),
        gpu_gib=None if memory is None else round(memory.requested.value, 2),
    )
