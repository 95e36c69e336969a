"""How long an `up` takes: from nothing, on a prepared machine, when there is nothing to do, and when a model is added.

Works in a fresh clone of the commit that is checked out, with a HOME of its own: no cache, no state, no module of this
user is seen, so the first `make up` starts from nothing but the machine's Debian packages. Takes the lab's network for
itself: `make down` first. Prints a table, or one JSON object with ``--json``; asserts nothing.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3
_MODEL = "tiny-llama"
"""The model of the lab's stacks."""
_KEPT = {
    "LANG",
    "TERM",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "GOPROXY",
    "GOFLAGS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "PYENV_ROOT",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--warm", action="store_true", help="keep this user's caches and leave fresh_s out (null)")
    parser.add_argument("--one-host", action="store_true", help="leave the four hosts out (null)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), warm=arguments.warm)
        try:
            figures = bench.run(four=not arguments.one_host)
        finally:
            bench.make("down")
            shutil.rmtree(Path(folder) / "home" / "go", onerror=_writable_then_again)
    if arguments.json:
        print(json.dumps(figures))
        return
    print(
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, {_distribution()}"
    )
    for name, value in figures.items():
        print(f"{name:22} {value}")


class Bench:
    """One clone, one HOME, and the runs in them."""

    def __init__(self, folder: Path, *, warm: bool) -> None:
        self.clone = folder / "slipway"
        self.warm = warm
        self.home = Path.home() if warm else folder / "home"
        self.home.mkdir(exist_ok=True)
        # What points to another checkout's engine, caches or state would make a fresh machine look faster than it is.
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.endswith("_CERT")}
        path = [
            part for part in os.environ["PATH"].split(os.pathsep) if not (Path(part).parent / "pyvenv.cfg").exists()
        ]
        self.environment = {**kept, "HOME": str(self.home), "PATH": os.pathsep.join(path)}
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)

    def run(self, *, four: bool) -> dict[str, Any]:
        """All figures, in seconds and milliseconds; None for what was left out."""
        fresh = None if self.warm else self.make("up")
        if self.warm:
            self.make("setup")
        self.make("down")
        prepared = self.make("up")
        log = self.home / ".local/state/slipway/playbook.log"
        runs_before = len(log.read_text(encoding="utf-8").splitlines())
        noop = min(self.pulumi("lab", "up", "--yes", "--skip-preview") for _ in range(REPEATS))
        noop_runs = len(log.read_text(encoding="utf-8").splitlines()) - runs_before
        drift_1 = min(self.pulumi("lab", "preview", "--refresh") for _ in range(REPEATS))
        acceptance = self.outputs("lab")["acceptance"][_MODEL]
        added = self.add_a_model()
        return {
            "fresh_s": fresh,
            "prepared_s": prepared,
            "noop_s": noop,
            "noop_ansible_runs": noop_runs,
            "drift_preview_1_s": drift_1,
            "add_model_s": added,
            "drift_preview_4_s": self.four_hosts() if four else None,
            "ttft_direct_ms": acceptance["direct_ttft_ms"],
            "ttft_front_ms": acceptance["ttft_ms"],
        }

    def add_a_model(self) -> float:
        """An `up` that adds a second model to the running stack `lab`, whose program is there already, in seconds."""
        file = self.clone / "stacks/Pulumi.lab.yaml"
        before = file.read_text(encoding="utf-8")
        stack = yaml.safe_load(before)
        models = stack["config"]["slipway:platform"]["models"]
        models["second"] = models[_MODEL]
        file.write_text(yaml.safe_dump(stack, sort_keys=False), encoding="utf-8")
        try:
            return self.pulumi("lab", "up", "--yes", "--skip-preview")
        finally:
            file.write_text(before, encoding="utf-8")

    def four_hosts(self) -> float:
        """The drift preview of a stack with four engine hosts, in seconds."""
        self.make("down")
        lab = yaml.safe_load((self.clone / "stacks/Pulumi.lab-pair.yaml").read_text(encoding="utf-8"))
        (pool,) = lab["config"]["slipway:platform"]["pools"].values()
        first = next(iter(pool["hosts"].values()))
        pool["hosts"] = {f"four-{number}": first | {"address": f"10.213.77.{40 + number}"} for number in range(1, 5)}
        (self.clone / "stacks/Pulumi.four.yaml").write_text(yaml.safe_dump(lab, sort_keys=False), encoding="utf-8")
        self.timed(["make", "up", "STACK=four"])
        return min(self.pulumi("four", "preview", "--refresh") for _ in range(REPEATS))

    def make(self, target: str) -> float:
        """Run a target of the Makefile; its duration in seconds."""
        return self.timed(["make", target])

    def pulumi(self, stack: str, *arguments: str) -> float:
        """Run the engine on `stack`; its duration in seconds."""
        command = f'eval "$(.venv/bin/slipway env {stack})" && exec pulumi "$@"'
        return self.timed(["bash", "-c", command, "bash", *arguments, "--stack", stack, "--non-interactive"])

    def outputs(self, stack: str) -> dict[str, Any]:
        """The outputs of `stack`."""
        command = f'eval "$(.venv/bin/slipway env {stack})" && exec pulumi stack output --json --stack {stack}'
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.clone, env=self.environment, check=True, capture_output=True, text=True
        )
        outputs: dict[str, Any] = json.loads(done.stdout)
        return outputs

    def timed(self, command: list[str]) -> float:
        """Run `command` with its output on stderr; its duration in seconds."""
        print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
        start = time.monotonic()
        subprocess.run(
            command, cwd=self.clone, env=self.environment, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL
        )
        return round(time.monotonic() - start, 2)


def _writable_then_again(function: Any, path: str, _: object) -> None:
    """Go's module cache is read-only; a folder that is not there at all is fine too."""
    if Path(path).exists():
        Path(path).parent.chmod(0o755)
        Path(path).chmod(0o755)
        function(path)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _distribution() -> str:
    return platform.freedesktop_os_release()["PRETTY_NAME"]


if __name__ == "__main__":
    main()
