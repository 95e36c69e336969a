"""What Slipway needs to know of a pool's machine, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PoolMachine:
    """One machine of a pool, as its target knows it before anything is made."""

    name: str
    """Unique in the stack: a slug, as resources, units and logs carry it."""
    pool: str
    keys: tuple[str | int, ...]
    """Where its settings stand: the place and the mend that messages name."""
    made: bool = False
    """Whether the `up` makes it, so that its addresses may be unknown before."""
    user: str
    """The SSH user."""
    port: int = 22
    """The SSH port."""
    key_file: Path | None = None
    """The SSH key; without one the SSH agent is asked."""
    host_key: str | None = None
    """Its public SSH key; None where the first one seen is kept."""
    address: str | None = None
    """Where SSH and clients reach it; None where that is known once it is made."""
    private_address: str | None = None
    """The private IP address that its peers use; None where it has none, or, of one that is made, where it is known then."""

    @property
    def has_private_address(self) -> bool:
        """Whether its services may be reached by its peers without facing the internet. What is made always has one."""
        return self.made or self.private_address is not None
