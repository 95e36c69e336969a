"""The catalogue's hardware against itself and against what silicon can be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.catalog import load
from slipway.catalog.load import find, find_gpu
from slipway.catalog.names import plain
from slipway.engines.llama_cpp import launch as llama_cpp
from slipway.engines.ollama import launch as ollama
from slipway.engines.registry import packages
from slipway.engines.vllm import launch as vllm
from slipway.paths import ROOT
from slipway.sizing.engines import vllm as sized
from slipway.sizing.engines.llama_cpp import DEPLOYED_VERSION, OLLAMA_VERSION

CATALOG = load()
GPUS, TIERS, INSTANCES = CATALOG.gpus, CATALOG.tiers, CATALOG.instances
NVIDIA = [gpu for gpu in GPUS.values() if gpu.vendor == "nvidia"]

CAPABILITIES = {
    "volta": {"7.0"},
    "turing": {"7.5"},
    "ampere": {"8.0", "8.6"},
    "ada": {"8.9"},
    "hopper": {"9.0"},
    "blackwell": {"10.0", "10.3", "12.0"},
    "cdna3": {"gfx942"},
    "cdna4": {"gfx950"},
}
TENSOR_OVER_FP32 = {
    "volta": (8,),
    "turing": (8,),
    "ampere": (2, 4, 16),
    "ada": (2, 4),
    "hopper": (3.36, 14.2),
    "blackwell": (2, 4, 30.6),
    "cdna3": (8,),
    "cdna4": (16,),
}
"""Dense 16-bit rate over the float32 rate: GeForce and the L40 and L20 are halved. A rate with sparsity would be twice it."""

gpus = pytest.mark.parametrize("gpu", GPUS.values(), ids=lambda gpu: gpu.id)
tiers = pytest.mark.parametrize("tier", TIERS.values(), ids=lambda tier: tier.id)
instances = pytest.mark.parametrize("instance", INSTANCES.values(), ids=lambda instance: instance.id)


def test_there_is_enough_to_choose_from():
    assert len(GPUS) >= 25
    assert len(INSTANCES) >= 20
    assert {"aws", "azure", "gcp", "alibaba"} == {instance.cloud for instance in INSTANCES.values()}
    assert {"fp8", "awq", "gptq", "w8a8-int8", "mxfp4", "nvfp4", "bitsandbytes-nf4"} <= CATALOG.quantizations.keys()


@pytest.mark.parametrize(
    ("tier", "gpu", "count", "hosts"),
    [
        ("lab", None, 0, 1),
        ("cpu", None, 0, 1),
        ("poc", "rtx-4090", 1, 1),
        ("team", "a10g", 4, 1),
        ("prod", "h100-sxm-80gb", 8, 1),
        ("cluster", "h100-sxm-80gb", 8, 2),
    ],
)
def test_the_stacks_tiers_are_the_hardware_that_they_promise(tier, gpu, count, hosts):
    found = TIERS[tier]
    assert (found.gpu, found.gpus_per_host, found.hosts) == (gpu, count, hosts)


@pytest.mark.parametrize("kind", ["gpus", "tiers", "instances", "quantizations", "engines"])
def test_no_name_means_two_things(kind):
    owners: dict[str, set[str]] = {}
    for entry in getattr(CATALOG, kind).values():
        names = [entry.id, *entry.aliases]
        assert len({name.casefold() for name in names}) == len(names), f"{entry.id}: a name is said twice"
        for name in names:
            owners.setdefault(name.casefold(), set()).add(entry.id)
            if kind == "gpus":
                owners.setdefault(plain(name), set()).add(entry.id)
    assert {name: ids for name, ids in owners.items() if len(ids) > 1} == {}


@pytest.mark.parametrize("kind", ["gpus", "tiers", "instances", "quantizations", "engines"])
def test_every_source_is_dated(kind):
    for entry in getattr(CATALOG, kind).values():
        entry.check()
        for source in entry.sources:
            assert "2018" <= source.date[:4] <= "2026", entry.id


@gpus
def test_the_compute_capability_is_the_architectures(gpu):
    assert gpu.compute_capability in CAPABILITIES[gpu.architecture]


@gpus
def test_rates_are_dense_and_in_the_ratios_of_the_silicon(gpu):
    rates = gpu.tflops
    assert rates.fp16 is not None
    assert min(abs(rates.fp16 / rates.fp32 / ratio - 1) for ratio in TENSOR_OVER_FP32[gpu.architecture]) < 0.06
    assert rates.bf16 == (None if gpu.architecture in {"volta", "turing"} else rates.fp16)
    assert (rates.fp8 is not None) == (gpu.architecture not in {"volta", "turing", "ampere"})
    assert (rates.fp4 is not None) == (gpu.architecture in {"blackwell", "cdna4"})
    if rates.fp8 is not None:
        assert rates.fp8 == pytest.approx(2 * rates.fp16, rel=0.02)
    if rates.int8 is not None:
        # GeForce: float16 and float8 with float32 accumulation run at half rate, integers don't.
        assert min(abs(rates.int8 / rates.fp16 / ratio - 1) for ratio in (2, 4)) < 0.02
    if rates.fp4 is not None:
        assert min(abs(rates.fp4 / rates.fp8 / ratio - 1) for ratio in (2, 3, 4)) < 0.02


@pytest.mark.parametrize("gpu", NVIDIA, ids=lambda gpu: gpu.id)
def test_the_driver_reports_no_more_than_is_sold(gpu):
    assert gpu.driver_mib / 1024 <= gpu.memory_gb


@gpus
def test_cuda_sees_a_little_less_than_the_driver_reports(gpu):
    # All of the driver's figure is what Windows gives; more than 0.8 GiB less is an older driver's, or another size.
    if gpu.cuda_gib is not None:
        assert 0.3 < gpu.driver_mib / 1024 - gpu.cuda_gib < 0.8
        assert any("cuda_gib" in source.figures for source in gpu.sources)


@pytest.mark.parametrize(
    ("gpu", "mib", "gib"),
    [
        ("h100-sxm-80gb", 81559, 79.19),
        ("a100-sxm-80gb", 81920, 79.25),
        ("a100-sxm-40gb", 40960, 39.49),
        ("l40s", 46068, 44.39),
        ("rtx-4090", 24564, 23.52),
        ("rtx-3090", 24576, 23.56),
        ("rtx-5090", 32607, 31.37),
        ("l4", 23034, 22.03),
        ("t4", 15360, 14.56),
    ],
)
def test_memory_is_what_was_measured(gpu, mib, gib):
    assert (GPUS[gpu].driver_mib, GPUS[gpu].cuda_gib) == (mib, gib)


@gpus
def test_links_are_as_fast_as_their_kind(gpu):
    # One direction: PCIe 3, 4 and 5 of 16 lanes (or 8); NVLink sums up to 900 GB/s, Infinity Fabric less.
    least, most = {"pcie": (15, 64)}.get(gpu.interconnect.kind, (100, 900))
    assert least <= gpu.interconnect.gb_s <= most


@gpus
@pytest.mark.parametrize("key", ["memory_gb", "bandwidth_gb_s", "power_w"])
def test_figures_are_the_vendors_and_have_a_source(gpu, key):
    assert any({"all", key} & set(source.figures) for source in gpu.sources)


@tiers
def test_a_tiers_hardware_is_in_the_catalogue(tier):
    assert (tier.gpu is None) == (tier.gpus_per_host == 0)
    if tier.gpu is not None:
        assert tier.gpu in GPUS


@tiers
def test_a_tiers_instance_is_like_it(tier):
    if tier.instance is not None:
        instance = INSTANCES[tier.instance]
        assert instance.gpus == tier.gpus_per_host
        assert GPUS[instance.gpu].memory_gb == GPUS[tier.gpu].memory_gb


@tiers
def test_a_tiers_host_can_hold_its_model(tier):
    if tier.gpu is not None:
        assert tier.memory_gib >= GPUS[tier.gpu].memory_gb
        assert tier.disk_gib >= 2 * tier.gpus_per_host * GPUS[tier.gpu].memory_gb


@instances
def test_an_instances_gpu_is_in_the_catalogue(instance):
    assert instance.gpu in GPUS


@instances
def test_an_instance_has_plausible_dated_prices(instance):
    assert instance.prices
    regions = [price.region for price in instance.prices]
    assert len(set(regions)) == len(regions)
    for price in instance.prices:
        assert 0.4 < price.usd_per_hour / instance.gpus < 20
    sources = [source for source in instance.sources if "prices" in source.figures]
    assert sources
    assert all(re.search("price", source.source, re.IGNORECASE) for source in sources)


def test_a_larger_instance_of_a_family_costs_more_per_hour():
    for smaller, larger in [
        ("g5.xlarge", "g5.48xlarge"),
        ("p5.4xlarge", "p5.48xlarge"),
        ("p4d.24xlarge", "p4de.24xlarge"),
    ]:
        assert INSTANCES[smaller].prices[0].usd_per_hour < INSTANCES[larger].prices[0].usd_per_hour


@pytest.mark.parametrize("quantization", CATALOG.quantizations.values(), ids=lambda quantization: quantization.id)
def test_a_quantization_runs_somewhere(quantization):
    least, most = quantization.nvidia_min_capability, quantization.nvidia_max_capability
    assert least is not None or quantization.amd or quantization.cpu
    assert most is None or least is None or least <= most
    assert quantization.bits_per_weight in {4, 8}


def test_the_deployed_engines_are_those_with_an_adapter_and_pinned():
    deployed = {engine.id for engine in CATALOG.engines.values() if engine.deployed}
    assert deployed == set(packages())
    assert all(bool(engine.version) == engine.deployed for engine in CATALOG.engines.values())
    assert all(engine.sized for engine in CATALOG.engines.values() if engine.deployed)


@pytest.mark.parametrize("name", ["llama.cpp", "llama-server", "LlamaCpp"])
def test_llama_cpp_is_known_by_its_other_names(name):
    assert find(CATALOG.engines, name, "the engine").id == "llama_cpp"


def test_the_engines_are_of_the_releases_that_are_locked_and_sized():
    def locked(role: str, package: str) -> list[str]:
        file = ROOT / "playbooks" / "roles" / role
        return re.findall(rf"^{package}==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)

    (version,) = locked("vllm/files/requirements-cuda.txt", "vllm")
    assert version == CATALOG.engines["vllm"].version == vllm.RELEASE == sized.MODEL.deployed_version
    # The package's last number is llama.cpp's build.
    (version,) = locked("llama_cpp/files/requirements.txt", "xllamacpp")
    build = "b" + version.rpartition(".")[2]
    assert build == CATALOG.engines["llama_cpp"].version == llama_cpp.RELEASE == DEPLOYED_VERSION
    assert CATALOG.engines["ollama"].version == ollama.RELEASE == OLLAMA_VERSION


@pytest.mark.parametrize(
    ("name", "memory", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", None, "h100-sxm-80gb"),
        ("H100", 79.18, "h100-sxm-80gb"),
        ("H100-80GB", 79.19, "h100-sxm-80gb"),
        ("H100 SXM5", None, "h100-sxm-80gb"),
        ("NVIDIA H100 PCIe", None, "h100-pcie-80gb"),
        ("NVIDIA H100 NVL", 93.1, "h100-nvl-94gb"),
        ("H100", 94, "h100-nvl-94gb"),
        ("A100-SXM4-80GB", None, "a100-sxm-80gb"),
        ("A100", None, "a100-sxm-80gb"),
        ("A100", 80, "a100-sxm-80gb"),
        ("A100", 40, "a100-sxm-40gb"),
        ("A100", 39.49, "a100-sxm-40gb"),
        ("NVIDIA A100 40GB", None, "a100-sxm-40gb"),
        ("A100-40G", None, "a100-sxm-40gb"),
        ("NVIDIA A100 80GB PCIe", 79.2, "a100-pcie-80gb"),
        ("A100 PCIe", 40, "a100-pcie-40gb"),
        ("NVIDIA L4", None, "l4"),
        ("L40S 48GB", None, "l40s"),
        ("RTX 4090", None, "rtx-4090"),
        ("rtx4090", 24, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", None, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 D", None, "rtx-4090-d"),
        ("NVIDIA GeForce RTX 3090", 24.0, "rtx-3090"),
        ("NVIDIA GeForce RTX 5090", 31.84, "rtx-5090"),
        ("Tesla T4", 14.56, "t4"),
        ("Tesla V100-SXM2-32GB", None, "v100-sxm2-32gb"),
        ("V100", 16, "v100-sxm2-16gb"),
        ("NVIDIA A10G", 22.06, "a10g"),
        ("A6000", None, "rtx-a6000"),
        ("NVIDIA H200", 139.8, "h200-sxm-141gb"),
        ("NVIDIA H20", 141, "h20-141gb"),
        ("NVIDIA H800", None, "h800-sxm-80gb"),
        ("NVIDIA B200", 178.35, "b200-sxm-180gb"),
        ("NVIDIA GB200", None, "gb200-186gb"),
        ("NVIDIA GH200 480GB", None, "gh200-96gb"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", None, "rtx-pro-6000-blackwell-server"),
        ("AMD Instinct MI300X", 192, "mi300x"),
    ],
)
def test_a_gpu_is_known_by_the_names_in_logs(name, memory, gpu):
    assert find_gpu(GPUS, name, memory).id == gpu
    if memory is None:
        assert find(GPUS, name, "the GPU").id == gpu


@gpus
def test_a_gpu_is_known_by_its_own_name_with_what_cuda_reports(gpu):
    for memory in (None, gpu.memory_gb, gpu.driver_mib / 1024, gpu.cuda_gib):
        assert find_gpu(GPUS, gpu.name, memory) is gpu


@given(
    st.sampled_from([(gpu.id, name) for gpu in GPUS.values() for name in (gpu.id, gpu.name, *gpu.aliases)]),
    st.sampled_from([" ", "-", "_", "  "]),
    st.sampled_from([str.upper, str.lower, str.title]),
    st.sampled_from(["", "NVIDIA ", "nvidia-", " "]),
)
def test_case_separators_and_makers_do_not_matter(owner_and_name, between, case, before):
    owner, name = owner_and_name
    written = before + case(re.sub(r"[ _-]", between, name))
    assert find(GPUS, written, "the GPU").id == owner
