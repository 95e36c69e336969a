"""What stands in the way of an installation on a host. Runs on the host itself.

Ansible bundles this package with module `host_survey`, which preflight runs, and `slipway doctor` sends it over SSH. It needs the
standard library of any Python from 3.9 on, and of what lies beside it only what `survey` imports.
"""
