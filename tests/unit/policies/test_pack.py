"""The pack's server at the protocol itself, without an engine: what goes in, what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2

from policies.configuration import read_configuration
from policies.node import UNKNOWN, Node, Secret
from policies.pack import wire
from policies.pack.server import NAME, Pack
from policies.registry import rules
from policies.rule import Change
from slipway import __version__

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
INSTANCE = "aws:ec2/instance:Instance"
GOOD = {
    "metadataOptions": {"httpTokens": "required"},
    "rootBlockDevice": {"encrypted": True},
    "tags": {"owner": "ml"},
}


class RefusedError(Exception):
    """What the double of gRPC's context raises in place of ending the call."""


class Context:
    """A double of gRPC's context."""

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise RefusedError(details)


CONTEXT: Any = Context()


def struct(value: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(value)
    return message


def secret(value: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, "value": value}


def request(
    inputs: dict[str, Any], kind: str = INSTANCE, name: str = "web", **more: Any
) -> analyzer_pb2.AnalyzeRequest:
    return analyzer_pb2.AnalyzeRequest(
        type=kind, name=name, urn=f"urn:pulumi:s::p::{kind}::{name}", properties=struct(inputs), **more
    )


def pack(project: Path, stack: str = "s", config: dict[str, Any] | None = None, **more: Any) -> Pack:
    """As the engine boots it: the stack, the rules, their configuration."""
    made = Pack(project)
    made.ConfigureStack(
        analyzer_pb2.AnalyzerStackConfigureRequest(stack=stack, project="p", dry_run=True, **more), CONTEXT
    )
    info = made.GetAnalyzerInfo(empty_pb2.Empty(), CONTEXT)
    levels = {rule.name: analyzer_pb2.PolicyConfig(enforcementLevel=rule.enforcementLevel) for rule in info.policies}
    levels |= dict(info.initialConfig.items())
    for name, entry in (config or {}).items():
        levels[name].enforcementLevel = entry
    made.Configure(analyzer_pb2.ConfigureAnalyzerRequest(policyConfig=levels), CONTEXT)
    return made


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (8.0, 8),
        (0.5, 0.5),
        (True, True),
        (UNKNOWN_TEXT, UNKNOWN),
        ([UNKNOWN_TEXT, "x"], [UNKNOWN, "x"]),
        (secret("x"), Secret("x")),
        (secret({"a": [secret("x")]}), Secret({"a": [Secret("x")]})),
        ({SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}, {"text": "x"}),
        (1e300, 1e300),
        (None, None),
    ],
)
def test_plain(value: Any, plain: Any) -> None:
    got = wire.plain(value)
    assert got == plain
    assert type(got) is type(plain)


def test_a_providers_nested_settings_are_read() -> None:
    message = request(GOOD)
    message.provider.type, message.provider.name = "pulumi:providers:aws", "default"
    message.provider.properties.update({"region": "eu-central-1", "defaultTags": '{"tags":{"owner":"ml"}}'})
    provider = wire.provider(message)
    assert provider is not None
    assert provider.inputs.get("region") == "eu-central-1"
    assert provider.inputs.get("defaultTags", "tags", "owner") == "ml"


def test_what_a_provider_does_not_know_yet_is_left_unknown() -> None:
    """The first preview of every cluster: its kubeconfig is an output."""
    message = request(GOOD)
    message.provider.properties.update({"kubeconfig": UNKNOWN_TEXT, "cluster": "no", "list": "[", "context": "1_000"})
    provider = wire.provider(message)
    assert provider is not None
    assert provider.inputs.raw == {"kubeconfig": UNKNOWN, "cluster": "no", "list": "[", "context": "1_000"}


def test_numbers_that_json_lacks_are_read() -> None:
    assert wire.properties(struct({"a": float("inf"), "b": -2.0})) == {"a": float("inf"), "b": -2}


@pytest.mark.parametrize("inputs", [{"options": UNKNOWN_TEXT}, {"options": "text"}, {"options": [1.0]}])
def test_changes_leave_alone_what_they_can_not_reach(inputs: dict[str, Any]) -> None:
    assert wire.raw(wire.changed(struct(inputs), [Change(("options", "b"), "2")])) == inputs


def test_a_change_makes_the_map_that_it_needs() -> None:
    assert wire.raw(wire.changed(struct({"options": None}), [Change(("options", "b"), "2")])) == {"options": {"b": "2"}}


def test_a_mend_that_changes_nothing_is_not_reported(tmp_path: Path) -> None:
    """With no values to put in, required-tags knows no mend."""
    judge = pack(tmp_path, config={"required-tags": analyzer_pb2.REMEDIATE})
    bare = {key: value for key, value in GOOD.items() if key != "tags"}
    assert not judge.Remediate(request(bare), CONTEXT).remediations
    assert [told.policyName for told in judge.Analyze(request(bare), CONTEXT).diagnostics] == ["required-tags"]


def test_without_a_word_on_the_stack_its_name_is_that_of_the_urns(tmp_path: Path) -> None:
    """As `pulumi policy analyze` asks; else a stack called prod would be judged as a sandbox."""
    judge = Pack(tmp_path)
    assert judge._of("urn:pulumi:prod::llm::aws:s3/bucket:Bucket::w").production
    assert judge._of("urn:pulumi:dev::llm::aws:s3/bucket:Bucket::w").project == "llm"


def test_changes_leave_everything_else_as_it_was() -> None:
    inputs = {
        "options": secret({"a": "1"}),
        "unknown": UNKNOWN_TEXT,
        "list": [{"x": 1.0}],
        "password": secret("sesame"),
    }
    changed = wire.changed(
        struct(inputs),
        [Change(("options", "b"), "2"), Change(("list", 0, "y"), True), Change(("new", "deep"), "3")],
    )
    assert wire.raw(changed) == {
        "options": secret({"a": "1", "b": "2"}),
        "unknown": UNKNOWN_TEXT,
        "list": [{"x": 1.0, "y": True}],
        "password": secret("sesame"),
        "new": {"deep": "3"},
    }


def test_info_names_every_rule_with_what_a_reader_wants(tmp_path: Path) -> None:
    info = Pack(tmp_path).GetAnalyzerInfo(empty_pb2.Empty(), CONTEXT)
    assert info.name == NAME
    assert info.supportsConfig
    assert [policy.name for policy in info.policies] == [rule.id for rule in rules()]
    for policy, rule in zip(info.policies, rules(), strict=True):
        assert policy.description == f"{rule.title}."
        assert policy.remediation_steps == rule.mend
        assert policy.url == rule.url
        assert set(policy.configSchema.properties.fields) == {*rule.parameters, "exceptions"}
        assert policy.policy_type
        assert policy.severity


def test_a_violation_is_told_whole(tmp_path: Path) -> None:
    response = pack(tmp_path).Analyze(request({**GOOD, "metadataOptions": {"httpTokens": "optional"}}), CONTEXT)
    (told,) = response.diagnostics
    assert told.policyName == "aws-imdsv2"
    assert told.enforcementLevel == analyzer_pb2.MANDATORY
    assert told.severity == analyzer_pb2.POLICY_SEVERITY_HIGH
    assert told.urn.endswith("::web")
    title, line, source = told.message.splitlines()
    assert title == "EC2 instances answer their metadata service by IMDSv2 only."
    assert line.startswith('metadataOptions.httpTokens ("optional"): the metadata service answers IMDSv1')
    assert line.endswith("set metadataOptions.httpTokens to required")
    assert source.startswith("source: CIS ")


def test_an_unknown_is_advice_whatever_the_level(tmp_path: Path) -> None:
    response = pack(tmp_path).Analyze(request({**GOOD, "metadataOptions": {"httpTokens": UNKNOWN_TEXT}}), CONTEXT)
    (told,) = response.diagnostics
    assert told.policyName == "aws-imdsv2"
    assert told.enforcementLevel == analyzer_pb2.ADVISORY
    assert "metadataOptions.httpTokens: not known yet" in told.message


@pytest.mark.parametrize(
    ("level", "told"),
    [
        (analyzer_pb2.DISABLED, []),
        (analyzer_pb2.ADVISORY, [analyzer_pb2.ADVISORY]),
        # What a remediation has left is mandatory.
        (analyzer_pb2.REMEDIATE, [analyzer_pb2.MANDATORY]),
    ],
)
def test_levels(tmp_path: Path, level: Any, told: list[Any]) -> None:
    judge = pack(tmp_path, config={"aws-imdsv2": level})
    response = judge.Analyze(request({**GOOD, "metadataOptions": {"httpTokens": "optional"}}), CONTEXT)
    assert [found.enforcementLevel for found in response.diagnostics] == told


@pytest.mark.parametrize("inputs", [{"metadataOptions": {"httpTokens": "optional"}}, {}])
def test_remediation(tmp_path: Path, inputs: dict[str, Any]) -> None:
    given = {**GOOD, **inputs, "userData": secret("sesame")}
    judge = pack(tmp_path, config={"aws-imdsv2": analyzer_pb2.REMEDIATE})
    if not inputs:
        given.pop("metadataOptions")
    (made,) = judge.Remediate(request(given), CONTEXT).remediations
    properties = json_format.MessageToDict(made.properties)
    assert properties["metadataOptions"] == {"httpTokens": "required"}
    assert properties["userData"] == secret("sesame")
    assert pack(tmp_path).Remediate(request(given), CONTEXT).remediations == []
    assert judge.Remediate(request(GOOD), CONTEXT).remediations == []


def test_rules_about_the_stack_see_inputs_and_outputs(tmp_path: Path) -> None:
    """The engine hands outputs alone at the end: without the inputs of before, a bucket's rule would see nothing it asked for."""
    judge = pack(tmp_path)
    kind = "aws:s3/bucket:Bucket"
    judge.Analyze(request({"bucket": "w"}, kind, "weights"), CONTEXT)
    whole = judge._whole(
        analyzer_pb2.AnalyzerResource(
            type=kind, name="weights", urn=f"urn:pulumi:s::p::{kind}::weights", properties=struct({"arn": "a"})
        )
    )
    assert whole.inputs.get("bucket") == "w"
    assert whole.outputs.get("arn") == "a"
    unseen = judge._whole(analyzer_pb2.AnalyzerResource(type=kind, urn="other", properties=struct({"arn": "a"})))
    assert unseen.inputs.get("arn") == "a"


def test_configuration_of_the_stack_reaches_rules_with_secrets_marked(tmp_path: Path) -> None:
    judge = Pack(tmp_path)
    judge.ConfigureStack(
        analyzer_pb2.AnalyzerStackConfigureRequest(
            stack="s",
            project="p",
            config={"p:token": "sesame", "p:map": '{"a": 1}', "aws:region": "eu-central-1"},
            config_secret_keys=["p:token"],
        ),
        CONTEXT,
    )
    config: Node = judge._stack.config
    assert config.raw == {"p:token": Secret("sesame"), "p:map": {"a": 1}, "aws:region": "eu-central-1"}


def test_the_stacks_own_file_is_the_initial_configuration(tmp_path: Path) -> None:
    file = tmp_path / "policies/config/prod.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"aws-imdsv2": {"exceptions": [EXCEPTION]}, "ssh-world": "disabled"}))
    judge = pack(tmp_path, stack="prod")
    response = judge.Analyze(request({**GOOD, "metadataOptions": {"httpTokens": "optional"}}), CONTEXT)
    (told,) = response.diagnostics
    assert (told.policyName, told.enforcementLevel) == ("aws-imdsv2", analyzer_pb2.ADVISORY)
    assert "\nexcepted until 2099-12-31 by ml-platform: the vendor's agent needs it\n" in told.message


EXCEPTION = {
    "resource": "web",
    "reason": "the vendor's agent needs it",
    "owner": "ml-platform",
    "expires": "2099-12-31",
}


def test_a_file_that_means_nothing_ends_the_command(tmp_path: Path) -> None:
    file = tmp_path / "policies/config/prod.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"aws-imdsv2": "strict"}')
    with pytest.raises(RefusedError, match=r"policies/config/prod\.json: 1 mistake"):
        pack(tmp_path, stack="prod")


def test_no_words_of_a_rule_show_a_secret(tmp_path: Path) -> None:
    """Rules may put what they read into their sentences; an image's name is such a word."""
    container = {"name": "web", "image": secret("registry.example/s3same:latest")}
    inputs = {"spec": {"template": {"spec": {"containers": [container]}}}}
    response = pack(tmp_path).Analyze(request(inputs, "kubernetes:apps/v1:Deployment"), CONTEXT)
    assert "pinned-images" in {told.policyName for told in response.diagnostics}
    assert not [told.message for told in response.diagnostics if "s3same" in told.message]


def test_all_holds_for_rules_that_are_given_parameters_alone(tmp_path: Path) -> None:
    file = tmp_path / "policies/config/prod.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"all": "advisory", "aws-imdsv2": {"exceptions": []}, "ssh-world": "disabled"}))
    judge = Pack(tmp_path)
    judge.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="prod"), CONTEXT)
    given = judge.GetAnalyzerInfo(empty_pb2.Empty(), CONTEXT).initialConfig
    assert {name: entry.enforcementLevel for name, entry in given.items()} == {
        "all": analyzer_pb2.ADVISORY,
        "aws-imdsv2": analyzer_pb2.ADVISORY,
        "ssh-world": analyzer_pb2.DISABLED,
    }
    # As `slipway check` reads the same file.
    read = read_configuration("prod", tmp_path)
    assert {rule.id: str(read.level(rule)) for rule in rules() if rule.id in {"aws-imdsv2", "ssh-world"}} == {
        "aws-imdsv2": "advisory",
        "ssh-world": "disabled",
    }


def test_the_packs_own_file_names_its_version(root: Path) -> None:
    described = yaml.safe_load((root / "policies/PulumiPolicy.yaml").read_text())
    assert described["version"] == __version__
