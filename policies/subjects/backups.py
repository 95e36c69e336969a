"""What takes backups of an AWS resource besides the resource itself."""

from __future__ import annotations

from policies.node import UNKNOWN, Node
from policies.resources import Resource, Stack

BACKUP_POLICY = "aws:efs/backupPolicy:BackupPolicy"
SELECTION = "aws:backup/selection:Selection"


def policy_of(policy: Resource, files: Resource) -> bool:
    """Whether an EFS backup policy is that of this file system."""
    return policy.refers_to(files) or _same(policy.inputs.node("fileSystemId"), files.outputs.node("id"))


def in_a_plan(resource: Resource, stack: Stack) -> bool:
    """Whether a plan of AWS Backup in the stack selects the resource: by reference, by its tags, or with all others.

    Raises:
        UnknownValueError: a tag that decides is not known yet.
    """
    return any(_selects(selection, resource) for selection in stack.of_type(SELECTION))


def _selects(selection: Resource, resource: Resource) -> bool:
    if selection.refers_to(resource):
        return not any(
            resource.urn in urns for key, urns in selection.dependencies.items() if key.startswith("notResources")
        )
    if any(entry.data == "*" for entry in selection.inputs.each("resources")):
        return True
    tags = resource.inputs.get("tags", default={})
    return any(
        tag.get("key") in tags and tags[tag.get("key")] == tag.get("value")
        for tag in selection.inputs.each("selectionTags")
    )


def _same(one: Node, other: Node) -> bool:
    """Whether both are known, and the same."""
    return one.data is not None and one.data is not UNKNOWN and one.data == other.data
