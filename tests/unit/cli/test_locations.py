"""Where in the stack's file a finding of a policy is shown, from what it says of the platform's declaration."""

from pathlib import Path

import pytest
import yaml

from cli.locations import of_judged, of_setting
from policies.judge import Open
from policies.registry import rules
from policies.resources import PLATFORM, PLAYBOOK, Resource
from slipway.deployment.declaration import declaration
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import changed, many

DOCUMENT = changed(many(), ["models", "llama-3.3-70b", "replicas"], 2)
DECLARED = declaration(deployment(DOCUMENT))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    text = yaml.safe_dump({"config": {"slipway:platform": DOCUMENT}}, sort_keys=False)
    (tmp_path / "stacks/Pulumi.s.yaml").write_text(text)
    return tmp_path


def line(root: Path, where: str, kind: str = PLATFORM) -> str:
    """The line of the file that a reviewer is shown."""
    found = Open(rule=rules()[0], resource=Resource.plain(kind, "platform", DECLARED), where=where)
    number = of_judged(found, "s", root).line
    return (root / "stacks/Pulumi.s.yaml").read_text().splitlines()[number - 1].strip()


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("models[0].maxOutputTokens", "max_output_tokens: 4096"),
        ("models[0].engine.flags.enforce-eager", "enforce-eager: true"),
        # What is computed stands nowhere; what it is of does.
        ("models[0].sizing.kvCacheTokens", "llama-3.3-70b:"),
        ("models[4].model", "model: qwen3-8b"),
        ("pools[0].tier", "tier: prod"),
        ("machines[1].privateAddress", "private_address: 10.0.0.12"),
        ("machines[3].address", "address: 10.0.0.31"),
        ("teams[1].private", "private: true"),
        ("providers[1].url", "url: http://10.9.9.9:1234/v1"),
        ("gateways[0].port", "gateway:"),
        ("front.serverName", "server_name: llm.example.com"),
        ("purpose", "slipway:platform:"),
    ],
)
def test_the_line_of_a_property(root: Path, where: str, shown: str) -> None:
    assert line(root, where) == shown


def test_what_is_of_no_platform_is_shown_at_the_stacks_section(root: Path) -> None:
    assert line(root, "models[0].maxOutputTokens", PLAYBOOK) == "slipway:platform:"


def test_a_name_with_dots_is_found(root: Path) -> None:
    number = of_setting('models["llama-3.3-70b"].engine.max_num_seqs', "s", root).line
    assert "max_num_seqs: 64" in (root / "stacks/Pulumi.s.yaml").read_text().splitlines()[number - 1]
