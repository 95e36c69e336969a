"""How work grows with the hosts of a stack: `up` of 1, 2 and 4 prepared lab hosts, and a plan of 64 with the plugin.

The lab hosts have a replica of a tiny model in llama.cpp each; prepared means that what hosts fetch is in this machine's caches.
Needs root, for the lab; `--plan` leaves the lab out. The 64 are this very machine under 64 names, by local connections, so that
figure is of the engine and the plugin alone: of a preview without changes, and of one that looks at every host. Prints a table,
or one JSON object with ``--json``; asserts nothing.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.pulumi_project import BIN
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1, 2, 4)
PLANNED = 64
KEY_FILE = Path("~/.local/state/slipway/lab/id_ed25519").expanduser()
HOSTS = [HostSpec(f"bench-{number}", f"10.213.77.17{number}") for number in range(1, max(SIZES) + 1)]
_LOCAL = """
import json
import os

from provider.resource import HostArgs, Playbook

for number in range(int(os.environ["HOSTS"])):
    name = f"host-{number}"
    Playbook(
        name, host=HostArgs(name=name, connection="local", become=False), role="note", instance=name,
        variables={"note_folder": os.path.join(os.environ["NOTES"], name)}, records=os.environ["RECORDS"],
    )
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--plan", action="store_true", help="the plan of 64 alone, without lab hosts")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {} if arguments.plan else lab_figures()
    figures |= planned(PLANNED)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


def lab_figures() -> dict[str, Any]:
    """Of lab hosts, in seconds."""
    lab, names = Lab(), [host.name for host in HOSTS]
    found: dict[str, Any] = {}
    try:
        for size in SIZES:
            lab.down(names)
            lab.up(HOSTS[:size], lambda line: print(line, file=sys.stderr))
            with project() as run:
                run.stack(settings(HOSTS[:size]))
                found[f"up_{size}_s"] = run.pulumi("up", "--yes", "--skip-preview")
                if size == max(SIZES):
                    before = run.runs()
                    found[f"second_up_{size}_s"] = run.pulumi("up", "--yes", "--skip-preview")
                    found[f"second_up_{size}_runs"] = run.runs() - before
                    found[f"drift_preview_{size}_s"] = run.pulumi("preview", "--refresh")
        found["growth"] = round(found[f"up_{max(SIZES)}_s"] / found[f"up_{min(SIZES)}_s"], 2)
    finally:
        lab.down(names)
    return found


def planned(hosts: int) -> dict[str, Any]:
    """Of so many names of this machine, in seconds."""
    with project() as run:
        run.program(_LOCAL)
        notes = run.folder / "notes"
        run.environment |= {"HOSTS": str(hosts), "NOTES": str(notes), "RECORDS": str(run.folder / "records")}
        return {
            f"plan_{hosts}_new_s": run.pulumi("preview"),
            f"up_{hosts}_local_s": run.pulumi("up", "--yes", "--skip-preview"),
            f"plan_{hosts}_s": run.pulumi("preview"),
            f"plan_{hosts}_looking_s": run.pulumi("preview", "--refresh"),
        }


class Run:
    """One project in a folder that is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "playbook.log"
        for name in ("stacks", "state"):
            (folder / name).mkdir()
        document = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        document["runtime"] = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
        document["plugins"] = {"providers": [{"name": "playbook", "path": str(ROOT / "provider")}]}
        document.pop("backend", None)
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join((str(BIN), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "for measuring only",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "SLIPWAY_PLAYBOOK_LOG": str(self.log),
            "SLIPWAY_ENGINE_KEY": secrets.token_hex(32),
            "SLIPWAY_KEY_DEMO": secrets.token_hex(32),
        }

    def stack(self, settings: dict[str, Any]) -> None:
        """Slipway's own program, with these settings."""
        text = yaml.safe_dump({"config": {"slipway:platform": settings}}, sort_keys=False)
        (self.folder / "stacks/Pulumi.fleet.yaml").write_text(text, encoding="utf-8")
        for link in ("playbooks", "policies", "provider", "components", "slipway", "__main__.py"):
            (self.folder / link).symlink_to(ROOT / link)
        self._pulumi("stack", "init", "fleet")

    def program(self, text: str) -> None:
        """A program that needs no settings."""
        (self.folder / "__main__.py").write_text(text, encoding="utf-8")
        shutil.copytree(ROOT / "tests/integration/fixtures/playbooks", self.folder / "playbooks")
        self._pulumi("stack", "init", "fleet")

    def pulumi(self, *arguments: str) -> float:
        """Run one command of the engine; its duration in seconds."""
        start = time.monotonic()
        self._pulumi(*arguments, "--stack", "fleet")
        return round(time.monotonic() - start, 2)

    def runs(self) -> int:
        """How many runs of Ansible there were."""
        return len(self.log.read_text(encoding="utf-8").splitlines()) if self.log.exists() else 0

    def _pulumi(self, *arguments: str) -> None:
        command = [str(BIN / "pulumi"), *arguments, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")


@contextmanager
def project() -> Iterator[Run]:
    """A project of its own."""
    with tempfile.TemporaryDirectory(prefix="slipway-fleet-", ignore_cleanup_errors=True) as name:
        yield Run(Path(name))


def settings(hosts: list[HostSpec]) -> dict[str, Any]:
    """One pool of these hosts, and a replica of a tiny model on each."""
    model = Path("~/.local/state/slipway/models/tiny-llama.gguf").expanduser()
    make_tiny_gguf(model)
    login = {"user": "slipway", "key_file": str(KEY_FILE)}
    return {
        "pools": {"lab": {"hosts": {host.name: {"address": host.address, **login} for host in hosts}}},
        "models": {
            "tiny": {
                "source": {"path": str(model)},
                "max_model_len": 2048,
                "engine": {"name": "llama_cpp", "parallel": 2},
            }
        },
        "gateway": {
            "engine_key": {"env": "SLIPWAY_ENGINE_KEY"},
            "teams": {"demo": {"key": {"env": "SLIPWAY_KEY_DEMO"}}},
        },
    }


if __name__ == "__main__":
    main()
