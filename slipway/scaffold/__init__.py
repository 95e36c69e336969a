"""Make a stack's file: work out what it is to say, write it down, validate it, put it in its place.

Nothing here asks a question, a host or a network; `cli.init` does the asking.
"""

from slipway.scaffold.draft import Draft, for_tier
from slipway.scaffold.errors import InitError
from slipway.scaffold.file import Written, free_name, write
from slipway.scaffold.from_plan import for_option, read_plan
from slipway.scaffold.hosts import Access, access
from slipway.scaffold.text import stack_text

__all__ = [
    "Access",
    "Draft",
    "InitError",
    "Written",
    "access",
    "for_option",
    "for_tier",
    "free_name",
    "read_plan",
    "stack_text",
    "write",
]
