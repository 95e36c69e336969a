"""A rolling change of a stack, host by host: which hosts, in which order, what is away meanwhile, and how it reads.

Plain data in and out. The engine of Pulumi makes the changes and the hosts drain (playbooks/module_utils/slipway_drain.py); who
talks to both is `cli/upgrade.py`.
"""
