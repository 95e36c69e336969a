"""Names looked up, tiers filled in, the deployment computed; what is not known is said and stops nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.catalog import load
from slipway.checks import Severity, catalog_of, examine
from slipway.checks.subject import UNCOUNTED
from slipway.engines import adapter
from slipway.settings import SettingsError, parse
from slipway.settings.engine import Build
from slipway.settings.types import Secret
from tests.unit.checks.stacks import LLAMA_8B, QWEN_1B, found, stack, subject
from tests.unit.settings.documents import GOOD_KEY
from tests.unit.sizing.models import LLAMA_8B as LLAMA_CONFIG


def test_a_tier_stands_for_the_hardware() -> None:
    looked_at = subject(("hardware.tier", "prod"))
    hardware = looked_at.settings.hardware
    tier = load().tiers["prod"]
    assert (hardware.gpu, hardware.gpus) == ("h100-sxm-80gb", 8)
    assert hardware.min_memory_gib == round(tier.memory_gib * 0.9)
    assert looked_at.settings.build is Build.CUDA
    assert looked_at.gpu is not None
    assert looked_at.gpu.id == "h100-sxm-80gb"


def test_what_is_given_wins_over_the_tier() -> None:
    given = {"tier": "prod", "gpus": 2, "gpu": "l4", "min_disk_gib": 7, "min_memory_gib": 8}
    hardware = subject(("hardware", given)).settings.hardware
    assert (hardware.gpu, hardware.gpus, hardware.min_disk_gib, hardware.min_memory_gib) == ("l4", 2, 7, 8)


HUB = {"hub": QWEN_1B, "revision": "0" * 40}


@pytest.mark.parametrize(
    ("source", "hardware", "room"),
    [
        (HUB, {"tier": "prod"}, 15 + 3),
        # On the host already, and perhaps on a disk of its own.
        ({"host_path": "/srv/m"}, {"tier": "prod"}, 15),
        (HUB, {"tier": "prod", "min_disk_gib": 1}, 1),
        (HUB, {"gpu": "l4"}, 15),
    ],
)
def test_a_tier_demands_room_for_what_is_copied(source: Any, hardware: Any, room: float) -> None:
    assert subject(("model.source", source), ("hardware", hardware)).settings.hardware.min_disk_gib == room


@pytest.mark.parametrize("given", [{"tier": "prod", "gpus": 0}, {"tier": "cpu"}])
def test_a_tier_without_gpus_runs_on_the_cpu(given: dict[str, Any]) -> None:
    looked_at = subject(("hardware", given))
    assert looked_at.settings.build is Build.CPU
    assert looked_at.gpu is None
    assert looked_at.sizing is not None
    assert looked_at.sizing.memory is None


def test_the_rest_of_the_settings_stays() -> None:
    settings = parse(stack(("hardware.tier", "prod"), ("engine.max_num_seqs", 7)), "s")
    filled = examine(settings, load(), "s").settings
    assert filled.engine.max_num_seqs == 7
    assert filled.gateway.keys == settings.gateway.keys
    key = filled.gateway.keys[0].key
    assert isinstance(key, Secret)
    assert key.get_secret_value() == GOOD_KEY
    assert filled.hosts == settings.hosts


def test_rules_that_waited_for_the_tier_are_asked_again() -> None:
    with pytest.raises(SettingsError) as refused:
        subject(("hardware.tier", "poc"), ("engine.tensor_parallel", 8))
    assert list(refused.value.problems) == [
        "slipway:platform: engine.tensor_parallel is 8 while hardware.gpus is 1; the engine would not start: use at most 1"
    ]


UNKNOWN = {
    "hardware.tier": ("poccc", "poc"),
    "hardware.gpu": ("h100-sxmm-80gb", "h100-sxm-80gb"),
    "model.catalog": ("Qwen/Qwen2.5-1.5B-Instrukt", "Qwen/Qwen2.5-1.5B-Instruct"),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_names_come_with_the_nearest(path: str) -> None:
    name, nearest = UNKNOWN[path]
    with pytest.raises(SettingsError) as refused:
        subject((path, name))
    (problem,) = refused.value.problems
    assert problem.startswith(f"slipway:platform.{path}: {name!r} is not in the catalogue; the nearest: ")
    assert nearest in problem
    assert problem.endswith(
        "; what fits could not be computed: correct it, or add an entry to the file that slipway:platform.catalog names"
    )


SPLITS = {
    "all GPUs": ([("hardware.tier", "prod")], (8, 1)),
    "given": ([("hardware.tier", "prod"), ("engine.tensor_parallel", 2)], (2, 1)),
    "stages given": ([("hardware.tier", "prod"), ("engine.pipeline_parallel", 2)], (4, 2)),
    # 32 heads and 14,336 columns: six ranks do not divide them, two do; the three pairs become stages.
    "what divides": ([("hardware", {"gpu": "h100-sxm", "gpus": 6})], (2, 3)),
    "on the CPU": ([], (1, 1)),
    "copies": ([("hardware.tier", "prod"), ("engine.data_parallel", 2)], (4, 1)),
    "copies of what divides": ([("hardware", {"gpu": "h100-sxm", "gpus": 6}), ("engine.data_parallel", 2)], (1, 3)),
    "copies in stages": ([("hardware.tier", "prod"), ("engine", {"data_parallel": 2, "pipeline_parallel": 4})], (1, 4)),
}


@pytest.mark.parametrize("case", SPLITS)
def test_the_split_over_gpus_is_computed(case: str) -> None:
    changes, split = SPLITS[case]
    settings = subject(*changes, model=LLAMA_8B).settings
    assert (settings.tensor_parallel, settings.pipeline_parallel) == split
    flags = adapter("vllm").flags(settings)
    if settings.build is Build.CUDA:
        assert (flags["tensor-parallel-size"], flags.get("pipeline-parallel-size", 1)) == split
    else:
        assert not {"tensor-parallel-size", "pipeline-parallel-size"} & flags.keys()


@pytest.mark.parametrize(
    "engine", [{"data_parallel": 4}, {"data_parallel": 4, "tensor_parallel": 2}, {"data_parallel": 3}], ids=str
)
def test_what_is_computed_is_one_copy(engine: dict[str, int]) -> None:
    """As on a host that has the GPUs of one copy only."""
    copies = subject(("hardware", {"gpu": "h100-sxm", "gpus": 8}), ("engine", engine), model=LLAMA_8B)
    alone = subject(("hardware", {"gpu": "h100-sxm", "gpus": 2}), model=LLAMA_8B)
    assert copies.sizing is not None
    assert copies.sizing == alone.sizing
    assert copies.settings.data_parallel == engine["data_parallel"]


MIXTURE = "Qwen/Qwen3-30B-A3B"


def test_copies_of_a_mixture_of_experts_are_not_computed() -> None:
    looked_at = subject(("hardware.tier", "prod"), ("engine.data_parallel", 2), model=MIXTURE)
    (gap,) = looked_at.gaps
    assert looked_at.sizing is None
    assert (gap.id, gap.severity) == ("sizing.not-checked", Severity.WARNING)
    assert gap.line == (
        f"slipway:platform.engine.data_parallel: 2 with {MIXTURE}, a mixture of experts: the engine spreads the experts over "
        "the GPUs of all 2 and waits for all of them in every step, and the sizing does not count with that; whether the "
        "model fits was not checked: remove it, so that one copy takes the GPUs, or look at what the engine's log says"
    )


def test_one_copy_of_a_mixture_of_experts_is_computed() -> None:
    looked_at = subject(("hardware.tier", "prod"), model=MIXTURE)
    assert looked_at.gaps == ()
    assert looked_at.sizing is not None


def test_settings_become_the_question() -> None:
    looked_at = subject(
        ("hardware.tier", "prod"),
        ("model.max_model_len", 4096),
        (
            "engine",
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
    assert looked_at.sizing is not None
    request = looked_at.sizing.request
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
    "no id": ([], "slipway:platform.model.catalog: is not given; "),
    "hub": (
        [("model.source", {"hub": "me/own", "revision": "0" * 40})],
        "slipway:platform.model.source.hub: me/own is not in the catalogue; ",
    ),
    "no folder": (
        [("model.source", {"path": "/nowhere/model"})],
        "slipway:platform.model.source.path: /nowhere/model holds no config.json; ",
    ),
    "which GPU": (
        [("hardware.gpus", 2), ("model.catalog", QWEN_1B)],
        "slipway:platform.hardware.gpu: is not given; ",
    ),
    "flag": (
        [("engine.flags", {"cpu-offload-gb": 8}), ("model.catalog", QWEN_1B)],
        "slipway:platform.engine.flags.cpu-offload-gb: changes what weights or KV cache take, and the sizing does not count "
        "with it; ",
    ),
}


@pytest.mark.parametrize("case", GAPS)
def test_what_is_not_known_is_a_warning(case: str) -> None:
    changes, begins = GAPS[case]
    looked_at = subject(*changes, model=None)
    (gap,) = looked_at.gaps
    assert looked_at.sizing is None
    assert gap.severity is Severity.WARNING
    assert gap.line.startswith(f"{begins}whether the model fits was not checked: ")


def test_a_hub_id_of_the_catalogue_needs_no_other() -> None:
    looked_at = subject(("model.source", {"hub": QWEN_1B, "revision": "0" * 40}), model=None)
    assert looked_at.sizing is not None
    assert looked_at.sizing.request.architecture.name == QWEN_1B


def test_flags_without_a_count_are_the_engines() -> None:
    from slipway.checks.names import names

    known = names("vllm")
    assert known is not None
    assert known.flags >= UNCOUNTED


def test_a_checkpoint_that_the_engine_may_not_load_is_a_warning(tmp_path: Path) -> None:
    config = {**LLAMA_CONFIG, "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    finding = found(("model.source", {"path": str(tmp_path)}), ("hardware.gpu", "l4"), model=None)[
        "compatibility.quantization-engine"
    ]
    assert finding.severity is Severity.WARNING
    assert finding.line == (
        "slipway:platform.model.source: vllm 0.32.0 has no quantization 'bitsandbytes', in which the checkpoint is stored; "
        "the engine may refuse to start: serve another checkpoint of the model"
    )


class TestFolder:
    """A model's own config.json, on this machine."""

    def at(self, folder: Path, config: Any, *changes: tuple[str, Any], model: str | None = None) -> Any:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return subject(("model.source", {"path": str(folder)}), *changes, model=model)

    def test_it_counts_and_not_the_catalogue(self, tmp_path: Path) -> None:
        looked_at = self.at(tmp_path, LLAMA_CONFIG, model=QWEN_1B)
        assert len(looked_at.architecture.layers) == LLAMA_CONFIG["num_hidden_layers"]

    @pytest.mark.parametrize(
        "config", ["{", {"model_type": "unheard-of"}, {**LLAMA_CONFIG, "num_hidden_layers": -1}], ids=str
    )
    def test_one_that_cannot_be_read_is_a_warning(self, tmp_path: Path, config: Any) -> None:
        (gap,) = self.at(tmp_path, config).gaps
        assert gap.where == "slipway:platform.model.source.path"
        assert "config.json" in gap.message
        assert gap.message.endswith("give a model of the catalogue in model.catalog that is built the same")

    def test_the_mend_works(self, tmp_path: Path) -> None:
        looked_at = self.at(tmp_path, "{", model=QWEN_1B)
        assert looked_at.gaps == ()
        assert looked_at.architecture.name == QWEN_1B


class TestOwnCatalogue:
    """The user's file beside the stack."""

    def examined(self, root: Path, content: Any, *changes: tuple[str, Any]) -> Any:
        (root / "own.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        settings = parse(stack(("catalog", "own.yaml"), *changes), "s")
        return examine(settings, catalog_of(settings, root), "s")

    def tier(self, **changes: Any) -> dict[str, Any]:
        source = {"figures": ["all"], "source": "the machine itself", "date": "2026-01-02"}
        own = {"id": "attic", "name": "Attic", "gpu": "l4", "gpus_per_host": 3, "hosts": 1, "suits": "x"}
        size = {"cpu_cores": 8, "memory_gib": 32, "disk_gib": 400, "network_gbit_s": 1, "host_power_w": 100}
        return {"tiers": [{**own, **size, "sources": [source], **changes}]}

    def test_its_entries_can_be_named(self, tmp_path: Path) -> None:
        looked_at = self.examined(tmp_path, self.tier(), ("hardware.tier", "attic"))
        hardware = looked_at.settings.hardware
        assert (hardware.gpu, hardware.gpus, hardware.min_memory_gib) == ("l4", 3, round(32 * 0.9))

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
            self.examined(tmp_path, content)
        (problem,) = refused.value.problems
        begins = f"slipway:platform.catalog: {tmp_path / 'own.yaml'}: "
        assert problem.startswith(begins)
        assert culprit in problem.removeprefix(begins)
        assert problem.endswith("; nothing could be looked up in it: mend the file")

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        settings = parse(stack(("catalog", "gone.yaml")), "s")
        with pytest.raises(SettingsError, match=r"slipway:platform\.catalog: .*gone\.yaml: .*No such file"):
            examine(settings, catalog_of(settings, tmp_path), "s")
