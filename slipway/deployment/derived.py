"""Secrets that follow from one of the stack's."""

import hashlib
import hmac

from slipway.settings.types import Secret


def derived(secret: Secret, purpose: str, characters: int = 64) -> Secret:
    """A secret for one purpose, hexadecimal, from which neither `secret` nor another purpose's can be found."""
    digest = hmac.new(secret.get_secret_value().encode(), f"slipway {purpose}".encode(), hashlib.sha256)
    return Secret(digest.hexdigest()[:characters])
