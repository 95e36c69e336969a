"""Projects whose stacks the policy pack judges, in the real engine; what it said is read from the engine's own events."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.pulumi_project import PulumiProject

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "policies"
ECHO = Path(__file__).parent / "fixtures" / "echo"
VERSIONS = {"aws": "7.51.1", "kubernetes": "4.34.2", "playbook": "0.1.0"}
"""Of the plugins that the double stands in for: those that the genuine SDKs ask for."""
PLUGINS = {"providers": [{"name": name, "path": str(ECHO), "version": version} for name, version in VERSIONS.items()]}
PROGRAM = "from tests.stacks.program import main\n\nmain()\n"


@dataclass(frozen=True)
class Said:
    """One diagnostic of a pack, as the engine reports it."""

    rule: str
    level: str
    severity: str
    urn: str
    message: str

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True)
class Answer:
    """What a command of the engine said, with the pack."""

    status: int
    output: str
    said: tuple[Said, ...]

    @property
    def violations(self) -> list[Said]:
        """Those that are no statement about an unknown value or an exception."""
        return [
            one for one in self.said if "not known yet" not in one.message and "\nexcepted until " not in one.message
        ]

    @property
    def excepted(self) -> list[Said]:
        """What an exception covers."""
        return [one for one in self.said if "\nexcepted until " in one.message]

    @property
    def unknowns(self) -> list[Said]:
        """Statements about unknown values."""
        return [one for one in self.said if "not known yet" in one.message]

    @property
    def rules(self) -> list[str]:
        """Ids of the rules that are violated, each once."""
        return sorted({one.rule for one in self.violations})


class PolicyProject(PulumiProject):
    """A project of which each run is judged."""

    def judged(
        self,
        command: str,
        *arguments: str,
        pack: Path | None = PACK,
        config: Mapping[str, Any] | None = None,
        stack: str = "test",
        env: Mapping[str, str] | None = None,
    ) -> Answer:
        """Runs `pulumi COMMAND` with the pack, and its configuration where one is given."""
        events = self.folder.parent / f"{stack}-events.json"
        events.unlink(missing_ok=True)
        packed = ["--policy-pack", str(pack)] if pack is not None else []
        if config:
            file = self.folder.parent / f"{stack}-policies.json"
            file.write_text(json.dumps(config))
            packed += ["--policy-pack-config", str(file)]
        done: subprocess.CompletedProcess[str] = self.run(
            command,
            *arguments,
            *packed,
            "--stack",
            stack,
            "--event-log",
            str(events),
            "--color",
            "never",
            check=False,
            env={"PULUMI_DEBUG_COMMANDS": "true", "PYTHONPATH": str(ROOT), **(env or {})},
        )
        return Answer(done.returncode, done.stdout, tuple(read_events(events)))


def read_events(events: Path) -> list[Said]:
    """What the packs said, of the engine's log of events."""
    if not events.exists():
        return []
    said = []
    for line in events.read_text().splitlines():
        event = json.loads(line).get("policyEvent")
        if event:
            said.append(
                Said(
                    rule=event["policyName"],
                    level=event["enforcementLevel"],
                    severity=event.get("severity", ""),
                    urn=event.get("resourceUrn", ""),
                    message=event["message"],
                )
            )
    return said
