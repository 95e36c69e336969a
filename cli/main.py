"""`slipway`: the commands, and how errors end them."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import choose, tell
from cli.errors import UserError
from slipway import __version__
from slipway.errors import UserMistake
from slipway.paths import ROOT

app = typer.Typer(
    name="slipway",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From bare hosts to a private, keyed, TLS-fronted LLM endpoint. Each command has its own --help.",
)
lab = typer.Typer(no_args_is_help=True, help="Lab hosts: real Debian systems with systemd and sshd on this machine.")
app.add_typer(choose.app)
app.add_typer(tell.app)
app.add_typer(lab, name="lab")
key = typer.Typer(no_args_is_help=True, help="Keys of a stack's teams: each is shown once, and a hash of it is kept.")
app.add_typer(key, name="key")
store = typer.Typer(
    no_args_is_help=True, help="Models on a stack's hosts and in its store: sizes, state, and what can go."
)
app.add_typer(store, name="store")
Stack = Annotated[str, typer.Argument(help="The stack: NAME of stacks/Pulumi.NAME.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]


class Period(StrEnum):
    """What usage is summed up by."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@app.command()
def up(
    stack: Stack = "lab",
    as_json: Json = False,
    chat_after: Annotated[
        bool, typer.Option("--chat/--no-chat", help="Ask for a streamed completion at the end and print it.")
    ] = True,
) -> None:
    """Take a stack up: lab hosts, model and keys where the stack needs them made, then `pulumi up`, then a completion."""
    from cli.up import take_up

    take_up(stack, as_json=as_json, chat_after=chat_after)


@app.command()
def drift(
    stack: Stack = "lab",
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Run every layer's role in check mode, not only where something looks changed."),
    ] = False,
    mend: Annotated[bool, typer.Option("--mend", help="Apply again what has drifted.")] = False,
) -> None:
    """Say what was changed by hand on a stack's hosts, by host, layer and task. Status 1 where something was."""
    from cli.pulumi import PulumiStack

    PulumiStack(stack).drift(deep=deep, mend=mend)


@app.command()
def doctor(
    stack: Stack,
    host: Annotated[list[str] | None, typer.Option(help="Of this host only; may be given several times.")] = None,
    between_hosts: Annotated[
        bool,
        typer.Option(
            "--between-hosts", help="Have the hosts of each shared replica exchange; its engine must not run."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Status 1 also where a check could see nothing (unknown).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a stack's hosts now: what preflight looks at, names, GPUs. Status 1 where one can't serve what the stack asks.

    Checked on every host: system, disk, memory, ports, clock, as preflight does, and the names that it fetches from. On hosts
    with GPUs also: driver, GPUs, a kernel on each.

    Not checked: whether the models answer; each `up` asks them at its end (acceptance).
    """
    from cli.doctor import examine_stack

    if not examine_stack(stack, hosts=host or (), as_json=as_json, between_hosts=between_hosts, strict=strict):
        raise typer.Exit(1)


@app.command()
def upgrade(
    stack: Stack,
    host: Annotated[list[str] | None, typer.Option(help="This host only; may be given several times.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say the order, and what changes on each host.")
    ] = False,
    allow_outage: Annotated[
        bool, typer.Option("--allow-outage", help="Go on where nobody answers for a model, gateway or front meanwhile.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Go on from a run on another machine that left a host drained.")
    ] = False,
    packages: Annotated[
        bool, typer.Option("--packages", help="Bring the hosts' own packages up to date too, kernels included.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change a stack host by host: drain, `pulumi up` of that host, checks, an answer of each model, back into service."""
    from cli.upgrade import Options, upgrade_stack

    options = Options(
        hosts=host or (),
        preview=preview,
        allow_outage=allow_outage,
        take_over=take_over,
        packages=packages,
        as_json=as_json,
    )
    upgrade_stack(stack, options)


def _store(stack: str, verb: str, *, as_json: bool, remove: bool = False) -> None:
    from cli.store import show_store

    if not show_store(stack, verb=verb, remove=remove, as_json=as_json):
        raise typer.Exit(1)


@store.command("show")
def store_show(stack: Stack, as_json: Json = False) -> None:
    """List the models on every host with their sizes, and how far those are that are arriving."""
    _store(stack, "look", as_json=as_json)


@store.command("verify")
def store_verify(stack: Stack, as_json: Json = False) -> None:
    """Read every file and compare it with its SHA-256. Status 1 where one is damaged, missing or not the model's."""
    _store(stack, "verify", as_json=as_json)


@store.command("prune")
def store_prune(
    stack: Stack,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them. Default: only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Name the models that the stack does not name and no unit on their host uses, with sizes; with --yes remove them."""
    _store(stack, "prune", remove=yes, as_json=as_json)


Of = Annotated[str, typer.Option("--team", help="The team.")]
Days = Annotated[int | None, typer.Option(min=1, help="It ends after so many days. Default: never.")]
Until = Annotated[str | None, typer.Option(help="It ends then: a date, such as 2027-03-31, or a time. Default: never.")]


@key.command("create")
def key_create(stack: Stack, team: Of, days: Days = None, until: Until = None, as_json: Json = False) -> None:
    """Make a further key for a team. The key goes to stdout, once; the stack's file gets a hash of it."""
    from cli.key import create_key

    create_key(stack, team, days=days, until=until, as_json=as_json)


@key.command("rotate")
def key_rotate(
    stack: Stack,
    team: Of,
    overlap: Annotated[str, typer.Option(help="How long the older keys go on: 7d, 12h, 30m.")] = "7d",
    days: Days = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Make a new key for a team, and let the older ones end after an overlap."""
    from cli.key import rotate_key

    rotate_key(stack, team, overlap=overlap, days=days, until=until, as_json=as_json)


@key.command("revoke")
def key_revoke(stack: Stack, id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")], team: Of) -> None:
    """Take a key away; it opens nothing any more after the next `up`."""
    from cli.key import revoke_key

    revoke_key(stack, team, id_)


@key.command("list")
def key_list(
    stack: Stack,
    team: Annotated[str | None, typer.Option(help="Of this team only.")] = None,
    as_json: Json = False,
) -> None:
    """List the keys by their ids, with their ends."""
    from cli.key import list_keys

    list_keys(stack, team, as_json=as_json)


@app.command()
def usage(
    stack: Stack = "lab",
    since: Annotated[str, typer.Option(help="A day, such as 2026-11-01, or 7d for the last seven days.")] = "30d",
    by: Annotated[Period, typer.Option(help="What is summed up.")] = Period.DAY,
    team: Annotated[str | None, typer.Option(help="Of this team only.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead.")] = False,
    chart: Annotated[Path | None, typer.Option(help="Write a chart (SVG) to this file too.")] = None,
) -> None:
    """Tell what the teams of a stack used and what it cost: by hour, day or month, team and model."""
    from cli.usage import show_usage

    form = "json" if as_json else "csv" if as_csv else "table"
    show_usage(stack, since=since, period=by.value, team=team, form=form, chart=chart)


@app.command()
def down(
    stack: Annotated[
        str | None, typer.Argument(help="The stack. Default: every stack whose hosts are lab hosts.")
    ] = None,
) -> None:
    """Take a stack down. Lab hosts are thrown away whole; from other hosts Slipway removes what it installed."""
    from cli.up import take_down

    take_down(stack)


@app.command()
def env(stack: Stack = "lab") -> None:
    """Print shell exports for using pulumi directly: eval "$(slipway env STACK)". Missing secrets are made and kept."""
    from cli.environment import exports

    print(exports(stack))


@app.command()
def chat(
    prompt: Annotated[str, typer.Argument(help="What to ask.")] = "Tell me a story about a slipway.",
    stack: Annotated[str, typer.Option("--stack", help="The stack to ask.")] = "lab",
    model: Annotated[
        str | None, typer.Option("--model", help="The chat model. Default: the first served here.")
    ] = None,
    team: Annotated[str | None, typer.Option("--team", help="The team that asks. Default: the first that may.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 64,
    as_json: Json = False,
) -> None:
    """Ask a stack's endpoint through TLS with the official OpenAI client; the answer is printed as it arrives."""
    from cli.chat import ask

    ask(stack, prompt, model=model, team=team, max_tokens=max_tokens, as_json=as_json)


@app.command()
def clients(
    stack: Stack,
    team: Annotated[str | None, typer.Option("--team", help="Whose clients. Default: the only team, or all.")] = None,
    tool: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TOOL",
            help="The tool whose file is wanted: pi, opencode, continue, aider, codex, claude-code, vscode, openai-env, "
            "models-json. Default: the plain configuration.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Write the tool's file here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a team's tools need: base URL, key variable, models with their bounds. Never a key."""
    from cli.clients import show_clients

    show_clients(stack, team=team, tool=tool, output=output, as_json=as_json, force=force)


@app.command()
def check(
    stacks: Annotated[
        list[str] | None, typer.Argument(help="Stacks: NAME of stacks/Pulumi.NAME.yaml. Default: all.")
    ] = None,
    as_json: Json = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, which code review shows.")] = False,
    as_junit: Annotated[bool, typer.Option("--junit", help="Print JUnit XML, which CI servers show.")] = False,
) -> None:
    """Check stacks without touching a host or a cloud: settings, sizing, compatibility, policies.

    Status 1 where something would be refused, 2 where settings or policies can't be read.
    """
    from cli.check import Form, check_stacks

    forms = [form for form, asked in ((Form.JSON, as_json), (Form.SARIF, as_sarif), (Form.JUNIT, as_junit)) if asked]
    if len(forms) > 1:
        raise UserError("--json, --sarif and --junit go to the same place: give one of them")
    check_stacks(stacks or [], form=forms[0] if forms else Form.TEXT)


@app.command()
def review(
    base: Annotated[Path, typer.Option("--base", help="A checkout as it is before the change.")],
    head: Annotated[Path, typer.Option("--head", help="A checkout as it is after the change.")] = Path(),
    preview: Annotated[
        list[str] | None,
        typer.Option(
            "--preview",
            metavar="NAME=FILE",
            help="What `pulumi preview --json` printed for a stack that changes, or the text of its failure. Repeatable.",
        ),
    ] = None,
    commit: Annotated[str | None, typer.Option("--commit", help="The commit under review, for the comment.")] = None,
    base_commit: Annotated[str | None, typer.Option("--base-commit", help="The commit before it.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the comment to this file, and print only the verdicts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Review a change: one comment in Markdown on what it does to the stacks: verdict, resources, cost, capacity, policies.

    Status 1 where a stack that changes would be refused, or would fail; 2 where the input can't be read.
    """
    from cli.review import review_change

    commits = (commit, base_commit)
    review_change(base, head, previews=preview or [], output=output, as_json=as_json, commits=commits)


@app.command()
def changed(
    base: Annotated[Path, typer.Option("--base", help="A checkout as it is before the change.")],
    head: Annotated[Path, typer.Option("--head", help="A checkout as it is after the change.")] = Path(),
    previewable: Annotated[
        bool,
        typer.Option(
            "--previewable", help="Leave out removed stacks, and those on lab hosts, which are one machine's own."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list, for a matrix of jobs.")] = False,
) -> None:
    """Print the stacks that a change touches, one a line: by their own files, or all by code that they share."""
    from cli.review import changed_stacks

    changed_stacks(base, head, as_json=as_json, previewable=previewable)


@lab.command("up")
def lab_up(
    stack: Annotated[str, typer.Argument(help="Make the lab hosts that this stack names.")] = "lab",
    release: Annotated[
        str,
        typer.Option(
            help="What they run: bookworm, trixie, or, with such an archive among apt's sources, jammy or noble."
        ),
    ] = "",
) -> None:
    """Make and boot lab hosts. Hosts that run already are left alone."""
    from cli.lab import hosts_up

    hosts_up(stack, release)


@lab.command("down")
def lab_down(
    names: Annotated[list[str] | None, typer.Argument(help="Hosts to throw away. Default: all.")] = None,
) -> None:
    """Throw lab hosts away: their processes, mounts and network. Nothing of them stays."""
    from cli.lab import hosts_down

    hosts_down(names or [])


@lab.command("list")
def lab_list(as_json: Json = False) -> None:
    """List the lab hosts on this machine."""
    from cli.lab import show_hosts

    show_hosts(as_json=as_json)


def _version(value: bool) -> None:
    if value:
        print(f"slipway {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@contextmanager
def _output() -> Iterator[None]:
    """Whoever reads our output may go, and a disk may be full: neither is a traceback's business.

    Raises:
        UserError: the output could not be written.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EBADF}:
            raise
        # The interpreter would try to write the rest once more at its end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:
            sys.exit(1)  # as a shell's own tools end, without a word
        raise UserError(f"the output could not be written: {error.strerror}", status=1) from None


def main() -> None:
    """Run the command line. A user's mistake ends with one message and status 2; a traceback is a bug of Slipway's."""
    os.environ.setdefault("SLIPWAY_ROOT", str(ROOT))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no "…" still gets the rest of the sentence; in JSON the escape means the same.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _output():
            app()
    except UserMistake as error:
        print(error.report, file=sys.stderr)
        sys.exit(2)
    except UserError as error:
        print(f"slipway: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("slipway: interrupted; run the same command again and it goes on from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
