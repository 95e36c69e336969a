"""What holds data is protected against deletion.

What a tag calls scratch is let go in every stack. Outside production so are keys: KMS itself waits 7 to 30 days before it
deletes one.
"""

from collections.abc import Iterator, Mapping

from policies.node import Node
from policies.readers.aws.tags import is_scratch
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

KEY = "aws:kms/key:Key"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
LUSTRE = "aws:fsx/lustreFileSystem:LustreFileSystem"
SCRATCH: Mapping[str, str | None] = {
    "aws:s3/bucket:Bucket": "forceDestroy",
    "aws:s3/bucketV2:BucketV2": "forceDestroy",
    "aws:rds/instance:Instance": "skipFinalSnapshot",
    "aws:rds/cluster:Cluster": "skipFinalSnapshot",
    "aws:docdb/cluster:Cluster": "skipFinalSnapshot",
    "aws:neptune/cluster:Cluster": "skipFinalSnapshot",
    "aws:fsx/openZfsFileSystem:OpenZfsFileSystem": "skipFinalBackup",
    "aws:fsx/windowsFileSystem:WindowsFileSystem": "skipFinalBackup",
    "aws:fsx/ontapFileSystem:OntapFileSystem": None,
    LUSTRE: None,
    "aws:dynamodb/table:Table": None,
    "aws:efs/fileSystem:FileSystem": None,
    "aws:ebs/volume:Volume": None,
    KEY: None,
}
"""Types that hold data, each with the property by which a stack says that they can go, where there is one."""
GUARDS = ("deletionProtection", "deletionProtectionEnabled", "finalSnapshot")
"""Properties with which the cloud itself refuses a deletion, or keeps a copy."""
FINAL_BACKUPS: Mapping[str, bool] = {
    "aws:fsx/openZfsFileSystem:OpenZfsFileSystem": True,
    "aws:fsx/windowsFileSystem:WindowsFileSystem": True,
    LUSTRE: False,
}
"""File systems of which AWS keeps a backup as they go, each with whether it does so unless told otherwise."""


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """It is protected, by Pulumi or by the cloud."""
    if about.resource.options.protect or is_scratch(about.resource, about.parameters["scratchTag"]):
        return
    if not about.stack.production and (about.parameters["productionOnly"] or _can_go(inputs, about)):
        return
    if not _guarded(inputs) and not _copied(inputs, about.resource.type):
        yield violation(inputs, what=f"nothing keeps {about.resource.name} from being deleted with what is in it")


def _can_go(inputs: Node, about: About) -> bool:
    """Whether outside production the stack says that the data are worth nothing. Claims there mostly hold caches."""
    if about.resource.type in {CLAIM, KEY}:
        return True
    return any(bool(inputs.get(key)) for key in filter(None, [SCRATCH[about.resource.type]]))


def _guarded(inputs: Node) -> bool:
    """Whether the cloud guards it, or there is nothing in it to lose: a copy, or scratch by its kind."""
    if any(inputs.get(key, default=False) for key in GUARDS) or inputs.has("replicateSourceDb"):
        return True
    if inputs.get("spec", "accessModes") == ["ReadOnlyMany"]:
        return True
    return str(inputs.get("deploymentType")).startswith("SCRATCH_")


def _copied(inputs: Node, kind: str) -> bool:
    """Whether a last copy stays when it is deleted."""
    if kind in FINAL_BACKUPS:
        return not inputs.get("skipFinalBackup", default=not FINAL_BACKUPS[kind])
    return inputs.has("finalSnapshotIdentifier") and not inputs.get("skipFinalSnapshot", default=False)


RULE = Rule(
    id="protect-data",
    title="What holds data is protected against deletion",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="a changed name or a `pulumi destroy` in the wrong stack takes the data with it",
    mend="set the option protect to true, or the tag scratch to true where all of it can go",
    source="Pulumi documentation, Resource option: protect",
    url="https://www.pulumi.com/docs/iac/concepts/options/protect/",
    types=(*SCRATCH, CLAIM),
    scope=Scope.STACK,
    check=check,
    parameters={
        "productionOnly": {
            "type": "boolean",
            "default": False,
            "description": "Whether only production stacks are judged. Elsewhere a bucket with forceDestroy, a database "
            "without a final snapshot, KMS keys and persistent volume claims are let go anyway.",
        },
        "scratchTag": {
            "type": "string",
            "minLength": 1,
            "default": "scratch",
            "description": "AWS resources with this tag set to true can go with what is in them, in every stack.",
        },
    },
)
