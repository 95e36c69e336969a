"""Ollama, built here from pinned Go modules: for labs, and for sites that reach package registries only.

Others take the official release, which runs on GPUs as well and chooses its CPU kernels at run time.
"""
