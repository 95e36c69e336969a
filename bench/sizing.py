"""How well sizing predicts what vLLM measured: every row of tests/data/sizing, term by term.

Prints the mean and the largest absolute error per term, by GPU and by model family, the rows that miss a target, and the
rows that could not be asked, with the reason; or one JSON object with ``--json``. Asserts nothing.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from slipway.catalog import Catalog, load
from slipway.catalog.load import find_or_none
from slipway.sizing.batch import Answer, answers

ROWS = Path(__file__).resolve().parent.parent / "tests/data/sizing/memory.jsonl"
TARGETS = {"weights_gib_per_gpu": 0.5, "kv_cache_gib_per_gpu": 3.0, "kv_cache_tokens": 3.0, "max_concurrency": 4.0}
"""Largest error that we mean to have, in percent."""
TERMS = (*TARGETS, "activation_gib", "non_torch_gib")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=Path, default=ROWS, help="a file of measured rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    catalog = load()
    lines = arguments.rows.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    report = compare(rows, list(answers(lines, catalog)), catalog)
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)


def compare(rows: list[dict[str, Any]], predicted: list[Answer], catalog: Catalog) -> dict[str, Any]:
    """Errors in percent, grouped; status by status; and what was left out."""
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    misses, left_out, verdicts = [], [], []
    for row, answer in zip(rows, predicted, strict=True):
        if answer.status == "refused":
            left_out.append({"id": row["id"], "why": answer.error})
            continue
        verdicts.append(
            {"id": row["id"], "measured": row["status"], "predicted": answer.status, "why": row.get("error")}
        )
        model = find_or_none(catalog.models, row["model"])
        groups = ("all", f"gpu {row['gpu']}", f"family {model.family if model else row['model']}")
        for term in TERMS:
            measured, said = row.get(term), getattr(answer, term)
            if measured is None or said is None or measured <= 0:
                continue
            error = 100 * (said - measured) / measured
            for group in groups:
                errors[group][term].append(error)
            if term in TARGETS and abs(error) > TARGETS[term]:
                misses.append(
                    {"id": row["id"], "term": term, "measured": measured, "predicted": said, "percent": error}
                )
    table = {
        group: {
            term: {
                "rows": len(values),
                "mean_percent": statistics.fmean(map(abs, values)),
                "max_percent": max(map(abs, values)),
            }
            for term, values in terms.items()
        }
        for group, terms in errors.items()
    }
    return {
        "rows": len(rows),
        "errors": table,
        "misses": misses,
        "left_out": left_out,
        "said_fits_but_failed": [v for v in verdicts if v["measured"] == "failed" and v["predicted"] == "ok"],
        "said_fails_but_ran": [v for v in verdicts if v["measured"] == "ok" and v["predicted"] == "failed"],
    }


def show(report: dict[str, Any]) -> None:
    """As text."""
    print(f"{report['rows']} rows; mean / largest absolute error in percent (rows)\n")
    print(f"{'':34}" + "".join(f"{term.removesuffix('_gib_per_gpu').removesuffix('_gib'):>22}" for term in TERMS))
    for group, terms in sorted(report["errors"].items(), key=lambda item: (item[0] != "all", item[0])):
        cells = (
            f"{terms[term]['mean_percent']:.2f} / {terms[term]['max_percent']:.2f} ({terms[term]['rows']})"
            if term in terms
            else "-"
            for term in TERMS
        )
        print(f"{group:34.34}" + "".join(f"{cell:>22}" for cell in cells))
    print(f"{'target, mean':34}" + "".join(f"{TARGETS.get(term, '-'):>22}" for term in TERMS))
    for title, key in (
        ("Beyond the target", "misses"),
        ("Said to fit, did not start", "said_fits_but_failed"),
        ("Said not to fit, did start", "said_fails_but_ran"),
        ("Not asked", "left_out"),
    ):
        print(f"\n{title}: {len(report[key])}")
        for entry in report[key]:
            if key == "misses":
                print(
                    f"  {entry['id']}: {entry['term']} {entry['predicted']:.6g}, measured {entry['measured']:.6g} "
                    f"({entry['percent']:+.2f} %)"
                )
            else:
                print(f"  {entry['id']}: {entry['why']}")


if __name__ == "__main__":
    main()
