"""No workload may do everything in a cluster or a namespace, and nobody without a name may do more than look.

Administrators, as users or groups, have to be somebody. Not judged: what several rules or bindings allow together; who may
read secrets or start pods, which operators of all kinds have to.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.unknown import any_known, each, partition_known, texts
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_API = "kubernetes:rbac.authorization.k8s.io/*"
_WIDE = {"verbs": {"*"}, "resources": {"*"}, "apiGroups": {"*", "", "rbac.authorization.k8s.io"}}
"""What a rule says that gives everything away: of the API groups, the core has secrets and pods, the last one bindings."""
_CHANGES = {"cluster-admin", "admin", "edit"}
"""Kubernetes' own roles that change things."""
_EVERYBODY = {"system:authenticated", "system:serviceaccounts"}
_NOBODY = {"system:unauthenticated", "system:anonymous"}
"""Whoever reaches the API server."""
_OWN = "system:"
"""What names of the roles begin with that Kubernetes itself binds to everybody, such as `system:public-info-viewer`."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Rules of roles, and subjects of bindings."""
    yield from each(resource.inputs, "subjects" if resource.inputs.has("roleRef") else "rules")


def check(item: Node, about: About) -> Iterator[Violation]:
    """Neither a rule of a role nor a binding gives everything away."""
    inputs = about.resource.inputs
    if inputs.has("roleRef"):
        yield from _bound(item, inputs)
        return
    narrow, unknown = partition_known(
        _WIDE, lambda key: not any_known(texts(item, key), lambda text: text.get() in _WIDE[key])
    )
    if narrow or item.has("resourceNames"):
        return
    if unknown is not None:
        raise unknown
    yield violation(item, "resources", what="all verbs on all resources are allowed")


def _bound(subject: Node, binding: Node) -> Iterator[Violation]:
    role = str(binding.get("roleRef", "name"))
    if subject.get("kind") == "ServiceAccount":
        if role == "cluster-admin":
            yield violation(subject, "name", what="the service account has cluster-admin")
        return
    name = str(subject.get("name"))
    if name in _NOBODY:
        if not role.startswith(_OWN):
            yield violation(subject, "name", what=f"whoever reaches the API server has {role}, without a key")
    elif role in _CHANGES and (name in _EVERYBODY or name.startswith("system:serviceaccounts:")):
        yield violation(subject, "name", what=f"everybody of {name} has {role}")


RULE = Rule(
    id="k8s-least-privilege",
    title="Roles allow what a workload uses, and not everything",
    group=Group.KUBERNETES,
    severity=Severity.HIGH,
    reason="whoever takes over one pod has the cluster's secrets, and all pods on its GPUs",
    mend="name the verbs and the resources that the workload uses, in a role of its namespace",
    source="CIS Kubernetes Benchmark v1.9.0, 5.1.1 and 5.1.3",
    url="https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
    types=(_API,),
    items=items,
    check=check,
)
