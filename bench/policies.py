"""What the policy pack costs a preview: the same preview with it and without it, in turn, by the number of resources.

The resources are half GPU instances and half vLLM deployments, good ones, so that every rule about them is asked; the double
of the providers in tests/integration/fixtures/echo takes them. Prints a table, or one JSON object with ``--json``. Asserts
nothing.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.integration.policy_project import PACK, PLUGINS, PROGRAM, PolicyProject

COUNTS = (1, 64, 500)
DIGEST = "sha256:" + "0123456789abcdef" * 4
REVISION = "0123456789abcdef0123456789abcdef01234567"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    figures = {count: measured(count, arguments.runs) for count in COUNTS}
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{'resources':>9}  {'without':>9}  {'with':>9}  {'cost':>9}  ratio   (median of {arguments.runs}, in turn)")
    for count, figure in figures.items():
        print(
            f"{count:9}  {figure['without_s']:7.2f} s  {figure['with_s']:7.2f} s  {figure['cost_s']:7.2f} s  "
            f"{figure['ratio']:.2f}"
        )


def measured(count: int, runs: int) -> dict[str, float]:
    """Medians of previews of `count` resources, in seconds; the cost is the median of the pairs' differences."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stack.yaml"
        file.write_text(yaml.safe_dump({"resources": [resource(number) for number in range(count)]}), encoding="utf-8")
        project = PolicyProject(Path(folder), PROGRAM, plugins=PLUGINS)
        pairs = []
        try:
            for number in range(runs + 1):
                pair = timed(project, file, None), timed(project, file, PACK)
                if number:  # the first warms the caches up
                    pairs.append(pair)
        finally:
            project.kill_all()
    without, with_pack = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "without_s": without,
        "with_s": with_pack,
        "cost_s": statistics.median(with_ - without_ for without_, with_ in pairs),
        "ratio": statistics.median(with_ / without_ for without_, with_ in pairs),
    }


def timed(project: PolicyProject, file: Path, pack: Path | None) -> float:
    """Seconds of one preview.

    Raises:
        SystemExit: it failed, or a rule fired: then the time would mean nothing.
    """
    begin = time.perf_counter()
    answer = project.judged("preview", pack=pack, env={"SLIPWAY_TEST_STACK": str(file)})
    taken = time.perf_counter() - begin
    if answer.status or answer.rules:
        sys.exit(f"the preview ended with {answer.status} and {answer.rules}: {answer.output[-2000:]}")
    return taken


def resource(number: int) -> dict[str, Any]:
    """A GPU instance or a Kubernetes Deployment of vLLM, as it should be; the last one is the namespace's policy."""
    if number == 1:
        spec: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress"]}
        return {
            "name": "policy",
            "type": "kubernetes:networking.k8s.io/v1:NetworkPolicy",
            "inputs": {"metadata": {"name": "policy", "namespace": "llm"}, "spec": spec},
        }
    return instance(number) if number % 2 == 0 else deployment(number)


def instance(number: int) -> dict[str, Any]:
    """An EC2 instance."""
    inputs = {
        "ami": "ami-0123456789abcdef0",
        "instanceType": "g5.12xlarge",
        "metadataOptions": {"httpTokens": "required"},
        "rootBlockDevice": {"encrypted": True, "volumeSize": 200},
        "tags": {"owner": "ml-platform", "Name": f"gpu-{number}"},
    }
    return {"name": f"gpu-{number}", "type": "aws:ec2/instance:Instance", "inputs": inputs}


def deployment(number: int) -> dict[str, Any]:
    """A Deployment of vLLM."""
    name, labels = f"vllm-{number}", {"app": f"vllm-{number}"}
    probe = {"httpGet": {"path": "/health", "port": 8000}}
    container = {
        "name": "vllm",
        "image": f"registry.example/vllm/vllm-openai:v0.32.0@{DIGEST}",
        "args": [
            "--model=meta-llama/Llama-3.1-8B-Instruct",
            f"--revision={REVISION}",
            "--tensor-parallel-size=2",
            "--max-model-len=8192",
            "--max-num-seqs=16",
        ],
        "env": [{"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": "engine", "key": "api-key"}}}],
        "resources": {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**probe, "failureThreshold": 120, "periodSeconds": 10},
        "readinessProbe": probe,
        "livenessProbe": probe,
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A10G"},
        "containers": [container],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    metadata = {"name": name, "namespace": "llm", "labels": labels}
    return {
        "name": name,
        "type": "kubernetes:apps/v1:Deployment",
        "inputs": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
    }


if __name__ == "__main__":
    main()
