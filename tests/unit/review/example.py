"""A change to three stacks, as the checks and the engine might tell of it: what the documentation shows as an invented one."""

import json
from typing import Any

from slipway.review import Changed, Changes, How, MonthlyCost, Review, Side, comment, read_preview


def finding(severity: str, **but: Any) -> dict[str, Any]:
    return {
        "id": "sizing.fit",
        "severity": severity,
        "where": "slipway:platform.models.llama",
        "message": "no memory is left for the KV cache",
    } | but


def policy(level: str | None, **but: Any) -> dict[str, Any]:
    return {
        "id": "tensor-parallel",
        "level": level,
        "severity": "high",
        "resource": "platform",
        "type": "slipway:index:Platform",
        "where": "models[0].engine.tensorParallel",
        "value": "3",
        "message": "models[0].engine.tensorParallel (3): 64 heads can't be shared out; the engine would not start: use 4",
        "source": "vLLM, Parallelism and Scaling",
        "exception": None,
    } | but


def cost(total: float, *, estimated: bool = False) -> MonthlyCost:
    return MonthlyCost(total=total, capital=0, maintenance=0, energy=0, currency="USD", estimated=estimated)


def pool(name: str, tier: str | None, gpus: int, *machines: str) -> dict[str, Any]:
    return {"name": name, "tier": tier, "gpu": None, "gpus": gpus, "machines": list(machines)}


def served(name: str, **but: Any) -> dict[str, Any]:
    """A model as a declaration has it."""
    sizing = {"fits": True, "kvCacheTokens": but.pop("tokens", 1000), "maxConcurrency": but.pop("full", 1.0)}
    return {
        "kind": "served",
        "name": name,
        "task": "chat",
        "pool": "gpu",
        "gpus": 1,
        "replicas": 1,
        "maxModelLen": 32768,
        "sizing": sizing | {"fits": but.pop("fits", True)},
        "engine": {
            "name": "vllm",
            "release": "0.32.0",
            "build": "cuda",
            "dataParallel": 1,
            "slots": but.pop("slots", 64),
            "flags": but.pop("flags", {}),
        },
        "instances": [],
    } | but


def declared(
    *models: dict[str, Any], pools: tuple[dict[str, Any], ...], teams: tuple[str, ...] = ("demo",)
) -> dict[str, Any]:
    return {
        "pools": list(pools),
        "machines": [{"name": name, "pool": each["name"]} for each in pools for name in each["machines"]],
        "models": list(models),
        "teams": [{"name": name} for name in teams],
    }


def checked(
    *findings: dict[str, Any],
    policies: tuple[dict[str, Any], ...] = (),
    status: int = 0,
    deployment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "stack": "",
        "status": status,
        "problems": [],
        "findings": list(findings),
        "policies": list(policies),
        "deployment": deployment or {},
    }


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:prod::slipway::slipway:index:Platform$slipway:layers:Engines${kind}::{name}"


DIFFERENCE = {"variables.service_command[7]": {}}


def steps(*given: tuple[str, str]) -> str:
    """What `pulumi preview --json` prints, as far as it is looked at."""
    kind = "playbook:index:Playbook"
    return json.dumps(
        {
            "steps": [
                {"op": op, "urn": urn(kind, name), "detailedDiff": DIFFERENCE if op == "update" else None}
                for op, name in given
            ],
            "changeSummary": {},
        }
    )


CHANGES = Changes(
    stacks=(
        Changed(name="poc", how=How.NEW, files=("stacks/Pulumi.poc.yaml",)),
        Changed(name="prod", how=How.CHANGED, files=("stacks/Pulumi.prod.yaml",)),
        Changed(name="team", how=How.CHANGED, files=("policies/config/team.json", "stacks/Pulumi.team.yaml")),
    ),
    shared=(),
)
EXCEPTED = policy(
    "mandatory",
    id="tls-front",
    message="front.tls (off): the front takes keys in clear; anybody on the way reads them: turn TLS on",
    exception={"reason": "behind the site's own proxy", "owner": "platform team", "expires": "2027-01-31"},
)
WARNING = finding(
    "warning",
    id="sizing.concurrency",
    where="slipway:platform.models.llama.engine.max_num_seqs",
    message="512 requests at once, while the KV cache holds 320 of the 4,096 tokens that clients may ask for: use 320",
)
PROVIDED = {"kind": "provided", "name": "gpt-5-mini", "task": "chat", "provider": "openai", "model": "gpt-5-mini"}
REVIEWS = (
    Review(
        CHANGES.stacks[0],
        Side(),
        Side(
            checked=checked(
                deployment=declared(
                    served("qwen", tokens=610_880, full=74.6),
                    pools=(pool("gpu", "poc", 1, "gpu-1"),),
                    teams=("platform",),
                )
            ),
            costs={"gpu": cost(117)},
        ),
        read_preview(steps(("create", "gpu-1/base"), ("create", "gpu-1/qwen"))),
    ),
    Review(
        CHANGES.stacks[1],
        Side(
            checked=checked(
                deployment=declared(
                    served("llama", gpus=8, tokens=1_315_312, full=40.1, slots=256),
                    pools=(pool("gpu", "prod", 8, "prod-1"),),
                )
            ),
            costs={"gpu": cost(12_256, estimated=True)},
        ),
        Side(
            checked=checked(
                finding("error"),
                WARNING,
                policies=(policy("mandatory"),),
                status=1,
                deployment=declared(
                    served("llama", gpus=8, replicas=2, fits=False, maxModelLen=65536, fallbacks=["gpt-5-mini"]),
                    served("bge-m3", task="embedding", gpus=0, tokens=None, full=None, slots=4),
                    PROVIDED,
                    pools=(pool("gpu", "prod", 8, "prod-1", "prod-2"), pool("edge", None, 0, "edge-1")),
                    teams=("demo", "legal"),
                )
                | {"providers": [{"name": "openai", "kind": "openai"}]},
            ),
            costs={"gpu": cost(24_512, estimated=True), "edge": None},
        ),
        read_preview(steps(("update", "prod-1/llama"), ("same", "prod-1/base"), ("create", "prod-2/llama"))),
    ),
    Review(
        CHANGES.stacks[2],
        Side(
            checked=checked(
                policies=(EXCEPTED,),
                deployment=declared(
                    served("qwen-32b", gpus=4, tokens=221_632, full=13.5), pools=(pool("gpu", "team", 4, "team-1"),)
                ),
            ),
            costs={"gpu": cost(1_166)},
        ),
        Side(
            checked=checked(
                policies=(
                    EXCEPTED,
                    policy(
                        "advisory", id="log-retention", severity="low", message="logs are kept for a day", source=""
                    ),
                    {"id": "imdsv2", "severity": "high", "resource": "node", "where": "metadata", "unknown": True},
                ),
                deployment=declared(
                    served("qwen-32b", gpus=4, tokens=221_632, full=13.5, slots=128, flags={"max-num-seqs": 128}),
                    pools=(pool("gpu", "team", 4, "team-1"),),
                ),
            ),
            costs={"gpu": cost(1_166)},
        ),
    ),
)


COMMITS = ("1234567890abcdef1234567890abcdef12345678", "abcdef1234567890abcdef1234567890abcdef12")


def rendered() -> str:
    return comment(CHANGES, REVIEWS, commits=COMMITS)
