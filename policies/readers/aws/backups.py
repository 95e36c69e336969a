"""What takes backups of an AWS resource besides the resource itself."""

from __future__ import annotations

from fnmatch import fnmatchcase

from policies.node import Node
from policies.readers.unknown import same
from policies.resources import Resource, Stack

BACKUP_POLICY = "aws:efs/backupPolicy:BackupPolicy"
SELECTION = "aws:backup/selection:Selection"


def policy_of(policy: Resource, files: Resource) -> bool:
    """Whether an EFS backup policy is that of this file system."""
    return policy.refers_to(files) or same(policy.inputs.node("fileSystemId"), files.outputs.node("id"))


def in_a_plan(resource: Resource, stack: Stack) -> bool:
    """Whether a plan of AWS Backup in the stack selects the resource: by reference, by its tags, or with all others.

    Raises:
        UnknownValueError: a tag or a name that decides is not known yet.
    """
    return any(_selects(selection, resource) for selection in stack.of_type(SELECTION))


def _selects(selection: Resource, resource: Resource) -> bool:
    if not _meets_conditions(selection.inputs, resource):
        return False
    if selection.refers_to(resource):
        return not selection.refers_to(resource, by="notResources")
    tags = resource.inputs.get("tags", default={})
    if any(tags.get(tag.get("key")) == tag.get("value") for tag in selection.inputs.each("selectionTags")):
        return True
    patterns = [entry.data for entry in selection.inputs.each("resources") if isinstance(entry.data, str)]
    if not patterns or "*" in patterns:
        return bool(patterns)
    arn = str(resource.outputs.get("arn"))
    return any(fnmatchcase(arn, pattern) for pattern in patterns)


def _meets_conditions(selection: Node, resource: Resource) -> bool:
    """Whether the resource's tags meet every condition of the selection."""
    for condition in selection.each("conditions"):
        for operator, tests in condition.entries():
            for test in tests.each():
                name = str(test.get("key")).removeprefix("aws:ResourceTag/")
                own = str(resource.inputs.get("tags", name, default=""))
                same = fnmatchcase(own, str(test.get("value"))) if "Like" in operator else own == test.get("value")
                if same is ("Not" in operator):
                    return False
    return True
