"""Readers of Kubernetes resources."""
