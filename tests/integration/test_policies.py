"""The policy pack in the real engine: bad stacks, good stacks, our own; unknowns, remediation, configuration, exceptions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.registry import rules
from tests.integration.policy_project import PLUGINS, PROGRAM, Answer, PolicyProject
from tests.stacks.documents import Document, documents

FOREIGN = Path(__file__).parent / "fixtures" / "foreign"
BAD, GOOD = documents("bad"), documents("good")

HALF_KNOWN = """
resources:
  - name: options
    type: aws:ec2/instance:Instance
    inputs: {metadataOptions: {httpTokens: required}, rootBlockDevice: {encrypted: true}, tags: {owner: ml}}
  - name: web
    type: aws:ec2/instance:Instance
    inputs:
      metadataOptions: {httpTokens: "${options.arn}"}
      rootBlockDevice: {encrypted: true}
      tags: {owner: ml}
      userData: !secret a-text-that-nobody-may-see
"""
OPTIONAL = """
resources:
  - name: web
    type: aws:ec2/instance:Instance
    inputs:
      metadataOptions: {httpTokens: optional}
      rootBlockDevice: {encrypted: true}
      tags: {owner: ml}
      userData: !secret a-text-that-nobody-may-see
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyProject]:
    """One project whose program registers what a file lists; each test has a stack of its own."""
    project = PolicyProject(tmp_path_factory.mktemp("policies"), PROGRAM, plugins=PLUGINS)
    yield project
    project.kill_all()


def judged(project: PolicyProject, document: Document) -> Answer:
    """A preview of the document's resources, in a stack of its name."""
    stack = f"{document.stack}-{document.id}" if document.stack in {"bad", "good"} else document.stack
    with_stack(project, stack, document.config)
    return project.judged(
        "preview", stack=stack, config=document.policies, env={"SLIPWAY_TEST_STACK": str(document.file)}
    )


def with_stack(project: PolicyProject, stack: str, config: dict[str, Any]) -> None:
    """A new stack with this configuration; one of the same name, which another test has left, is thrown away."""
    if project.run("stack", "init", stack, check=False).returncode:
        project.run("stack", "rm", "--yes", "--force", stack)
        project.run("stack", "init", stack)
    file = project.folder / f"Pulumi.{stack}.yaml"
    document = yaml.safe_load(file.read_text()) if file.exists() else {}
    file.write_text(yaml.safe_dump({**(document or {}), "config": config}))


def written(tmp_path: Path, text: str) -> dict[str, str]:
    """The environment of a program that registers what `text` lists."""
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    return {"SLIPWAY_TEST_STACK": str(file)}


def test_there_is_one_bad_stack_for_every_rule() -> None:
    assert {document.id for document in BAD} == {rule.id for rule in rules()}
    assert len(GOOD) >= 20


@pytest.mark.parametrize("document", BAD, ids=lambda document: document.id)
def test_from_a_bad_stack_exactly_its_rule_fires(project: PolicyProject, document: Document) -> None:
    answer = judged(project, document)
    assert answer.rules == [document.id], answer.output
    refused = any(said.level == "mandatory" for said in answer.violations)
    assert (answer.status != 0) is refused
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("document", GOOD, ids=lambda document: document.id)
def test_from_a_good_stack_none_fires(project: PolicyProject, document: Document) -> None:
    answer = judged(project, document)
    assert (answer.rules, answer.status) == ([], 0), answer.output


def test_what_is_unknown_is_said_and_asked_again(project: PolicyProject, tmp_path: Path) -> None:
    """A rule that took an unknown value for a good one would let the `up` pass as well."""
    with_stack(project, "unknown", {})
    env = written(tmp_path, HALF_KNOWN)
    preview = project.judged("preview", stack="unknown", env=env)
    assert preview.status == 0
    assert ("aws-imdsv2", "advisory", "web") in {(said.rule, said.level, said.name) for said in preview.unknowns}
    assert preview.rules == []
    up = project.judged("up", "--yes", "--skip-preview", stack="unknown", env=env)
    assert up.status != 0
    assert up.rules == ["aws-imdsv2"]
    assert not up.unknowns
    assert '("arn:aws:echo:::options")' in up.violations[0].message
    # It was refused before it was made.
    assert made(project, "unknown") == {"options"}


def test_remediation_is_off_until_it_is_asked_for(project: PolicyProject, tmp_path: Path) -> None:
    with_stack(project, "mended", {})
    env = written(tmp_path, OPTIONAL)
    refused = project.judged("up", "--yes", "--skip-preview", stack="mended", env=env)
    assert refused.rules == ["aws-imdsv2"]
    assert made(project, "mended") == set()
    mended = project.judged(
        "up", "--yes", "--skip-preview", stack="mended", env=env, config={"aws-imdsv2": "remediate"}
    )
    assert (mended.status, mended.rules) == (0, []), mended.output
    (web,) = [one for one in state(project, "mended") if one["type"] == "aws:ec2/instance:Instance"]
    assert web["inputs"]["metadataOptions"] == {"httpTokens": "required"}
    # What was secret before is so after it.
    assert "ciphertext" in web["inputs"]["userData"]
    assert "a-text-that-nobody-may-see" not in mended.output


def test_a_stacks_own_file_is_heeded(project: PolicyProject, tmp_path: Path) -> None:
    with_stack(project, "configured", {})
    env = written(tmp_path, OPTIONAL)
    file = project.folder / "policies/config/configured.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"aws-imdsv2": "advisory"}))
    answer = project.judged("preview", stack="configured", env=env)
    assert (answer.status, answer.rules) == (0, ["aws-imdsv2"])
    assert {said.level for said in answer.violations} == {"advisory"}
    # What is given on the command line goes before it.
    answer = project.judged("preview", stack="configured", env=env, config={"aws-imdsv2": "disabled"})
    assert (answer.status, answer.rules) == (0, [])


@pytest.mark.parametrize(
    ("expires", "rules_"), [("2099-12-31", []), ("2020-12-31", ["aws-imdsv2", "policy-exceptions"])]
)
def test_exceptions_end(project: PolicyProject, tmp_path: Path, expires: str, rules_: list[str]) -> None:
    with_stack(project, "excepted", {})
    exception = {"resource": "web", "reason": "the vendor's agent needs it", "owner": "ml-platform", "expires": expires}
    answer = project.judged(
        "preview",
        stack="excepted",
        env=written(tmp_path, OPTIONAL),
        config={"aws-imdsv2": {"exceptions": [exception]}},
    )
    assert answer.rules == rules_, answer.output
    assert (answer.status != 0) is bool(rules_)
    # A reviewer must see what was granted, and to whom.
    assert [said.level for said in answer.excepted] == ([] if rules_ else ["advisory"])
    assert ("until 2099-12-31 by ml-platform: the vendor's agent needs it" in answer.output) is not bool(rules_)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"aws-imdsv3": "mandatory"},
            "aws-imdsv3: there is no such rule; nothing would be judged by it: did you mean aws-imdsv2?",
        ),
        ({"aws-imdsv2": {"exceptions": [{"resource": "web"}]}}, "reason"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(
    project: PolicyProject, tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    with_stack(project, "refused", {})
    env = written(tmp_path, OPTIONAL)
    file = project.folder / "policies/config/refused.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    own = project.judged("preview", stack="refused", env=env)
    file.unlink()
    given = project.judged("preview", stack="refused", env=env, config=document)
    for answer in (own, given):
        assert answer.status != 0
        assert said in answer.output
        assert "Traceback" not in answer.output
        assert not answer.said


@pytest.mark.parametrize("all_", ["advisory", {"enforcementLevel": "advisory"}])
def test_all_holds_in_the_engine_as_it_does_without_it(project: PolicyProject, tmp_path: Path, all_: Any) -> None:
    with_stack(project, "everything", {})
    env = written(tmp_path, OPTIONAL)
    file = project.folder / "policies/config/everything.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"all": all_}))
    own = project.judged("preview", stack="everything", env=env)
    file.unlink()
    given = project.judged("preview", stack="everything", env=env, config={"all": all_})
    for answer in (own, given):
        assert (answer.status, answer.rules) == (0, ["aws-imdsv2"]), answer.output
        assert {said.level for said in answer.violations} == {"advisory"}


def test_a_program_below_the_project_has_the_projects_configuration(tmp_path: Path) -> None:
    """The engine starts packs where the program is."""
    project = PolicyProject(tmp_path, PROGRAM, plugins=PLUGINS, main="src")
    try:
        (project.folder / "src").mkdir()
        (project.folder / "__main__.py").rename(project.folder / "src/__main__.py")
        file = project.folder / "policies/config/test.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"aws-imdsv2": "disabled"}))
        answer = project.judged("preview", env=written(tmp_path, OPTIONAL))
    finally:
        project.kill_all()
    assert (answer.status, answer.rules) == (0, []), answer.output


def test_a_provider_of_a_cluster_that_is_not_there_yet(project: PolicyProject, tmp_path: Path) -> None:
    """Its kubeconfig is not known at the first preview; what is made with it is judged all the same."""
    with_stack(project, "cluster", {})
    text = """
resources:
  - name: cluster
    type: aws:s3/bucketLogging:BucketLogging
    inputs: {}
  - name: web
    type: kubernetes:core/v1:Service
    inputs: {metadata: {name: web}, spec: {type: ClusterIP}}
    provider: {kubeconfig: "${cluster.kubeconfig}"}
"""
    answer = project.judged("preview", stack="cluster", env=written(tmp_path, text))
    assert (answer.status, answer.rules) == (0, []), answer.output


def test_no_process_stays(project: PolicyProject, tmp_path: Path) -> None:
    with_stack(project, "quiet", {})
    project.judged("preview", stack="quiet", env=written(tmp_path, OPTIONAL))
    assert project.gone_within(4.0) == []


PLANTED = {
    ("ssh-world", "admin"),
    ("private-services", "engine-port"),
    ("aws-imdsv2", "bare"),
    ("aws-encrypted-disks", "bare"),
    ("pinned-packages", "bare"),
    ("denied-releases", "bare"),
    ("aws-public-buckets", "weights"),
    ("aws-least-privilege", "nodes"),
    ("log-retention", "gateway"),
    ("tensor-parallel", "spread"),
    ("pinned-images", "loose"),
    ("pinned-models", "loose"),
    ("trust-remote-code", "loose"),
    ("secrets-in-clear", "told"),
}
"""The faults of fixtures/foreign, as (rule, resource)."""


def test_faults_are_found_in_a_program_that_knows_nothing_of_slipway(tmp_path: Path) -> None:
    """Plain resources of the genuine SDKs, which have a Python environment without Slipway."""
    lock = (FOREIGN / "requirements.txt").read_bytes()
    sdks = Path(f"~/.cache/slipway/sdks-{hashlib.sha256(lock).hexdigest()[:12]}").expanduser()
    assert (sdks / "bin/python").exists(), "make setup-test installs it"
    program = (FOREIGN / "__main__.py").read_text()
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": str(sdks)}}
    project = PolicyProject(tmp_path, program, plugins=PLUGINS, runtime=runtime)
    # It may have policies of its own, where Python looks before it looks at the pack's.
    (project.folder / "policies").mkdir()
    (project.folder / "policies/__init__.py").write_text("raise AssertionError('these are not the pack')\n")
    try:
        answer = project.judged("preview", env={"PYTHONPATH": ""})
    finally:
        project.kill_all()
    assert {(said.rule, said.name) for said in answer.violations} == PLANTED, answer.output
    assert answer.status != 0
    assert "AbCdEfGhIjKlMnOpQrStUvWxYz" not in answer.output


def state(project: PolicyProject, stack: str) -> list[dict[str, Any]]:
    """The resources in the stack's state."""
    exported = json.loads(project.run("stack", "export", "--stack", stack).stdout)
    resources: list[dict[str, Any]] = exported["deployment"].get("resources", [])
    return resources


def made(project: PolicyProject, stack: str) -> set[str]:
    """Names of the instances in the stack's state."""
    return {
        one["urn"].rpartition("::")[2] for one in state(project, stack) if one["type"] == "aws:ec2/instance:Instance"
    }
