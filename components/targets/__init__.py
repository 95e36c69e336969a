"""Targets: each makes the machines of its pools, or has them, and says where they are reached. One module or folder each."""
