"""Hosts that one owns and that an Ansible inventory lists already; it is read as it is, by Ansible's own reader."""
