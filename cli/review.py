"""`slipway review` and `slipway changed`: what a change does to the stacks, for the people who are asked to approve it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli.check import data
from cli.errors import UserError
from cli.lab import made_by_lab
from cli.stack_report import report
from slipway.review import (
    Changed,
    Changes,
    How,
    Preview,
    Review,
    Side,
    changes,
    comment,
    pool_costs,
    read_preview,
)
from slipway.review.comment import verdict
from slipway.review.preview import KINDS
from slipway.settings.errors import SettingsError
from slipway.settings.load import read_public

READY, REFUSED = 0, 1
"""Exit statuses: every stack that changes is fit to be deployed; one is not."""


def changed_stacks(base: Path, head: Path, *, as_json: bool, previewable: bool) -> None:
    """Print the names of the stacks that the change from `base` to `head` touches.

    Raises:
        ChangesError: the folders can't be compared.
    """
    names = [each.name for each in changes(base, head).stacks if not previewable or _previewable(each, head)]
    if as_json:
        print(json.dumps(names))
    elif names:
        print("\n".join(names))


def _previewable(changed: Changed, head: Path) -> bool:
    """Lab hosts are one machine's own: what would change on them, only that machine can say."""
    if changed.how is How.REMOVED:
        return False
    try:
        return not made_by_lab(read_public(changed.name, head))
    except (SettingsError, UserError):
        # The preview says it in the engine's own words.
        return True


def review_change(
    base: Path,
    head: Path,
    *,
    previews: Sequence[str],
    output: Path | None,
    as_json: bool,
    commits: tuple[str | None, str | None] = (None, None),
) -> None:
    """Print the review of the change from `base` to `head`; `commits` are the ids of `head` and `base`.

    Raises:
        ChangesError: the folders can't be compared.
        UserError: a preview can't be read, or the output not be written.
        SystemExit: with status 1 where a stack would be refused, or would fail.
    """
    found = changes(base, head)
    told = _previews(previews, found)
    reviews = [_review(each, base, head, told.get(each.name)) for each in found.stacks]
    head_commit, base_commit = commits
    text = comment(found, reviews, commits=(head_commit, base_commit or str(base)) if head_commit else None)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--output {output}: can't be written ({error.strerror}); give another file") from None
    status = REFUSED if any(review.faults for review in reviews) else READY
    if as_json:
        print(json.dumps(_data(found, reviews, status), indent=2, ensure_ascii=False))
    elif output is None:
        sys.stdout.write(text)
    else:
        print("\n".join(f"{review.changed.name}: {verdict(review)}" for review in reviews) or "no stack changes")
    if status != READY:
        sys.exit(status)


def _previews(given: Sequence[str], found: Changes) -> dict[str, Preview]:
    """`NAME=FILE` of --preview.

    Raises:
        UserError: one is not of this form, names no stack that changes, or has a file that can't be read.
    """
    names = [each.name for each in found.stacks]
    told: dict[str, Preview] = {}
    for entry in given:
        name, sign, file = entry.partition("=")
        if not sign or not file:
            raise UserError(f"--preview {entry!r}: NAME=FILE is wanted, such as prod=preview.json")
        if name not in names:
            raise UserError(
                f"--preview {entry!r}: {name} does not change; the stacks that do: {', '.join(names) or 'none'}"
            )
        try:
            told[name] = read_preview(Path(file).read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise UserError(f"--preview {entry!r}: can't be read ({error.strerror}); preview the stack again") from None
    return told


def _review(changed: Changed, base: Path, head: Path, preview: Preview | None) -> Review:
    return Review(
        changed=changed,
        base=Side() if changed.how is How.NEW else _side(changed.name, base),
        head=Side() if changed.how is How.REMOVED else _side(changed.name, head),
        preview=preview,
    )


def _side(name: str, root: Path) -> Side:
    looked_at = report(name, root)
    checked = data(looked_at)
    if looked_at.deployment is None:
        return Side(checked=checked)
    return Side(checked=checked, costs=pool_costs(looked_at.deployment.catalog, checked["deployment"]))


def _data(found: Changes, reviews: Sequence[Review], status: int) -> dict[str, Any]:
    return {
        "status": status,
        "shared": list(found.shared),
        "stacks": [_stack(review) for review in reviews],
    }


def _stack(review: Review) -> dict[str, Any]:
    preview = review.preview
    return {
        "stack": review.changed.name,
        "change": str(review.changed.how),
        "files": list(review.changed.files),
        "verdict": verdict(review),
        "faults": list(review.faults),
        "resources": None if preview is None or preview.errors else {kind: preview.count(kind) for kind in KINDS},
        "state": None if preview is None else str(preview.state),
        "preview_errors": [] if preview is None else list(preview.errors),
        "changes": [asdict(each) for each in review.differences],
        "cost": {
            side: {pool: None if cost is None else asdict(cost) for pool, cost in of.costs.items()}
            for side, of in (("before", review.base), ("after", review.head))
        },
        "capacity": {
            side: {model: asdict(capacity) for model, capacity in of.capacities.items()}
            for side, of in (("before", review.base), ("after", review.head))
        },
        "check": dict(review.head.checked),
    }
