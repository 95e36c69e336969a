"""Errors that end a command with a message instead of a traceback."""


class UserError(Exception):
    """What went wrong, where, and the mend, in one line. ``status`` is the command's exit status."""

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
