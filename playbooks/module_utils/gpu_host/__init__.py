"""What a GPU host is and whether it is well. Runs on the host itself.

Ansible bundles this package with module `gpu_checks`, `slipway doctor` sends it over SSH, and role `gpu_watch` installs it for
its timer. So it needs nothing but the standard library of any Python from 3.9 on, and knows nothing of the stack but what its
order says (`slipway.doctor.order`).
"""
