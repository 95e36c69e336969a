"""The review of a change: from the stacks before and after, and the engine's previews, to one comment in Markdown.

Plain computation. What a stack's checks and policies say comes in as the data of `slipway check --json`, and what the engine
would do as the JSON of `pulumi preview`; nothing is asked of a host, a cloud or a code-review service.
"""

from slipway.review.changes import Changed, Changes, ChangesError, How, changes
from slipway.review.comment import MARKER, comment
from slipway.review.declared import Difference, Fact, Kind
from slipway.review.deployment import Capacity, MonthlyCost, capacities, monthly_cost, pool_costs
from slipway.review.preview import Preview, read_preview
from slipway.review.stack import Review, Side

__all__ = [
    "MARKER",
    "Capacity",
    "Changed",
    "Changes",
    "ChangesError",
    "Difference",
    "Fact",
    "How",
    "Kind",
    "MonthlyCost",
    "Preview",
    "Review",
    "Side",
    "capacities",
    "changes",
    "comment",
    "monthly_cost",
    "pool_costs",
    "read_preview",
]
