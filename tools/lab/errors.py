"""The one error of the lab."""


class LabError(Exception):
    """What went wrong, on which host, and the mend; its text is meant for the person at the keyboard."""
