"""The Pulumi engine of this machine, and a language host in Python for machines that have no official one.

`install` decides which engine is used and puts it beside the virtual environment's Python; `language_host` is what that
engine starts to run programs, policy packs and plugins that are written in Python.
"""
