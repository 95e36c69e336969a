"""How `slipway check` and a preview grow with a stack: 1, 16 and 64 machines, each with a replica of one model.

Reaches no host: addresses are those of a documentation network, and a preview has no need of one. The project, its state and
its passphrase are in a folder that is thrown away. Prints a table, or one JSON object with ``--json``; asserts nothing.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1, 16, 64)
REPEATS = 3
_BIN = Path(sys.executable).parent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args()
    figures = {size: measured(size) for size in SIZES}
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{'machines':>8}  {'check_s':>8}  {'preview_s':>9}  {'resources':>9}")
    for size, found in figures.items():
        print(f"{size:8}  {found['check_s']:8.2f}  {found['preview_s']:9.2f}  {found['resources']:9}")


def measured(machines: int) -> dict[str, Any]:
    """Seconds, the best of several; and how many resources a preview has."""
    with tempfile.TemporaryDirectory(prefix="slipway-growth-") as name:
        folder = Path(name)
        (folder / "stacks").mkdir()
        (folder / "state").mkdir()
        text = yaml.safe_dump({"config": {"slipway:platform": settings(machines)}}, sort_keys=False)
        (folder / "stacks/Pulumi.growth.yaml").write_text(text, encoding="utf-8")
        for link in ("playbooks", "policies", "provider", "components", "slipway", "__main__.py"):
            (folder / link).symlink_to(ROOT / link)
        project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        project["runtime"] = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
        project["plugins"] = {"providers": [{"name": "playbook", "path": str(ROOT / "provider")}]}
        project.pop("backend", None)
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
        environment = {
            **os.environ,
            "PATH": os.pathsep.join((str(_BIN), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "for measuring only",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "SLIPWAY_ENGINE_KEY": secrets.token_hex(32),
            "SLIPWAY_KEY_DEMO": secrets.token_hex(32),
        }

        def run(*command: str) -> tuple[float, str]:
            start = time.monotonic()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
            return time.monotonic() - start, done.stdout

        pulumi = (str(_BIN / "pulumi"), "--non-interactive")
        run(*pulumi, "stack", "init", "growth")
        check = (sys.executable, "-c", _CHECK, str(folder))
        checks = min(run(*check)[0] for _ in range(REPEATS))
        previews = [run(*pulumi, "preview", "--json", "--stack", "growth") for _ in range(REPEATS)]
        return {
            "check_s": round(checks, 2),
            "preview_s": round(min(seconds for seconds, _ in previews), 2),
            "resources": len(json.loads(previews[0][1])["steps"]),
        }


_CHECK = (
    "import sys, pathlib; from cli.check import check_stacks; check_stacks(['growth'], root=pathlib.Path(sys.argv[1]))"
)


def settings(machines: int) -> dict[str, Any]:
    """One pool of so many machines with a GPU, and one model with a replica on each."""
    hosts = {
        f"gpu-{number}": {
            "address": f"192.0.2.{number}",
            "private_address": f"10.20.0.{number}",
            "user": "ubuntu",
        }
        for number in range(1, machines + 1)
    }
    return {
        "pools": {"gpu": {"tier": "poc", "hosts": hosts}},
        "models": {
            "qwen": {
                "catalog": "Qwen/Qwen2.5-1.5B-Instruct",
                "source": {"host_path": "/srv/models/Qwen2.5-1.5B-Instruct"},
                "engine": {"max_num_seqs": 64},
            }
        },
        "gateway": {
            "engine_key": {"env": "SLIPWAY_ENGINE_KEY"},
            "teams": {"demo": {"key": {"env": "SLIPWAY_KEY_DEMO"}}},
        },
    }


if __name__ == "__main__":
    main()
