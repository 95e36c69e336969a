"""Readers of inference engines: where they are started, and in which terms."""
