"""Readers of gateways: their configuration, where their requests go, and who may call."""
