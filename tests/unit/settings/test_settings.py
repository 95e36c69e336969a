"""Settings as a whole: what passes, what is refused, and the exact words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engines.registry import packages
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, REMOVED, changed, good, many, pair, with_changes

SOURCE = "stacks/Pulumi.test.yaml"
GGUF = {"path": "~/models/m.gguf"}
BUCKET = {"s3": "s3://models/m", "region": "eu-west-1", "sha256": {"config.json": "0" * 64}}
ON_SITE = {"s3": "s3://models/m", "endpoint": "https://minio.example:9000", "sha256": {"config.json": "0" * 64}}
OLLAMA = {"name": "ollama", "program": {"path": "~/ollama"}}
EMBEDDER = {"task": "embedding", "source": {"host_path": "/srv/models/e"}}

PASS: dict[str, dict[str, Any]] = {
    "the least": good(),
    "two hosts": pair(),
    "everything": many(),
    "GPUs": changed(good(), "pools.main.gpus", 8),
    "a kind of GPU": changed(good(), "pools.main.gpu", "h100-sxm"),
    "a tier": changed(good(), "pools.main.tier", "prod"),
    "a tier with its own figures": with_changes(
        good(), ("pools.main.tier", "prod"), ("pools.main.gpus", 4), ("pools.main.gpu", "H100 SXM")
    ),
    # What the tier says is not known yet, so that it can't contradict.
    "tensor parallel of a tier": with_changes(
        good(), ("pools.main.tier", "prod"), ("models.m.engine.tensor_parallel", 8)
    ),
    "copies": with_changes(
        good(), ("pools.main.gpus", 8), ("models.m.engine", {"tensor_parallel": 2, "data_parallel": 4})
    ),
    "one copy": changed(good(), "models.m.engine.data_parallel", 1),
    "number formats": changed(
        good(), "models.m.engine", {"quantization": "fp8", "kv_cache_dtype": "fp8", "max_num_batched_tokens": 4096}
    ),
    "an engine by its name alone": changed(good(), "models.m.engine", "vllm"),
    "the catalogue's id": changed(good(), "models.m.catalog", "Qwen/Qwen2.5-7B-Instruct"),
    "a catalogue of one's own": changed(good(), "catalog", "catalog/own.yaml"),
    "as much output as context": changed(good(), "models.m.max_output_tokens", 8192),
    "a folder here": changed(good(), "models.m.source", {"path": "~/models/m"}),
    "a mirror": changed(
        good(), "models.m.source", {"mirror": "http://mirror.example/m/", "sha256": {"config.json": "0" * 64}}
    ),
    "a bucket": changed(good(), "models.m.source", BUCKET),
    "a whole bucket, with a dot in its name": changed(
        good(), "models.m.source", {**BUCKET, "s3": "s3://models.example/"}
    ),
    "a store of objects of one's own": changed(good(), "models.m.source", ON_SITE),
    "such a store on this host": changed(good(), "models.m.source", {**ON_SITE, "endpoint": "http://127.0.0.1:9000"}),
    "a hub": changed(good(), "models.m.source", {"hub": "org/m", "revision": "0" * 40}),
    "a port": changed(good(), "front.port", 8443),
    "networks": changed(good(), "front.allowed_networks", ["10.0.0.0/8"]),
    "a public address": changed(good(), "pools.main.hosts.gpu-1.address", "203.0.113.7"),
    "a private address": changed(pair(), "pools.main.hosts.gpu-2.private_address", "192.168.1.2"),
    "two ports of one address": with_changes(
        pair(), ("pools.main.hosts.gpu-2.address", "10.0.0.11"), ("pools.main.hosts.gpu-2.port", 2222)
    ),
    "GGUF in llama.cpp": with_changes(good(), ("models.m.source", GGUF), ("models.m.engine", "llama_cpp")),
    "GGUF in Ollama": with_changes(good(), ("models.m.source", GGUF), ("models.m.engine", OLLAMA)),
    "a GGUF file of a hub": with_changes(
        good(),
        ("models.m.source", {"hub": "org/m", "revision": "0" * 40, "file": "q4/m-Q4_K_M.gguf"}),
        ("models.m.engine", "llama_cpp"),
    ),
    "an embedding model": changed(good(), "models.e", EMBEDDER),
    "a provider called after its kind": with_changes(
        good(), ("providers.openai", {"key": "sk-x"}), ("models.gpt-5", {"provider": "openai"})
    ),
    "a provider whose kind has an underscore": with_changes(
        good(),
        ("providers.azure_openai", {"url": "https://x.openai.azure.com", "api_version": "2025-04-01", "key": "k"}),
        ("models.gpt-5", {"provider": "azure_openai"}),
    ),
    "a fall-back to a provider": with_changes(
        good(),
        ("providers.lm_studio", {"kind": "openai_compatible", "url": "http://192.0.2.99:1234/v1"}),
        ("models.desktop", {"provider": "lm_studio", "model": "qwen3-8b"}),
        ("models.m.fallbacks", ["desktop"]),
    ),
    "fall-backs that meet again": with_changes(
        good(),
        *((f"models.{name}", {"source": {"host_path": f"/srv/{name}"}}) for name in ("b", "c", "d")),
        ("models.m.fallbacks", ["b", "c"]),
        ("models.b.fallbacks", ["d"]),
        ("models.c.fallbacks", ["d"]),
    ),
    "a private model that falls back to one served here": with_changes(
        good(),
        ("models.b", {"source": {"host_path": "/srv/b"}}),
        ("models.m.private", True),
        ("models.m.fallbacks", ["b"]),
    ),
    "a team's models by alias": with_changes(
        good(), ("models.m.aliases", ["default"]), ("gateway.teams.a.models", ["default"])
    ),
    "the second gateway's port where there is none": changed(good(), "gateway.port", 4001),
    "an engine's port on another machine than the gateway": with_changes(
        pair(),
        ("pools.edge", {"hosts": {"edge-1": {"address": "10.0.0.13", "user": "u"}}}),
        ("models.m.engine.port", 4000),
    ),
}


@pytest.mark.parametrize("case", PASS)
def test_accepts(case: str) -> None:
    assert parse(PASS[case], SOURCE).gateway.teams


def problems(document: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        parse(document, SOURCE)
    return list(refused.value.problems)


SECTIONS: list[tuple[Any, str]] = [
    (changed(good(), "frnt", {}), "frnt: unknown key; it would have no effect; did you mean front?"),
    (changed(good(), "front.prot", 1), "front.prot: unknown key; it would have no effect; did you mean port?"),
    (
        changed(good(), "pools.main.hosts.gpu-1.adress", "10.0.0.1"),
        "pools.main.hosts.gpu-1.adress: unknown key; it would have no effect; did you mean address?",
    ),
    (
        changed(good(), "models.m.max_modellen", 1),
        "models.m.max_modellen: unknown key; it would have no effect; did you mean max_model_len?",
    ),
    (
        changed(good(), "models.m.engine.max_num_seq", 1),
        "models.m.engine.max_num_seq: unknown key; it would have no effect; did you mean max_num_seqs?",
    ),
    # A key of another engine is none of this one's.
    (
        with_changes(good(), ("models.m.source", GGUF), ("models.m.engine", {"name": "llama_cpp", "max_num_seqs": 1})),
        "models.m.engine.max_num_seqs: unknown key; it would have no effect; the keys here are port, memory_max, "
        "start_timeout_s, flags, environment, name, program, parallel, queue, threads, gpu_layers, cache_type, prompt_cache_gib, "
        "pooling",
    ),
    (
        changed(good(), "front.port", "https"),
        "front.port: of the wrong type; a whole number is wanted; correct the value",
    ),
    (
        changed(good(), "pools.main.hosts.gpu-1.port", True),
        "pools.main.hosts.gpu-1.port: a number is wanted, not true or false; write the number",
    ),
    (changed(good(), "front.port", 65536), "front.port: out of range; it should be less than or equal to 65535"),
    (changed(good(), "pools.main.hosts", {}), "pools.main.hosts: empty; at least one entry is needed; add one"),
    (
        changed(good(), "pools.main.hosts", REMOVED),
        "pools.main: names no machines; nothing could run in this pool: give exactly one of hosts, inventory",
    ),
    (
        changed(good(), "pools.main.hosts", None),
        "pools.main: names no machines; nothing could run in this pool: give exactly one of hosts, inventory",
    ),
    (changed(good(), "pools", {}), "pools: empty; at least one entry is needed; add one"),
    (changed(good(), "models", {}), "models: empty; at least one entry is needed; add one"),
    (changed(good(), "gateway.teams", {}), "gateway.teams: empty; at least one entry is needed; add one"),
    (
        changed(good(), "gateway.teams.a.models", []),
        "gateway.teams.a.models: empty; at least one entry is needed; add one",
    ),
    (changed(good(), "models", REMOVED), "models: missing; the stack is not complete without it; add it"),
    (
        changed(good(), "models.m.source", REMOVED),
        "models.m.source: missing; the stack is not complete without it; add it",
    ),
    (
        changed(good(), "pools.main.hosts", {"GPU 1": {"address": "10.0.0.1", "user": "u"}}),
        "pools.main.hosts[\"GPU 1\"]: 'GPU 1' is not a host name; resources and logs carry it: "
        "use a-z, 0-9 and inner hyphens, up to 63",
    ),
    (
        changed(good(), ("models", "a b"), {"source": {"host_path": "/srv/m"}}),
        "models[\"a b\"]: 'a b' can't be a model id; clients send it in every request: use letters, digits and . _ / : -",
    ),
    (
        changed(good(), ("models", "llama-3.3-70b"), {"source": {"host_path": "srv"}}),
        'models["llama-3.3-70b"].source.host_path: not of the form that is wanted here; '
        "see docs/reference/settings.md for an example",
    ),
    (
        changed(good(), ("models", "llama-3.3-70b"), {"source": {"host_path": "/srv/m"}, "gpuz": 1}),
        'models["llama-3.3-70b"].gpuz: unknown key; it would have no effect; did you mean gpus?',
    ),
    (
        changed(good(), "gateway.teams.a.key", "hunter2"),
        "gateway.teams.a.key: too weak (7 characters, at least 32 are needed); "
        "it alone guards the endpoint: make one with `openssl rand -hex 32`",
    ),
    (
        changed(good(), "gateway.engine_key", "hunter2"),
        "gateway.engine_key: too weak (7 characters, at least 32 are needed); "
        "it alone guards the endpoint: make one with `openssl rand -hex 32`",
    ),
    (
        changed(good(), "gateway.teams.a.key", {"env": "SLIPWAY_UNSET"}),
        "gateway.teams.a.key: the environment variable SLIPWAY_UNSET is not set; "
        'the secret is taken from it: export it, or let `eval "$(slipway env STACK)"` make and export the stack\'s secrets',
    ),
    (
        changed(good(), "models.m.source", {}),
        "models.m.source: give exactly one of path, host_path, store_path, mirror, s3 and hub (none of them given); "
        "the engine would not know which files to load",
    ),
    (
        changed(good(), "models.m.source", {"path": "/a", "hub": "o/m"}),
        "models.m.source: give exactly one of path, host_path, store_path, mirror, s3 and hub (path and hub given); "
        "the engine would not know which files to load",
    ),
    (
        changed(good(), "models.m.source", {"hub": "org/m"}),
        "models.m.source: hub and revision go together; what is deployed must be pinned: give the commit",
    ),
    (
        changed(good(), "models.m.source", {"mirror": "http://mirror.example/m/"}),
        "models.m.source: mirror and sha256 go together; files could not be checked: list every file's digest",
    ),
    (
        changed(good(), "models.m.source", {key: BUCKET[key] for key in ("s3", "region")}),
        "models.m.source: s3 and sha256 go together; files could not be checked: list every file's digest",
    ),
    (
        changed(good(), "models.m.source", {key: BUCKET[key] for key in ("s3", "sha256")}),
        "models.m.source: region is missing; S3 refuses what is signed for another one than the bucket's: give it, or the "
        "endpoint of a store of your own",
    ),
    (
        changed(good(), "models.m.source", {"path": "/a", "region": "eu-west-1"}),
        "models.m.source: region and profile belong to s3; they would have no effect: remove them",
    ),
    (
        changed(good(), "models.m.source", {**BUCKET, "token": "hf-canary"}),
        "models.m.source: endpoint and token belong to hub; they would have no effect: remove them",
    ),
    (
        changed(good(), "models.m.source", {**ON_SITE, "endpoint": "http://minio.example:9000"}),
        "models.m.source: endpoint: http:// would show the signed addresses, by which anybody can read the model, to whoever "
        "listens: use https://",
    ),
    (
        changed(good(), "models.m.source", {**ON_SITE, "endpoint": "https://me:canary@minio.example"}),
        "models.m.source: endpoint: has a login in its address, which would stand in states, logs and messages: use an address "
        "without one that only the hosts may reach, or bring the files with path or store_path",
    ),
    (
        changed(good(), "models.m.source", {**ON_SITE, "endpoint": "https://minio.example/?X-Amz-Signature=canary"}),
        "models.m.source: endpoint: has more than a server and a path; nothing could be signed for it: remove the rest",
    ),
    (
        changed(good(), "models.m.source", {**BUCKET, "s3": "s3://AKIA:canary@models/m"}),
        "models.m.source.s3: has a login in its address, which would stand in states, logs and messages: give s3://bucket/prefix "
        "alone, and the keys to the machine that runs the deployment, as its AWS credentials",
    ),
    *(
        (
            changed(good(), "models.m.source", {**BUCKET, "s3": address}),
            "models.m.source.s3: is no address of a bucket; nothing could be fetched from it: write it like "
            "s3://bucket/models/m, the bucket with 3 to 63 of a-z, 0-9, hyphens and dots",
        )
        for address in (
            "https://canary.example/m",
            "s3://",
            "s3://ab",
            "s3://Models/m",
            "s3://a..b",
            "s3://10.0.0.1/m",
            "s3://-ab/m",
        )
    ),
    *(
        (
            changed(good(), "models.m.source", {**BUCKET, "s3": f"s3://models/{prefix}"}),
            "models.m.source.s3: has a prefix with an empty part, . or .., or with ? or #; no file would be found by it: "
            "write what the model's keys begin with, and nothing of a signed address",
        )
        for prefix in ("a//b", "../a", "a/./b", "a?X-Amz-Signature=canary", "a#b", "/a")
    ),
    (
        changed(good(), "models.m.source.token", "hf-canary"),
        "models.m.source: endpoint and token belong to hub; they would have no effect: remove them",
    ),
    (
        changed(good(), "models.m.source", {"mirror": "http://mirror.example/", "sha256": {"../x": "0" * 64}}),
        "models.m.source: sha256: '../x' leaves the model's folder; give a name relative to it",
    ),
    (
        changed(good(), "models.m.source", {"host_path": "/srv", "file": "a/../../x.gguf"}),
        "models.m.source: file: 'a/../../x.gguf' leaves the model's folder; give a name relative to it",
    ),
    (
        changed(
            good(),
            "models.m.source",
            {"mirror": "http://mirror.example/", "sha256": {"a.gguf": "0" * 64}, "file": "b.gguf"},
        ),
        "models.m.source: file: b.gguf is not among sha256; it would not be fetched: list its digest",
    ),
    (
        changed(good(), "models.m.max_output_tokens", 8193),
        "models.m: max_output_tokens 8193 is more than max_model_len 8192; no request could use it: "
        "lower the one or raise the other",
    ),
    (
        changed(good(), "models.m.gpu_indices", [0, 0]),
        "models.m: gpu_indices names a GPU twice; the engine would not start: name each once",
    ),
    (
        with_changes(good(), ("models.m.gpu_indices", [0, 1]), ("models.m.gpus", 1)),
        "models.m: gpus is 1 while gpu_indices names 2; one of them would be wrong: remove gpus",
    ),
    (
        changed(good(), "models.m.engine.data_parallel", 0),
        "models.m.engine.data_parallel: out of range; it should be greater than or equal to 1",
    ),
    (
        with_changes(good(), ("pools.main.gpu", "h100-sxm"), ("pools.main.gpus", 0)),
        "pools.main: gpu is given while there are 0 GPUs; engines would run on the CPU: set gpus, or remove gpu",
    ),
    (
        changed(good(), "pools.main.tier", "../x"),
        "pools.main.tier: '../x' can't be a name in the catalogue; nothing would be found: "
        "use letters, digits and . _ / + -",
    ),
    (
        changed(good(), "models.m.engine.quantization", "FP8"),
        "models.m.engine.quantization: 'FP8' names no quantization; the engine would refuse to start: write it like fp8",
    ),
    (
        changed(good(), "models.m.engine.kv_cache_dtype", "int3"),
        "models.m.engine.kv_cache_dtype: not one of the values known here; "
        "use 'auto', 'bfloat16', 'fp8', 'fp8_e4m3' or 'fp8_e5m2'",
    ),
    (
        changed(good(), "front.certificate_file", "/x.pem"),
        "front: certificate_file and key_file go together; the front could not serve TLS: "
        "give both, or neither for a private CA",
    ),
    (
        changed(good(), "front.ca_file", "/x.pem"),
        "front: ca_file belongs to a site certificate; it would have no effect: give certificate_file too",
    ),
    (
        changed(good(), "models.m.engine.name", "vlm"),
        f"models.m.engine: no such engine; nothing could serve the model: use one of {', '.join(sorted(packages()))}",
    ),
    (
        changed(good(), "models.m.engine", "vlm"),
        f"models.m.engine: no such engine; nothing could serve the model: use one of {', '.join(sorted(packages()))}",
    ),
    (
        with_changes(good(), ("models.m.source", GGUF), ("models.m.engine", {"name": "ollama", "program": {}})),
        "models.m.engine.program: give exactly one of path and url; it would not be known what to install",
    ),
    (
        with_changes(
            good(),
            ("models.m.source", GGUF),
            ("models.m.engine", {"name": "ollama", "program": {"url": "http://mirror.example/o.tgz"}}),
        ),
        "models.m.engine.program: url and sha256 go together; the program could not be checked: give its digest",
    ),
    (
        changed(good(), "providers.x", {"key": "sk-canary"}),
        "providers.x: kind is missing or not known; nothing could be asked: use one of openai, openai_compatible, anthropic, "
        "azure_openai, bedrock, vertex",
    ),
    (
        changed(good(), "providers.openai", {}),
        "providers.openai.key: missing; the stack is not complete without it; add it",
    ),
    (
        changed(good(), "providers.Open AI", {"kind": "openai", "key": "k"}),
        "providers[\"Open AI\"]: 'Open AI' can't be a provider's name; routes and logs carry it: "
        "use a-z, 0-9, _ and inner hyphens, up to 63",
    ),
    (
        changed(good(), "providers.l", {"kind": "openai_compatible", "url": "lm-studio:1234"}),
        "providers.l.url: of the wrong type; a URL that starts with http:// or https:// is wanted; correct the value",
    ),
    (
        changed(good(), "providers.b", {"kind": "bedrock", "region": "eu-central-1", "key": "canary"}),
        "providers.b: access_key_id and key go together; AWS would refuse every request: give both, or neither",
    ),
    (
        changed(good(), "models.t", {"targets": {}}),
        "models.t.targets: empty; at least one entry is needed; add one",
    ),
    (
        changed(good(), "models.t", {"targets": {"m": 0}}),
        "models.t.targets.m: out of range; it should be greater than or equal to 1",
    ),
    # What is said is kept for a time that somebody chose, and for a reason.
    (
        changed(good(), "gateway.content_log", {"teams": ["a"], "reason": "complaints"}),
        "gateway.content_log.retention_days: missing; the stack is not complete without it; add it",
    ),
    (
        changed(good(), "gateway.content_log", {"teams": ["a"], "retention_days": 30}),
        "gateway.content_log.reason: missing; the stack is not complete without it; add it",
    ),
    (
        changed(good(), "gateway.content_log", {"retention_days": 4000, "reason": "complaints"}),
        "gateway.content_log.retention_days: out of range; it should be less than or equal to 3650",
    ),
]


@pytest.mark.parametrize(("document", "message"), SECTIONS, ids=[message.split(";")[0] for _, message in SECTIONS])
def test_refuses_in_one_line(document: object, message: str) -> None:
    assert problems(document) == [f"slipway:platform.{message}"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "slipway:platform: is missing; there is nothing to deploy; start from a copy of stacks/Pulumi.poc.yaml"),
        (
            [],
            "slipway:platform: is not a section with keys; there is nothing to deploy; start from a copy of "
            "stacks/Pulumi.poc.yaml",
        ),
    ],
)
def test_what_is_no_section_is_refused(document: object, message: str) -> None:
    assert problems(document) == [message]


def test_all_mistakes_are_reported_at_once() -> None:
    document = changed(changed(good(), "front.port", "x"), "pools.main.hosts.gpu-1.user", "A B")
    with pytest.raises(SettingsError) as refused:
        parse(document, SOURCE)
    assert refused.value.report.splitlines()[0] == f"{SOURCE}: 2 setting(s) refused; nothing was touched"
    assert len(refused.value.problems) == 2


WRONG_PLACES: tuple[tuple[str, ...], ...] = (
    ("front", "port"),
    ("models", "m", "engine", "start_timeout_s"),
    ("models", "m", "engine", "name"),
    ("models", "m", "source"),
    ("models", "m", "task"),
    ("gateway", "teams", "a", "requests_per_minute"),
    ("gateway", "teams", "a"),
    ("providers", "openai", "organization", "x"),
    ("providers", "openai", "kind"),
    ("pools", "main", "gpus"),
)


@given(st.text(min_size=8, max_size=60))
def test_a_secret_in_the_wrong_place_is_not_shown(text: str) -> None:
    for path in WRONG_PLACES:
        document = changed(good(), "providers.openai", {"key": GOOD_KEY})
        with pytest.raises(SettingsError) as refused:
            parse(changed(document, path, "canary" + text), SOURCE)
        assert "canary" not in refused.value.report


def test_no_secret_stands_in_any_message_of_the_rules() -> None:
    """Rules see all settings; a document that breaks many of them at once has secrets in every place."""
    document = with_changes(
        many(),
        ("gateway.teams.legal.key", GOOD_KEY),
        ("gateway.port", 8443),
        ("gateway.engine_key", REMOVED),
        ("models.desktop.fallbacks", ["desktop"]),
        ("gateway.teams.legal.models", ["nothing"]),
        ("pools.gpu.hosts.gpu-1.private_address", REMOVED),
    )
    found = problems(document)
    assert len(found) >= 5
    for secret in (GOOD_KEY, OTHER_KEY, "sk-openai-canary", "hf-token"):
        assert not [line for line in found if secret in line]


def test_defaults_follow_from_the_rest() -> None:
    settings = parse(good(), SOURCE)
    model = settings.served["m"]
    assert model.output_tokens == 2048
    assert (model.engine.engine, model.engine.slots) == ("vllm", 256)
    assert settings.pool_of(model) == "main"
    assert (settings.gateway_host, settings.front_host) == ("gpu-1", "gpu-1")


def test_a_gpu_alone_is_one_gpu() -> None:
    assert parse(changed(good(), "pools.main.gpu", "rtx-4090"), SOURCE).pools["main"].gpus == 1
    with_tier = with_changes(good(), ("pools.main.gpu", "rtx-4090"), ("pools.main.tier", "prod"))
    assert "gpus" not in parse(with_tier, SOURCE).pools["main"].model_fields_set


def test_the_edge_is_where_gateway_and_front_run() -> None:
    settings = parse(many(), SOURCE)
    assert (settings.gateway_host, settings.front_host) == ("edge-1", "edge-1")
    assert [settings.pool_of(model) for model in settings.served.values()] == ["gpu", "gpu", "cpu"]
    apart = parse(with_changes(many(), ("gateway.pool", "gpu"), ("front.pool", "cpu")), SOURCE)
    assert (apart.gateway_host, apart.front_host) == ("gpu-1", "cpu-1")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"path": "/a/m-Q4.gguf"}, "m-Q4.gguf"),
        ({"host_path": "/a/m-Q4.gguf"}, "m-Q4.gguf"),
        ({"host_path": "/a/m", "file": "b/c.gguf"}, "b/c.gguf"),
        ({"hub": "o/m", "revision": "0" * 40, "file": "c.gguf"}, "c.gguf"),
        (
            {
                "mirror": "http://m.example/",
                "sha256": {"m-00002-of-00002.gguf": "0" * 64, "m-00001-of-00002.gguf": "0" * 64},
            },
            "m-00001-of-00002.gguf",
        ),
        ({"host_path": "/a/gguf"}, None),
    ],
)
def test_the_gguf_file_of_a_source(source: dict[str, Any], name: str | None) -> None:
    engine = "vllm" if name is None else "llama_cpp"
    document = with_changes(good(), ("models.m.source", source), ("models.m.engine", engine))
    assert parse(document, SOURCE).served["m"].source.gguf == name
