"""A front speaks TLS 1.2 or newer only.

Not judged: security policies of classic load balancers, TLS settings of nginx, redirects by routes of a Gateway or of Istio.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from policies.node import Key, Node, UnknownValueError
from policies.readers.kubernetes.ingresses import INGRESSES, group_of, parameters_of
from policies.readers.tables import table
from policies.readers.unknown import Question, any_known, texts
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation, whole

_GOOD = ("TLSv1.2", "TLSv1.3")
_OLD_ISTIO = {"TLSV1_0", "TLSV1_1"}
_SSL_REDIRECT = "nginx.ingress.kubernetes.io/ssl-redirect"
_FORCE_SSL_REDIRECT = "nginx.ingress.kubernetes.io/force-ssl-redirect"
_ALB = "alb.ingress.kubernetes.io/"
_CERTIFICATES = ("certificateArn", "certificateARNs")
"""Of a class's parameters, as the AWS Load Balancer Controller and as EKS Auto Mode write it."""
_RULES = ("aws:lb/listenerRule:ListenerRule", "aws:alb/listenerRule:ListenerRule")
_SAID = ("metadata", "annotations")
_SECURE = re.compile(r"secure|https|tls|443")


def _listener(listener: Node, about: About) -> Iterator[Violation]:
    """Of an application or network load balancer. TCP goes through to whoever ends TLS behind it."""
    # A gateway load balancer has neither protocol nor port; elsewhere HTTP is what an absent protocol means.
    protocol = str(listener.get("protocol", default="HTTP" if listener.has("port") else "GENEVE")).upper()
    if protocol == "HTTP" and any_known(_actions(listener, about), _answers):
        yield violation(
            listener,
            "protocol",
            what="the listener answers over HTTP without TLS",
            mend="have it redirect to HTTPS, and serve on a listener of protocol HTTPS",
        )
    if protocol in {"HTTPS", "TLS"}:
        policy = str(listener.get("sslPolicy", default=table("front-tls")["defaultPolicy"]))
        yield from _policy(listener, "sslPolicy", policy=policy)


def _policy(node: Node, *keys: Key, policy: str) -> Iterator[Violation]:
    """A security policy of Elastic Load Balancing."""
    if any(fnmatchcase(policy, old) for old in table("front-tls")["oldPolicies"]):
        yield violation(
            node,
            *keys,
            what=f"the policy {policy} admits TLS 1.0 or 1.1",
            mend="set it to ELBSecurityPolicy-TLS13-1-2-2021-06",
        )


def _actions(listener: Node, about: About) -> Iterator[Node]:
    """The listener's own, and those of its rules."""
    yield from listener.each("defaultActions")
    for rule in about.stack.of_type(*_RULES):
        if rule.refers_to(about.resource):
            yield from rule.inputs.each("actions")


def _answers(action: Node) -> bool:
    """Whether it does more than send to HTTPS, or away. A redirect without a protocol keeps the one that it is asked by."""
    kind = action.get("type")
    return kind != "fixed-response" and (kind, action.get("redirect", "protocol")) != ("redirect", "HTTPS")


def _classic(listener: Node, about: About) -> Iterator[Violation]:
    """Of a classic load balancer."""
    if str(listener.get("lbProtocol")).casefold() == "http":
        yield violation(
            listener, "lbProtocol", what="the listener answers over HTTP without TLS", mend="set lbProtocol to https"
        )


def _behaviour(item: Node, about: About) -> Iterator[Violation]:
    """Of CloudFront's cache."""
    if item.get("viewerProtocolPolicy") == "allow-all":
        yield violation(
            item,
            "viewerProtocolPolicy",
            what="CloudFront answers over HTTP without TLS",
            mend="set it to redirect-to-https or https-only",
        )


def _viewers(item: Node, about: About) -> Iterator[Violation]:
    """CloudFront's certificate."""
    if item.get("cloudfrontDefaultCertificate"):
        yield violation(
            item,
            "cloudfrontDefaultCertificate",
            what="with CloudFront's own certificate viewers may speak TLSv1, whatever the minimum says",
            mend="give it a certificate of its own, and set minimumProtocolVersion to TLSv1.2_2021",
        )
    elif not (oldest := str(item.get("minimumProtocolVersion", default="TLSv1"))).startswith(_GOOD):
        yield violation(
            item,
            "minimumProtocolVersion",
            what=f"viewers may speak {oldest}",
            mend="set it to TLSv1.2_2021 or newer",
        )


def _origin(version: Node, about: About) -> Iterator[Violation]:
    """One version that CloudFront speaks with an origin."""
    if version.get() not in _GOOD:
        yield violation(version, what=f"CloudFront may speak {version.get()} with the origin", mend="name TLSv1.2 only")


def _domain(domain: Node, about: About) -> Iterator[Violation]:
    """Of API Gateway."""
    if domain.get("securityPolicy") == "TLS_1_0":
        yield violation(domain, "securityPolicy", what="callers may speak TLS 1.0", mend="set it to TLS_1_2")


def _ingress(ingress: Node, about: About) -> Iterator[Violation]:
    """TLS by the Ingress itself, or by what its controller reads in annotations."""
    annotations = table("front-tls")["ingress"]
    given = any(ingress.has(*_SAID, name) for name in annotations["given"])
    if given or any(ingress.each("spec", "tls")) or _certified(ingress, about):
        return
    if not any_known(annotations["saying"].items(), lambda said: said[1] in str(ingress.get(*_SAID, said[0]))):
        yield violation(
            ingress,
            *("spec", "tls"),
            what="the Ingress answers over HTTP without TLS",
            mend="give it a certificate in spec.tls",
        )


def _certified(ingress: Node, about: About) -> bool:
    """Whether its class has a certificate for all of its Ingresses, or its group redirects."""
    if any(parameters.has("spec", key) for parameters in parameters_of(ingress, about.stack) for key in _CERTIFICATES):
        return True
    return _redirects(ingress, about)


def _nginx(ingress: Node, about: About) -> Iterator[Violation]:
    """The redirect of nginx; without a certificate there is none in any case."""
    redirects = ingress.get(*_SAID, _SSL_REDIRECT) != "false" or ingress.get(*_SAID, _FORCE_SSL_REDIRECT) == "true"
    if not redirects and any(ingress.each("spec", "tls")):
        yield violation(
            ingress,
            *(*_SAID, _SSL_REDIRECT),
            what="nginx answers over HTTP as well, and redirects nobody",
            mend="leave the annotation out",
        )


def _application(ingress: Node, about: About) -> Iterator[Violation]:
    """The listeners of an application load balancer, where the Ingress names them beside a certificate."""
    listens = [name for each in ingress.document(*_SAID, f"{_ALB}listen-ports").each() for name, _ in each.entries()]
    certified = ingress.has(*_SAID, f"{_ALB}certificate-arn") or any(ingress.each("spec", "tls"))
    if "HTTP" in listens and (certified or "HTTPS" in listens) and not _redirects(ingress, about):
        yield violation(
            ingress,
            *(*_SAID, f"{_ALB}listen-ports"),
            what="the load balancer answers over HTTP as well, and redirects nobody",
            mend=f"add the annotation {_ALB}ssl-redirect, with port 443",
        )


def _redirects(ingress: Node, about: About) -> bool:
    """Whether it redirects, or all do that share its load balancer: by its group, or its class."""
    if ingress.has(*_SAID, f"{_ALB}ssl-redirect"):
        return True
    actions = (node for name, node in ingress.entries(*_SAID) if name.startswith(f"{_ALB}actions."))
    if any_known(actions, lambda action: '"HTTPS"' in str(action.get())):
        return True
    if any_known(group_of(ingress, about.stack), lambda other: other.has(*_SAID, f"{_ALB}ssl-redirect")):
        return True
    return any(parameters.has("spec", "sslRedirectPort") for parameters in parameters_of(ingress, about.stack))


def _application_policy(ingress: Node, about: About) -> Iterator[Violation]:
    """The security policy of an application load balancer. One that is not named is the controller's."""
    keys = (*_SAID, f"{_ALB}ssl-policy")
    yield from _policy(ingress, *keys, policy=str(ingress.get(*keys)))


def _gateway(gateway: Node, about: About) -> Iterator[Violation]:
    """Of the Gateway API. Beside one with TLS, a listener with HTTP may be there to redirect."""
    protocols = {listener.get("protocol") for listener in gateway.each("spec", "listeners")}
    if "HTTP" in protocols and not protocols & {"HTTPS", "TLS"}:
        yield violation(
            gateway,
            *("spec", "listeners"),
            what="every listener of the Gateway answers over HTTP without TLS",
            mend="add a listener of protocol HTTPS with a certificate, and have the other redirect",
        )


def _istio(server: Node, about: About) -> Iterator[Violation]:
    """One server of Istio's Gateway."""
    oldest = server.get("tls", "minProtocolVersion")
    if oldest in _OLD_ISTIO:
        yield violation(
            server,
            *("tls", "minProtocolVersion"),
            what=f"callers may speak {oldest}",
            mend="set it to TLSV1_2",
        )
    if server.get("port", "protocol") in {"HTTP", "HTTP2", "GRPC"} and not server.get("tls", "httpsRedirect"):
        yield violation(
            server,
            *("port", "protocol"),
            what="the server answers over HTTP without TLS",
            mend="set tls.httpsRedirect, and serve on a server of protocol HTTPS",
        )


def _traefik(route: Node, about: About) -> Iterator[Violation]:
    """An IngressRoute of Traefik. An entry point for TLS may have its certificate in Traefik's own configuration."""
    if route.node("spec", "tls").data is not None:
        return
    points = [str(point) for point in route.get("spec", "entryPoints", default=[])]
    if any(map(_SECURE.search, points)):
        return
    # A middleware may be there to redirect.
    if any(each.has("middlewares") for each in route.each("spec", "routes")):
        return
    yield violation(
        route,
        *("spec", "tls"),
        what="the route answers over HTTP without TLS",
        mend="give it a certificate in spec.tls",
    )


def _openshift(route: Node, about: About) -> Iterator[Violation]:
    """A Route of OpenShift."""
    if not route.get("spec", "tls"):
        yield violation(
            route, *("spec", "tls"), what="the Route answers over HTTP without TLS", mend="set spec.tls.termination"
        )
    elif route.get("spec", "tls", "insecureEdgeTerminationPolicy") == "Allow":
        yield violation(
            route,
            *("spec", "tls", "insecureEdgeTerminationPolicy"),
            what="the Route answers over HTTP as well, and redirects nobody",
            mend="set it to Redirect",
        )


def _offered(version: Node, about: About) -> Iterator[Violation]:
    """Of Slipway's platform: one version that its front offers."""
    if version.get() not in _GOOD:
        yield violation(version, what=f"the front offers {version.get()}", mend="offer TLSv1.2 and TLSv1.3 only")


_Where = Callable[[Resource], Iterable[Node]]


def _at(*keys: Key) -> _Where:
    """The elements of the list there, or the map."""
    return lambda resource: resource.inputs.each(*keys)


def _one(*keys: Key) -> _Where:
    return lambda resource: [resource.inputs.node(*keys)]


def _origins(resource: Resource) -> Iterator[Node]:
    for origin in resource.inputs.each("origins"):
        yield from texts(origin, "customOriginConfig", "originSslProtocols")


_Questions = tuple[tuple[_Where, Callable[[Node, About], Iterable[Violation]]], ...]
_OF_INGRESS: _Questions = (
    (whole, _ingress),
    (whole, _nginx),
    (whole, _application),
    (whole, _application_policy),
)
_ASKED: dict[str, _Questions] = {
    "aws:lb/listener:Listener": ((whole, _listener),),
    "aws:alb/listener:Listener": ((whole, _listener),),
    "aws:elb/loadBalancer:LoadBalancer": ((_at("listeners"), _classic),),
    "aws:cloudfront/distribution:Distribution": (
        (_one("defaultCacheBehavior"), _behaviour),
        (_at("orderedCacheBehaviors"), _behaviour),
        (_one("viewerCertificate"), _viewers),
        (_origins, _origin),
    ),
    "aws:apigateway/domainName:DomainName": ((whole, _domain),),
    **dict.fromkeys(INGRESSES, _OF_INGRESS),
    "kubernetes:gateway.networking.k8s.io/v1:Gateway": ((whole, _gateway),),
    "kubernetes:gateway.networking.k8s.io/v1beta1:Gateway": ((whole, _gateway),),
    "kubernetes:networking.istio.io/*:Gateway": ((_at("spec", "servers"), _istio),),
    "kubernetes:traefik.io/*:IngressRoute": ((whole, _traefik),),
    "kubernetes:route.openshift.io/*:Route": ((whole, _openshift),),
    PLATFORM: ((_at("front", "tlsVersions"), _offered),),
}
"""By type what is judged, and how."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Listeners and what else says how a front speaks."""
    (asked,) = (asked for kind, asked in _ASKED.items() if fnmatchcase(resource.type, kind))
    for where, question in asked:
        try:
            for item in where(resource):
                yield Question(item, question)
        except UnknownValueError as unknown:
            yield unknown


def check(asked: Question, about: About) -> Iterator[Violation]:
    """TLS 1.2 or newer, and nothing without TLS but a redirect."""
    yield from asked.answers(about)


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
    scope=Scope.STACK,
    items=items,
    check=check,
)
