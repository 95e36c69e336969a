"""Whether GPU hosts are what their stack promises, and stay so: what is asked of them, and how the answer reads.

The checks are entries of the catalogue; some are made on hosts without GPUs, too. What runs on the hosts is
playbooks/module_utils/gpu_host, which gets an order from here and nothing else. Preflight, the proof before engines start, the
watch on each host and `slipway doctor` send the same orders.
"""
