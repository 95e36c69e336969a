"""Why a rolling change does not begin."""

from slipway.errors import UserMistake


class UpgradeError(UserMistake):
    """Nothing was touched; the text says what, where and the mend."""
