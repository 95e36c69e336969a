"""What a stack's YAML may say, validated before anything is touched."""

from slipway.settings.errors import SettingsError
from slipway.settings.load import check_files, parse
from slipway.settings.platform import Settings

__all__ = ["Settings", "SettingsError", "check_files", "parse"]
