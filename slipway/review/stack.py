"""One stack under review: what is so before and after, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.review.changes import Changed, How
from slipway.review.declared import Difference, differences
from slipway.review.deployment import Capacity, MonthlyCost, capacities, together
from slipway.review.preview import Preview, State

NOT_SIZED = "sizing.not-checked"
"""The check that says why it could not be computed whether the model fits."""

Entry = Mapping[str, Any]
"""One finding or judgement of `slipway check --json`."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A stack as it is before the change, or after it."""

    checked: Mapping[str, Any] = field(default_factory=dict)
    """The stack's entry of `slipway check --json`; empty where there is no such stack on this side."""
    costs: Mapping[str, MonthlyCost | None] = field(default_factory=dict)
    """By pool; None where nothing is known."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Settings or policy configuration that were refused."""
        return tuple(str(problem) for problem in self.checked.get("problems") or ())

    @property
    def declared(self) -> Entry:
        """What will be deployed; empty where the settings were refused, and where there is no such stack on this side."""
        found = self.checked.get("deployment")
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def capacities(self) -> Mapping[str, Capacity]:
        """By model."""
        return capacities(self.declared)

    @property
    def cost(self) -> MonthlyCost | None:
        """Of all pools of which it is known; None where it is of none."""
        known = [cost for cost in self.costs.values() if cost is not None]
        return together(known) if known else None

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The pools that are not part of `cost`."""
        return tuple(pool for pool, cost in self.costs.items() if cost is None)

    @property
    def findings(self) -> tuple[Entry, ...]:
        """Of sizing, settings and compatibility."""
        return _entries(self.checked.get("findings"))

    @property
    def policies(self) -> tuple[Entry, ...]:
        """What the policies say: violations, excepted ones, what is not known yet."""
        return _entries(self.checked.get("policies"))


@dataclass(frozen=True)
class Review:
    """One stack that a change touches."""

    changed: Changed
    base: Side
    head: Side
    preview: Preview | None = None
    """None where none was made."""

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """What the deployments before and after differ in; nothing where one of them could not be worked out."""
        if self.changed.how is not How.NEW and not self.base.declared:
            return ()
        return differences(self.base.declared, self.head.declared) if self.head.declared else ()

    @cached_property
    def mandatory(self) -> tuple[Entry, ...]:
        """Violations for which a deployment is refused."""
        # A level that is not known here refuses: rather a question too many than a violation let through.
        return tuple(entry for entry in self._violations if entry.get("level") not in {"advisory", "disabled"})

    @cached_property
    def advisory(self) -> tuple[Entry, ...]:
        """Violations that are only shown."""
        return tuple(entry for entry in self._violations if entry.get("level") == "advisory")

    @cached_property
    def excepted(self) -> tuple[Entry, ...]:
        """Violations that an exception covers."""
        return tuple(entry for entry in self.head.policies if entry.get("exception") and not entry.get("unknown"))

    @cached_property
    def unknown(self) -> tuple[Entry, ...]:
        """What a policy could not be asked about before the deployment."""
        return tuple(entry for entry in self.head.policies if entry.get("unknown"))

    @property
    def _violations(self) -> Iterable[Entry]:
        return (entry for entry in self.head.policies if not entry.get("exception") and not entry.get("unknown"))

    def findings(self, severity: str) -> tuple[Entry, ...]:
        """Of sizing, settings and compatibility, by how much they weigh."""
        return tuple(entry for entry in self.head.findings if entry.get("severity") == severity)

    def is_new(self, entry: Entry) -> bool:
        """Whether the base did not say the same."""
        before = {_identity(each) for each in (*self.base.findings, *self.base.policies)}
        return _identity(entry) not in before

    @property
    def misses_state(self) -> bool:
        """Whether the backend should hold the stack and does not: what the preview shows as new may be there already."""
        return self.preview is not None and self.preview.state is State.MISSING and self.changed.how is not How.NEW

    @property
    def open_points(self) -> tuple[str, ...]:
        """What a green mark does not speak of, in words."""
        if self.changed.how is How.REMOVED:
            return ()
        words = []
        if any(entry.get("id") == NOT_SIZED for entry in self.head.findings):
            words.append("fit not checked")
        if self.preview is None:
            words.append("not previewed")
        elif self.preview.state is not State.KEPT and self.changed.how is not How.NEW:
            words.append("held against an empty state")
        return tuple(words)

    @property
    def faults(self) -> tuple[str, ...]:
        """What keeps the stack from being deployed, in words; empty where nothing does."""
        if self.changed.how is How.REMOVED:
            return ()
        words = []
        if self.head.problems:
            words.append(
                "settings refused" if "deployment" not in self.head.checked else "policy configuration refused"
            )
        if errors := self.findings("error"):
            words.append(counted(len(errors), "check failed", "checks failed"))
        if self.mandatory:
            words.append(counted(len(self.mandatory), "mandatory violation", "mandatory violations"))
        if self.preview is not None and self.preview.errors:
            words.append("preview failed")
        if self.misses_state:
            words.append("not in the backend")
        # Whatever else the check may have found: a green line never stands beside its red one.
        if not words and self.head.checked.get("status"):
            words.append("check failed")
        return tuple(words)


def counted(number: int, one: str, more: str) -> str:
    """`1 warning`, `2 warnings`."""
    return f"{number} {one if number == 1 else more}"


def _identity(entry: Entry) -> tuple[str, ...]:
    covered = "excepted" if entry.get("exception") else "unknown" if entry.get("unknown") else "open"
    return (*(str(entry.get(name, "")) for name in ("id", "resource", "where")), covered)


def _entries(value: object) -> tuple[Entry, ...]:
    return tuple(entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()
