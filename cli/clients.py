"""`slipway clients`: what a team's tools need to ask a stack, as the file that a tool reads, as a table or as JSON."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from cli.errors import UserError
from slipway.clients import configuration
from slipway.clients.base import Configuration, configuration_of
from slipway.clients.tools import names, tools
from slipway.deployment.resolve import deployment_of
from slipway.deployment.types import Deployment
from slipway.paths import ROOT, STACKS


def show_clients(
    stack: str,
    *,
    team: str | None,
    tool: str | None,
    output: Path | None,
    as_json: bool,
    force: bool,
    root: Path = ROOT,
) -> None:
    """Print the configuration of `team`'s clients (of all teams without `tool`), or write it to `output`.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        ClientError: the team may ask nothing that the tool is for.
        UserError: no such team or tool, the endpoint's address is not known yet, or the file can't be written.
    """
    deployment = deployment_of(stack, root)
    teams = list(deployment.settings.gateway.teams)
    if team is not None and team not in teams:
        raise UserError(f"stack {stack} has no team {team!r}; its teams: {', '.join(teams)}")
    if tool is None:
        if output is not None:
            raise UserError(f"--out wants a tool's file; give --for too: {', '.join(names())}")
        _show(deployment, [team] if team is not None else teams, as_json=as_json)
        return
    known = tools().get(tool)
    if known is None:
        raise UserError(f"--for {tool}: no such tool is known; the tools: {', '.join(names())}")
    if team is None and len(teams) > 1:
        raise UserError(f"--for {tool}: whose is it? give --team, one of {', '.join(teams)}")
    asked = _configuration(stack, deployment, team or teams[0])
    text = known.render(asked)
    if output is None:
        sys.stdout.write(text)
        print(f"{tool} reads this from {known.file}", file=sys.stderr)
    else:
        _write(output, text, force=force)
    for note in (*known.notes(asked), *_missing(stack, asked)):
        print(note, file=sys.stderr)


def _configuration(stack: str, deployment: Deployment, team: str) -> Configuration:
    front = deployment.settings.front
    ca_file = None
    if front.ca_file is not None:
        ca_file = str(front.ca_file.absolute())
    elif front.certificate_file is None:
        ca_file = str(STACKS / stack / "ca.pem")
    plain = deployment.known(configuration(deployment, team))
    if plain["base_url"] is None:
        raise UserError(
            f"the endpoint's address is known once {deployment.front.machine.name} is made, and a tool's file needs it now: give "
            "the stack a front.server_name, or take base_url from `pulumi stack output clients` after the `up`"
        )
    return configuration_of(plain, provider=f"slipway-{stack}", team=team, ca_file=ca_file)


def _missing(stack: str, asked: Configuration) -> tuple[str, ...]:
    """The front makes its CA when it is installed."""
    if asked.ca_file is None or Path(asked.ca_file).is_file():
        return ()
    return (f"{asked.ca_file} is not there yet; `slipway up {stack}` or `slipway chat --stack {stack}` writes it",)


def _write(output: Path, text: str, *, force: bool) -> None:
    if os.path.lexists(output) and not force:
        raise UserError(
            f"--out {output}: is there already, and other settings in it would be lost; merge the two by hand (leave --out "
            "away to print it), or give --force"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {output}: can't be written ({error.strerror}); give another file") from None
    print(f"{output} is written", file=sys.stderr)


def _show(deployment: Deployment, teams: list[str], *, as_json: bool) -> None:
    plain: dict[str, Any] = {team: deployment.known(configuration(deployment, team)) for team in teams}
    if as_json:
        print(json.dumps(plain, indent=2))
        return
    for team, entry in plain.items():
        print(
            f"{team}: {entry['base_url'] or 'an address that is known after the `up`'}, key in ${entry['key_variable']}"
        )
        rows = [("model", "task", "context", "output", "aliases")]
        rows += [
            (
                model["id"],
                model["task"],
                _number(model["context_window"]),
                _number(model["max_output_tokens"]),
                ", ".join(model["aliases"]),
            )
            for model in entry["models"]
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"--for TOOL prints a tool's own file: {', '.join(names())}", file=sys.stderr)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
