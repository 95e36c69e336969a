"""The commands that tell what there is: the policies' rules, every setting, the schemas. They read nothing of a stack."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
policies = typer.Typer(
    no_args_is_help=True, help="The policy pack's rules: what each asks, why, and by which document."
)
app.add_typer(policies, name="policies")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")]


@policies.command("list")
def policies_list(as_json: Json = False) -> None:
    """List the rules: id, level, severity, what holds where it is kept."""
    from cli.policies import show_rules

    show_rules(as_json=as_json)


@policies.command("explain")
def policies_explain(
    rule: Annotated[str, typer.Argument(help="The rule's id.")],
    as_json: Json = False,
) -> None:
    """Explain one rule: what it asks of which resources, why, the mend, the source, its parameters."""
    from cli.policies import explain_rule

    explain_rule(rule, as_json=as_json)


@policies.command("docs")
def policies_docs(
    output: Output = None,
) -> None:
    """Print the reference of all rules (Markdown), generated from their metadata."""
    from policies.reference import reference as policy_reference

    _written(policy_reference(), output)


@policies.command("schema")
def policies_schema(
    output: Output = None,
) -> None:
    """Print the JSON schema of a stack's policy configuration, policies/config/STACK.json."""
    from policies.configuration import configuration_schema

    _written(json.dumps(configuration_schema(), indent=2) + "\n", output)


@app.command()
def schema(
    output: Output = None,
) -> None:
    """Print the JSON schema of a stack file, with which editors complete and check the YAML."""
    from slipway.settings.schema import stack_schema

    _written(json.dumps(stack_schema(), indent=2) + "\n", output)


@app.command()
def reference(
    output: Output = None,
) -> None:
    """Print the reference of every setting (Markdown), generated from the settings themselves."""
    from slipway.settings.reference import settings_reference

    _written(settings_reference(), output)


def _written(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
