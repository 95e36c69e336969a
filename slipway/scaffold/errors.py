"""What is wrong with the wish for a stack."""

from slipway.errors import UserMistake


class InitError(UserMistake):
    """No stack can be made of what was asked for: one line with what, the consequence and the mend. Nothing was written."""
