"""A front speaks TLS 1.2 or newer only."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Items, Rule, Severity, Violation, violation, whole
from policies.subjects.exposure import table

_GOOD = ("TLSv1.2", "TLSv1.3")
_SSL_REDIRECT = "nginx.ingress.kubernetes.io/ssl-redirect"
_FORCE_SSL_REDIRECT = "nginx.ingress.kubernetes.io/force-ssl-redirect"


def _listener(listener: Node) -> Iterator[Violation]:
    """Of an application or network load balancer. TCP goes through to whoever ends TLS behind it."""
    # A gateway load balancer has neither protocol nor port; elsewhere HTTP is what an absent protocol means.
    protocol = listener.get("protocol", default="HTTP" if listener.has("port") else "GENEVE")
    if protocol == "HTTP" and not all(_to_https(action) for action in listener.each("defaultActions")):
        yield violation(
            listener,
            "protocol",
            what="the listener answers over HTTP without TLS",
            mend="have it redirect to HTTPS, and serve on a listener of protocol HTTPS",
        )
    if protocol in {"HTTPS", "TLS"}:
        policy = listener.get("sslPolicy", default=table("front-tls")["defaultPolicy"])
        if any(fnmatchcase(policy, old) for old in table("front-tls")["oldPolicies"]):
            yield violation(
                listener,
                "sslPolicy",
                what=f"the policy {policy} admits TLS 1.0 or 1.1",
                mend="set sslPolicy to ELBSecurityPolicy-TLS13-1-2-2021-06",
            )


def _to_https(action: Node) -> bool:
    # A redirect that names no protocol keeps the one that it is asked by.
    return (action.get("type"), action.get("redirect", "protocol")) == ("redirect", "HTTPS")


def _classic(listener: Node) -> Iterator[Violation]:
    """Of a classic load balancer."""
    if str(listener.get("lbProtocol")).casefold() == "http":
        yield violation(
            listener, "lbProtocol", what="the listener answers over HTTP without TLS", mend="set lbProtocol to https"
        )


def _distribution(item: Node) -> Iterator[Violation]:
    """A cache behaviour of CloudFront, or its certificate."""
    if item.path != "viewerCertificate":
        if item.get("viewerProtocolPolicy") == "allow-all":
            yield violation(
                item,
                "viewerProtocolPolicy",
                what="CloudFront answers over HTTP without TLS",
                mend="set it to redirect-to-https or https-only",
            )
    elif item.get("cloudfrontDefaultCertificate"):
        yield violation(
            item,
            "cloudfrontDefaultCertificate",
            what="with CloudFront's own certificate viewers may speak TLSv1, whatever the minimum says",
            mend="give it a certificate of its own, and set minimumProtocolVersion to TLSv1.2_2021",
        )
    elif not (oldest := item.get("minimumProtocolVersion", default="TLSv1")).startswith(_GOOD):
        yield violation(
            item,
            "minimumProtocolVersion",
            what=f"viewers may speak {oldest}",
            mend="set it to TLSv1.2_2021 or newer",
        )


def _distribution_items(resource: Resource) -> Iterator[Node]:
    yield resource.inputs.node("defaultCacheBehavior")
    yield resource.inputs.node("viewerCertificate")
    yield from resource.inputs.each("orderedCacheBehaviors")


def _domain(domain: Node) -> Iterator[Violation]:
    """Of API Gateway."""
    if domain.get("securityPolicy") == "TLS_1_0":
        yield violation(domain, "securityPolicy", what="callers may speak TLS 1.0", mend="set it to TLS_1_2")


def _ingress(ingress: Node) -> Iterator[Violation]:
    """TLS by the Ingress itself, or by what its controller reads in annotations."""
    annotations = table("front-tls")["ingress"]
    said = ("metadata", "annotations")
    given = any(ingress.has(*said, name) for name in annotations["given"])
    saying = any(text in ingress.get(*said, name, default="") for name, text in annotations["saying"].items())
    if not (given or saying or any(ingress.each("spec", "tls"))):
        yield violation(
            ingress,
            *("spec", "tls"),
            what="the Ingress answers over HTTP without TLS",
            mend="give it a certificate in spec.tls",
        )
    elif ingress.get(*said, _SSL_REDIRECT) == "false" and ingress.get(*said, _FORCE_SSL_REDIRECT) != "true":
        yield violation(
            ingress,
            *(*said, _SSL_REDIRECT),
            what="nginx answers over HTTP as well, and redirects nobody",
            mend="leave the annotation out",
        )


def _gateway(gateway: Node) -> Iterator[Violation]:
    """Of the Gateway API. Beside one with TLS, a listener with HTTP may be there to redirect."""
    protocols = {listener.get("protocol") for listener in gateway.each("spec", "listeners")}
    if "HTTP" in protocols and not protocols & {"HTTPS", "TLS"}:
        yield violation(
            gateway,
            *("spec", "listeners"),
            what="every listener of the Gateway answers over HTTP without TLS",
            mend="add a listener of protocol HTTPS with a certificate, and have the other redirect",
        )


def _offered(version: Node) -> Iterator[Violation]:
    """Of Slipway's platform: one version that its front offers."""
    if version.get() not in _GOOD:
        yield violation(version, what=f"the front offers {version.get()}", mend="offer TLSv1.2 and TLSv1.3 only")


def _offered_items(resource: Resource) -> Iterator[Node]:
    yield from resource.inputs.each("front", "tlsVersions")


def _classic_items(resource: Resource) -> Iterator[Node]:
    yield from resource.inputs.each("listeners")


_ASKED: dict[str, tuple[Items, Callable[[Node], Iterator[Violation]]]] = {
    "aws:lb/listener:Listener": (whole, _listener),
    "aws:alb/listener:Listener": (whole, _listener),
    "aws:elasticloadbalancingv2/listener:Listener": (whole, _listener),
    "aws:elb/loadBalancer:LoadBalancer": (_classic_items, _classic),
    "aws:elasticloadbalancing/loadBalancer:LoadBalancer": (_classic_items, _classic),
    "aws:cloudfront/distribution:Distribution": (_distribution_items, _distribution),
    "aws:apigateway/domainName:DomainName": (whole, _domain),
    "kubernetes:networking.k8s.io/v1:Ingress": (whole, _ingress),
    "kubernetes:gateway.networking.k8s.io/v1:Gateway": (whole, _gateway),
    "kubernetes:gateway.networking.k8s.io/v1beta1:Gateway": (whole, _gateway),
    PLATFORM: (_offered_items, _offered),
}
"""By type what is judged, and how."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Listeners and what else says how a front speaks."""
    yield from _ASKED[resource.type][0](resource)


def check(item: Node, about: About) -> Iterator[Violation]:
    """TLS 1.2 or newer, and nothing without TLS but a redirect."""
    yield from _ASKED[about.resource.type][1](item)


RULE = Rule(
    id="tls-front",
    title="Fronts speak TLS 1.2 or newer only",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="prompts, answers and the callers' keys can be read, or changed, on their way",
    mend="end TLS 1.2 or newer at the front, and redirect what comes over HTTP",
    source="NIST SP 800-52 Revision 2, 3.1",
    url="https://csrc.nist.gov/pubs/sp/800/52/r2/final",
    types=tuple(_ASKED),
    items=items,
    check=check,
)
