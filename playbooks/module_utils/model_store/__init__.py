"""The files of a model on their way to a host, and there: fetched in rounds, verified, and whole or not taken for it.

Ansible's module ``stored_files`` and `slipway store` use it. It runs in a host's own Python and needs the standard library, rsync
and curl.
"""
