"""Secrets that stand in clear in a text."""
