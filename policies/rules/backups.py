"""Data that can't be made again have backups. What a tag calls scratch needs none."""

from collections.abc import Callable, Iterator, Mapping

from policies.node import Node
from policies.readers.aws.backups import BACKUP_POLICY, in_a_plan, policy_of
from policies.readers.aws.tags import is_scratch
from policies.resources import Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

INSTANCE = "aws:rds/instance:Instance"
TABLE = "aws:dynamodb/table:Table"
FILES = "aws:efs/fileSystem:FileSystem"

DEFAULT_DAYS = {
    INSTANCE: 0,
    "aws:rds/cluster:Cluster": 1,
    "aws:docdb/cluster:Cluster": 1,
    "aws:neptune/cluster:Cluster": 1,
}
"""By type the days that the provider sets where nothing is said."""


def _database(resource: Resource, about: About) -> Iterator[Violation]:
    """Automated backups are kept for long enough; a read replica has its source's."""
    days = int(resource.inputs.number("backupRetentionPeriod", default=DEFAULT_DAYS[resource.type]))
    if days < about.parameters["minDays"] and not _is_replica(resource.inputs):
        kept = f"backups are kept for {days} days" if days else "no backups are made"
        yield violation(resource.inputs, "backupRetentionPeriod", what=f"{kept}; at least {_days(about)} are asked for")


def _is_replica(inputs: Node) -> bool:
    # Whichever source it is: a value that is not known yet is one all the same.
    return any(inputs.has(key) for key in ("replicateSourceDb", "replicationSourceIdentifier"))


def _days(about: About) -> int:
    return int(about.parameters["minDays"])


def _table(resource: Resource, about: About) -> Iterator[Violation]:
    """Point-in-time recovery is on, and reaches back far enough."""
    recovery = resource.inputs.node("pointInTimeRecovery")
    if not recovery.get("enabled", default=False):
        yield violation(recovery, "enabled", what="the table has no point-in-time recovery")
    elif (days := int(recovery.number("recoveryPeriodInDays", default=35))) < _days(about):
        what = f"recovery reaches {days} days back; at least {_days(about)} are asked for"
        yield violation(recovery, "recoveryPeriodInDays", what=what)


def _files(resource: Resource, about: About) -> Iterator[Violation]:
    """A backup policy of the stack is on for the file system."""
    if not any(
        policy_of(policy, resource) and policy.inputs.get("backupPolicy", "status") == "ENABLED"
        for policy in about.stack.of_type(BACKUP_POLICY)
    ):
        yield violation(resource.inputs, what="no backup policy of the stack is enabled for the file system")


CHECKS: Mapping[str, Callable[[Resource, About], Iterator[Violation]]] = {
    **dict.fromkeys(DEFAULT_DAYS, _database),
    TABLE: _table,
    FILES: _files,
}


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """It has backups of its own, or a plan of AWS Backup in the stack takes them."""
    if is_scratch(about.resource, about.parameters["scratchTag"]):
        return
    found = list(CHECKS[about.resource.type](about.resource, about))
    if found and not in_a_plan(about.resource, about.stack):
        yield from found


RULE = Rule(
    id="backups",
    title="Databases, tables and file systems have backups",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="what is deleted or overwritten by mistake can't be had back",
    mend="keep backups for minDays or longer, select it in a plan of AWS Backup, or tag it scratch where it can go",
    source="AWS Foundational Security Best Practices, RDS.11, DynamoDB.2 and EFS.2",
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/rds-controls.html",
    types=tuple(CHECKS),
    scope=Scope.STACK,
    check=check,
    parameters={
        "minDays": {
            "type": "integer",
            "minimum": 1,
            "maximum": 35,
            "default": 7,
            "description": "Backups are kept for at least so many days.",
        },
        "scratchTag": {
            "type": "string",
            "minLength": 1,
            "default": "scratch",
            "description": "Resources with this tag set to true need no backups, in any stack.",
        },
    },
)
