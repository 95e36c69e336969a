"""A change to three stacks, as the checks and the engine might tell of it: what the documentation shows as an invented one."""

import json
from typing import Any

from slipway.review import Capacity, Changed, Changes, How, MonthlyCost, Review, Side, comment, read_preview


def finding(severity: str, **but: Any) -> dict[str, Any]:
    return {
        "id": "sizing.fit",
        "severity": severity,
        "where": "slipway:platform.model",
        "message": "no memory is left for the KV cache",
    } | but


def policy(level: str | None, **but: Any) -> dict[str, Any]:
    return {
        "id": "tensor-parallel",
        "level": level,
        "severity": "high",
        "resource": "platform",
        "type": "slipway:index:Platform",
        "where": "engine.tensorParallel",
        "value": "3",
        "message": "engine.tensorParallel (3): 64 attention heads can't be shared out; the engine would not start: use 4",
        "source": "vLLM, Parallelism and Scaling",
        "exception": None,
    } | but


def cost(total: float, *, estimated: bool = False) -> MonthlyCost:
    return MonthlyCost(total=total, capital=0, maintenance=0, energy=0, currency="USD", estimated=estimated)


def room(hosts: int, gpus: int, tokens: int, full: float, at_once: int) -> Capacity:
    return Capacity(hosts=hosts, gpus=gpus, kv_cache_tokens=tokens, full_requests=full, at_once=at_once)


def checked(*findings: dict[str, Any], policies: tuple[dict[str, Any], ...] = (), status: int = 0) -> dict[str, Any]:
    return {
        "stack": "",
        "status": status,
        "problems": [],
        "findings": list(findings),
        "policies": list(policies),
        "deployment": {},
    }


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:prod::slipway::slipway:index:Platform$slipway:layers:Engine${kind}::{name}"


DIFFERENCE = {"variables.vllm_flags.max-num-seqs": {}}


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
    where="slipway:platform.engine.max_num_seqs",
    message="512 requests at once, while the KV cache holds 320 of the 4,096 tokens that clients may ask for: use 320",
)
REVIEWS = (
    Review(
        CHANGES.stacks[0],
        Side(),
        Side(checked=checked(), capacity=room(1, 1, 610_880, 74.6, 64), cost=cost(117)),
        read_preview(steps(("create", "gpu-1/base"), ("create", "gpu-1/vllm"))),
    ),
    Review(
        CHANGES.stacks[1],
        Side(checked=checked(), capacity=room(1, 8, 1_315_312, 40.1, 256), cost=cost(12_256, estimated=True)),
        Side(
            checked=checked(finding("error"), WARNING, policies=(policy("mandatory"),), status=1),
            capacity=room(2, 16, 0, 0, 0),
            cost=cost(24_512, estimated=True),
        ),
        read_preview(steps(("update", "prod-1/vllm"), ("same", "prod-1/base"), ("create", "prod-2/vllm"))),
    ),
    Review(
        CHANGES.stacks[2],
        Side(checked=checked(policies=(EXCEPTED,)), capacity=room(1, 4, 221_632, 13.5, 64), cost=cost(1_166)),
        Side(
            checked=checked(
                policies=(
                    EXCEPTED,
                    policy(
                        "advisory", id="log-retention", severity="low", message="logs are kept for a day", source=""
                    ),
                    {"id": "imdsv2", "severity": "high", "resource": "node", "where": "metadata", "unknown": True},
                )
            ),
            capacity=room(1, 4, 221_632, 13.5, 128),
            cost=cost(1_166),
        ),
    ),
)


COMMITS = ("1234567890abcdef1234567890abcdef12345678", "abcdef1234567890abcdef1234567890abcdef12")


def rendered() -> str:
    return comment(CHANGES, REVIEWS, commits=COMMITS)
