"""Ansible plugins that the provider brings along; Ansible itself loads them."""
