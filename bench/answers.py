"""How long the commands that only compute take, start-up included, as whole processes.

Prints a table with the fastest and the median of the runs, or one JSON object with ``--json``. Asserts nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLIPWAY = Path(sys.executable).parent / "slipway"
MEASURED = Path(__file__).resolve().parent.parent / "tests/data/sizing/memory.jsonl"
COMMANDS = {
    "size": ["size", "meta-llama/Llama-3.1-8B-Instruct", "--tier", "poc", "--context", "8192"],
    "size_explain": ["size", "deepseek-ai/DeepSeek-R1", "--tier", "h200-8", "--explain"],
    "batch_1000": ["size", "--batch", "ROWS"],
    "plan": ["plan", "--model", "Qwen/Qwen2.5-32B-Instruct-AWQ", "--users", "50"],
    "check_all": ["check"],
    "tiers": ["tiers"],
    "models": ["models"],
    "help": ["--help"],
}
"""ROWS stands for a file of 1,000 questions."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of each command")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("\n".join(questions(1000)), encoding="utf-8")
        seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
        # Interleaved, so that a busy moment of the machine falls on all of them.
        for _ in range(arguments.runs):
            for name, words in COMMANDS.items():
                seconds[name].append(timed([str(rows) if word == "ROWS" else word for word in words]))
    figures = {
        name: {"fastest_s": min(times), "median_s": statistics.median(times), "runs": len(times)}
        for name, times in seconds.items()
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:14} fastest {figure['fastest_s']:.3f} s  median {figure['median_s']:.3f} s")


def timed(words: list[str]) -> float:
    """Seconds of one run.

    Raises:
        SystemExit: the command failed, so that its time would mean nothing.
    """
    begin = time.perf_counter()
    done = subprocess.run([str(SLIPWAY), *words], capture_output=True, text=True, check=False)
    taken = time.perf_counter() - begin
    if done.returncode not in (0, 1):
        sys.exit(f"slipway {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return taken


def questions(count: int) -> list[str]:
    """Measured rows over and over, each with an id and a context of its own, so that no answer can be remembered."""
    rows = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    return [json.dumps({**rows[n % len(rows)], "id": n, "max_model_len": 4096 + n}) for n in range(count)]


if __name__ == "__main__":
    main()
