"""What is to be said of one stack: settings, sizing, compatibility and policies, looked at in one go."""

from dataclasses import dataclass
from pathlib import Path

from policies.configuration import DEFAULT, Configuration, ConfigurationError, read_configuration
from policies.judge import NOTHING, Judgement, judge
from policies.planned import planned_stack
from policies.rule import Level
from slipway.checks.rules import findings
from slipway.deployment.resolve import deployment_of
from slipway.deployment.types import Deployment
from slipway.findings import Finding, Severity
from slipway.settings.errors import PREFIX, SettingsError
from slipway.settings.load import read_config

FINE, FOUND, BAD_INPUT = 0, 1, 2
"""Exit statuses: nothing that would be refused; something that would; settings or policies that can't even be read."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One stack's answer: findings and judgement, or the problems for which it could not be looked at."""

    stack: str
    deployment: Deployment | None = None
    """What follows from its settings; None where they were refused."""
    findings: tuple[Finding, ...] = ()
    judgement: Judgement = NOTHING
    configuration: Configuration = DEFAULT
    """What the stack asks of the policies."""
    problems: tuple[str, ...] = ()
    """Settings that were refused."""
    policy_problems: tuple[str, ...] = ()
    """Of the stack's policy configuration."""

    @property
    def refused(self) -> bool:
        """Whether a preview would be refused."""
        wrong = any(finding.severity is Severity.ERROR for finding in self.findings)
        return wrong or any(found.level is not Level.ADVISORY for found in self.judgement.violations)

    @property
    def status(self) -> int:
        """The exit status that this stack asks for."""
        if self.deployment is None or self.policy_problems:
            return BAD_INPUT
        return FOUND if self.refused else FINE


def report(stack: str, root: Path) -> Report:
    """Look at one stack."""
    try:
        config = read_config(stack, root)
        deployment = deployment_of(stack, root)
    except SettingsError as error:
        return Report(stack=stack, problems=error.problems)
    found = tuple(findings(deployment))
    try:
        configuration = read_configuration(stack, root)
    except ConfigurationError as error:
        where = error.source
        problems = tuple(f"{where}: {problem}" for problem in error.problems)
        return Report(stack=stack, deployment=deployment, findings=found, policy_problems=problems)
    judgement = judge(planned_stack(stack, deployment, config.get(PREFIX), config), configuration)
    return Report(stack=stack, deployment=deployment, findings=found, judgement=judgement, configuration=configuration)
