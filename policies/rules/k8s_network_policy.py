"""Not everybody in the cluster can reach an engine or a gateway.

Not judged: selectors and rules of Cilium and Calico, besides whether they are for ingress, and Cilium's entities.
"""

from collections.abc import Iterator

from policies.readers.engines.programs import runs_engine, runs_litellm
from policies.readers.kubernetes.network_policies import covering, lets_everybody_in, may_let_everybody_in
from policies.readers.kubernetes.pods import ANY, Pod
from policies.readers.kubernetes.selection import labels_place
from policies.readers.kubernetes.workloads import containers_with_image, is_patch, running
from policies.readers.unknown import any_known, partition_known
from policies.resources import Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Pod]:
    """Pods; a patch leaves labels and namespace to others."""
    if not is_patch(resource):
        yield from running(resource)


def check(pod: Pod, about: About) -> Iterator[Violation]:
    """A policy for ingress means the pods of an engine or gateway, and does not let everybody in."""
    if not any_known(containers_with_image(pod), lambda container: runs_engine(container) or runs_litellm(container)):
        return
    place = labels_place(about.resource, pod)
    found, undecided = covering(about.resource, pod, about.stack)
    wide, first_unknown = partition_known(found, lets_everybody_in)
    for policy in wide:
        yield violation(
            place,
            what=f"NetworkPolicy {policy.name} lets everybody in to these pods, which serve a model",
            mend="name in its ingress rules who may call: from and ports",
        )
    # One that is not known yet may be the one that covers the pod, or lets everybody in.
    open_ = [unknown for policy, unknown in undecided if not found or may_let_everybody_in(policy)]
    if first_unknown is not None:
        raise first_unknown
    if open_:
        raise open_[0]
    if not found:
        yield violation(place, what="no NetworkPolicy for ingress means these pods, which serve a model")


RULE = Rule(
    id="k8s-network-policy",
    title="Engines and gateways are behind a NetworkPolicy",
    group=Group.KUBERNETES,
    severity=Severity.MEDIUM,
    reason="every pod of the cluster can call the model past the gateway, its keys and its limits",
    mend="add a NetworkPolicy to their namespace, with policyTypes [Ingress] and the callers in its ingress rules",
    source="Kubernetes documentation, Network Policies: The two sorts of pod isolation; vLLM documentation, Security",
    url="https://kubernetes.io/docs/concepts/services-networking/network-policies/",
    types=(ANY,),
    scope=Scope.STACK,
    items=items,
    check=check,
)
