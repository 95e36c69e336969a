"""A Pulumi provider plugin with one resource: `Playbook`, an Ansible role applied to one host.

`provider.resource` is for programs; the rest is the plugin, which the engine starts (`python provider ENGINE_ADDRESS`).
Nothing is imported here: programs, the plugin and its pool's workers each need another part, and all three start often.
"""
