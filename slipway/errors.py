"""Mistakes of the person at the keyboard, whatever part of Slipway finds them."""


class UserMistake(ValueError):  # noqa: N818 - the mistake is not the program's
    """Something that the user can mend; commands end with its `report` and status 2, never with a traceback."""

    @property
    def report(self) -> str:
        """What the user reads: what, where, the consequence and the mend."""
        return str(self)
