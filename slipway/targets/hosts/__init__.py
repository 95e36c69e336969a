"""Hosts that one owns: their addresses stand in the settings."""
