"""A model that is fetched is pinned: by a commit of its repository, or by its files' digests."""

import re
from collections.abc import Iterator

from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.launches import TYPES, ContainerLaunch, Launch, launches
from policies.subjects.sources import hub_is_off, revision, source

_COMMIT = re.compile(r"[0-9a-f]{40}")


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """Hubs give a commit, mirrors a digest for each file."""
    # A path, on whichever machine, fetches nothing. Object stores (s3://…) have no revision that an engine could ask for:
    # who may write there is what settles it, so rule model-sources is for them.
    if isinstance(launch, ContainerLaunch):
        yield from _container(launch)
        return
    kind = launch.get("model", "source", "kind")
    if kind == "hub":
        said = launch.get("model", "source", "revision")
        if not _is_commit(said):
            what = f"{launch.get('model', 'source', 'repository')} is fetched from a hub {_by(said)}"
            yield violation(launch, "model", "source", "revision", what=what)
    elif kind == "mirror" and not launch.get("model", "source", "sha256"):
        what = f"the files of {launch.get('model', 'source', 'url')} are fetched without digests to compare them with"
        mend = "list every file with its SHA-256 under model.source.sha256"
        yield violation(launch, "model", "source", "sha256", what=what, mend=mend)


def _container(launch: ContainerLaunch) -> Iterator[Violation]:
    found = source(launch)
    if found is None or found.kind != "hub":
        return
    said = revision(launch)
    # With the hub switched off, what is in the image or on the volume is loaded and nothing is fetched.
    if not _is_commit(said) and not hub_is_off(launch):
        yield Violation(where=launch.path, value=found.address, what=f"the model is fetched from a hub {_by(said)}")


def _is_commit(said: str | None) -> bool:
    return _COMMIT.fullmatch(str(said)) is not None


def _by(said: str | None) -> str:
    return f"by {said}, which moves" if said else "without a revision"


RULE = Rule(
    id="pinned-models",
    title="A model that is fetched is pinned to a commit or to its files' digests",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="the next start can load other weights, another tokenizer or other code than was tested",
    mend="give the full commit (40 hexadecimal digits), with vLLM as `--revision`",
    source="vLLM documentation, Engine Arguments, --revision; SLSA v1.0, Verifying artifacts",
    url="https://docs.vllm.ai/en/latest/configuration/engine_args/",
    types=TYPES,
    items=launches,
    check=check,
)
