"""A model that is fetched is pinned: by a commit of its repository, or by its files' digests.

Fetched are models, and the tokenizer, draft model and adapters beside them; by an engine, or by a command such as `hf download`.
Not judged: downloads by a program of one's own.
"""

import re
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import TYPES, launches
from policies.readers.engines.sources import called, fetched, hub_is_off
from policies.readers.scripts.shell import clean
from policies.readers.scripts.startup import Script, scripts
from policies.readers.unknown import unknown_as_item
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_COMMIT = re.compile(r"[0-9a-f]{40}")


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Starts of engines, and scripts."""
    yield from launches(resource)
    yield from unknown_as_item(scripts(resource))


def check(item: Launch | Script, about: About) -> Iterator[Violation]:
    """Hubs give a commit, mirrors and the buckets of a platform a digest for each file."""
    # A path, on whichever machine, fetches nothing. Object stores (s3://…) have no revision that an engine itself could ask
    # for: who may write there is what settles it, so rule model-sources is for them.
    if isinstance(item, ContainerLaunch):
        yield from _container(item)
    elif isinstance(item, Script):
        yield from _downloads(item)
    else:
        yield from _platform(item)


def _platform(launch: Launch) -> Iterator[Violation]:
    kind = launch.get("source", "kind")
    if kind == "hub":
        said = launch.get("source", "revision")
        if not _is_commit(said):
            what = f"{launch.get('source', 'repository')}, for {called(launch)}, is fetched from a hub {_by(said)}"
            yield violation(launch, "source", "revision", what=what)
    elif kind in {"mirror", "s3"} and not launch.get("source", "sha256"):
        address = clean(launch.get("source", "url", default=""))
        what = f"the files of {called(launch)} are fetched from {address} without digests to compare them with"
        mend = "list every file with its SHA-256 under source.sha256"
        yield violation(launch, "source", "sha256", what=what, mend=mend)


def _container(launch: ContainerLaunch) -> Iterator[Violation]:
    for each in fetched(launch):
        # With the hub switched off, what is in the image or on the volume is loaded and nothing is fetched.
        if not _is_commit(each.revision) and not hub_is_off(launch):
            what = f"{each.what} is fetched from a hub {_by(each.revision)}"
            yield Violation(where=launch.path, value=each.repository, what=what)


def _downloads(script: Script) -> Iterator[Violation]:
    for each in script.downloads():
        # A shell's variable that the command does not hold.
        if each.revision is not None and "$" in each.revision:
            raise UnknownValueError(script.path)
        if not _is_commit(each.revision):
            shown = "[secret]" if script.hidden else each.repository
            what = f"what is downloaded from a hub comes {_by(each.revision)}"
            yield Violation(where=script.path, value=shown, what=what, mend="add --revision with the full commit")


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
    items=items,
    check=check,
)
