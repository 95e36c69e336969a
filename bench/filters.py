"""What filters add to each piece of a stream and to a whole request, in this process, without a gateway around them.

Prints a table, or one JSON object with ``--json``. Asserts nothing.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ADDITION = Path(__file__).resolve().parent.parent / "playbooks/roles/litellm/files/slipway"
WORDS = [
    "The",
    "order",
    "of",
    "29",
    "November",
    "2026",
    "comes",
    "to",
    "1,299.00",
    "and",
    "您可以在",
    "3",
    "天内付款",
    "please",
    "call",
    "us",
    "back",
    "",
]
KINDS = ("chinese_id", "chinese_mobile", "bank_card", "passport", "email")
PIECES = 2_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ADDITION))
    figures = {
        "piece_all_kinds_us": statistics.median(piece(KINDS) for _ in range(5)),
        "piece_numbers_us": statistics.median(piece(KINDS[:3]) for _ in range(5)),
        "request_64k_all_kinds_ms": statistics.median(whole(KINDS, 64 * 1024) for _ in range(5)),
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:26} {figure:10.1f}")


def rules(kinds: tuple[str, ...]) -> Any:
    """A team that has these kinds masked in both directions."""
    from slipway_gateway.filters import file  # type: ignore[import-not-found]

    return file.parse(json.dumps({"teams": {"t": {"out": dict.fromkeys(kinds, "mask")}}})).of("t", "out")


def piece(kinds: tuple[str, ...]) -> float:
    """Microseconds that one event of a stream takes, the reading and writing of its JSON included."""
    from slipway_gateway.filters.streams import FilteredStream  # type: ignore[import-not-found]

    stream = FilteredStream(rules(kinds))
    events = [
        b"data: "
        + json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": word + " "}}]}).encode()
        + b"\n\n"
        for word in (WORDS * (PIECES // len(WORDS) + 1))[:PIECES]
    ]
    return taken(lambda: [stream.feed(event) for event in events]) / PIECES * 1e6


def whole(kinds: tuple[str, ...], size: int) -> float:
    """Milliseconds that a request with one text of so many characters takes."""
    from slipway_gateway.filters.bodies import filtered  # type: ignore[import-not-found]
    from slipway_gateway.filters.recognizer import Deadline  # type: ignore[import-not-found]
    from slipway_gateway.filters.text import Judge  # type: ignore[import-not-found]

    text = (" ".join(WORDS) * (size // 60))[:size]
    return taken(lambda: filtered({"prompt": text}, Judge(rules(kinds), Deadline(60)))) * 1e3


def taken(what: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begin = time.perf_counter()
    what()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
