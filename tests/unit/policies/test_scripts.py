"""Commands in start-up scripts, and what they install."""

import base64
import gzip

import pytest

from policies.node import Node
from policies.readers.scripts.shell import clean, decoded, parse
from policies.readers.scripts.startup import Script, scripts
from policies.resources import Resource


def installs(text: str) -> list[tuple[str, bool]]:
    script = Script(Node(text), list(parse(text)), hidden=False)
    return [(each.shown, each.pinned) for each in script.installs()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pip install vllm", ["pip install vllm"]),
        ("pip3.12 install -U pip 2>/dev/null", ["pip install pip"]),
        ("/opt/v/bin/pip --quiet install 'vllm>=0.5' torch", ["pip install vllm>=0.5 torch"]),
        ("cd /opt && python -m pip install . || exit 1", ["pip install ."]),
        ("uv pip install --system --torch-backend cu130 vllm", ["pip install vllm"]),
        ("sudo -H -u ml pip install \\\n  -r requirements.txt", ["pip install -r requirements.txt"]),
        ("if ! pip install vllm; then echo 'no\nluck'; fi", ["pip install vllm"]),
        ("bash -c 'set -e\npip install vllm\n'", ["pip install vllm"]),
        ('su - ml -c "pip install vllm"', ["pip install vllm"]),
        ("docker run image pip install vllm", ["pip install vllm"]),
        ("pip install https://u:p@host/x.whl?token=1", ["pip install https://host/x.whl"]),
        ('echo "it\'s\n"; pip install vllm', ["pip install vllm"]),
        ("# don't\npip install vllm # can't\n", ["pip install vllm"]),
        ("cat <<EOF\nit's\nEOF\npip install vllm\ncat <<EOF\nit's\nEOF", ["pip install vllm"]),
        ("cat <<EOF\nit's\nEOF\npip install vllm && true", ["pip install vllm"]),
        (
            "- pip install vllm\n- [pip, install, 'torch']\n- 'pip install ray'",
            ["pip install vllm", "pip install torch", "pip install ray"],
        ),
        ("curl -fsSL https://u:p@x/i.sh?t=1 | sudo -E bash -", ["https://x/i.sh | sh"]),
        ("curl -LsSf https://x/i.sh | env A=/opt sh", ["https://x/i.sh | sh"]),
        ("wget -qO- https://x/i.sh | sh -s -- -y", ["https://x/i.sh | sh"]),
        ("bash <(curl -s https://x/i.sh)", ["https://x/i.sh | sh"]),
        ('sh -c "$(curl -fsSL https://x/i.sh)"', ["https://x/i.sh | sh"]),
        ('eval "$(curl https://x/i.sh)"', ["https://x/i.sh | sh"]),
        ("curl https://x/i.py | python3", ["https://x/i.py | sh"]),
        ("npm i -g yarn", ["npm install -g yarn"]),
        ("uvx litellm@1.82.8 --port 4000", ["uvx litellm==1.82.8"]),
        ("uvx --quiet --from 'litellm[proxy]==1.82.8' litellm", ["uvx litellm[proxy]==1.82.8"]),
        ("uv tool run litellm", ["uv tool run litellm"]),
        ("uv run --with litellm==1.82.8 serve.py", ["uv run litellm==1.82.8"]),
        ("sudo uv tool install litellm==1.82.8", ["uv tool install litellm==1.82.8"]),
        ("pipx install --python 3.12 litellm==1.82.8", ["pipx install litellm==1.82.8"]),
        ("pipx run litellm --port 1", ["pipx run litellm"]),
        ("conda install -y -c conda-forge conda-forge::vllm=0.32.0", ["conda install vllm==0.32.0"]),
        ("poetry add litellm@1.82.8", ["poetry add litellm==1.82.8"]),
        ("npm install --global @scope/tool@^1.2.3", ["npm install -g @scope/tool@^1.2.3"]),
        ("pip --timeout 100 install vllm", ["pip install vllm"]),
        ("MODEL=org/m\n> /var/log/setup.log\npip install 2>/dev/null vllm", ["pip install vllm"]),
        ("echo '# ours' >> /etc/hosts; pip install vllm", ["pip install vllm"]),
        ("cd /opt; # don't stay\npip install vllm ;#can't", ["pip install vllm"]),
        (
            "- [ -e /opt/v ] || pip install vllm\n- pip install litellm[proxy]",
            ["pip install vllm", "pip install litellm[proxy]"],
        ),
        ("- [pip, install, vllm]  # ours\n- 'pip install ray' # theirs", ["pip install vllm", "pip install ray"]),
        (r'- "su - ml -c \"pip install vllm\""', ["pip install vllm"]),
        ("curl -H 'A: b\nC: d' https://x/i.sh | sh", ["https://x/i.sh | sh"]),
        ('curl -H "A: b\nC: d" https://x/i.sh | sh', ["https://x/i.sh | sh"]),
        ("curl -o - 2>/dev/null https://x/i.sh | bash -ex", ["https://x/i.sh | sh"]),
        ("curl https://x/i.sh | bash -e", ["https://x/i.sh | sh"]),
        ("curl https://x/i.sh | sudo -n bash -s stable", ["https://x/i.sh | sh"]),
        ("curl https://x/i.py | python3 - --version 1.2", ["https://x/i.py | sh"]),
        (
            "(cd /tmp; curl https://x/i.sh) | sh; (curl https://x/j.sh)| sh",
            ["https://x/i.sh | sh", "https://x/j.sh | sh"],
        ),
        ("curl https://x/i.sh |\n  sh\n# then |\npip install vllm", ["https://x/i.sh | sh", "pip install vllm"]),
        ("content: |\n  pip install vllm\n- |\n  uvx litellm", ["pip install vllm", "uvx litellm"]),
        ("bash < <(curl https://x/i.sh)", ["https://x/i.sh | sh"]),
        ("source <(curl https://x/i.sh)", ["https://x/i.sh | sh"]),
        ('. "$(curl https://x/i.sh)"', ["https://x/i.sh | sh"]),
        ("curl -fsSL $URL | sh", ["a download | sh"]),
        ("bash -Eeuc 'pip install vllm'", ["pip install vllm"]),
        ("sudo -u ml uvx litellm; env -u A -i uvx ray", ["uvx litellm", "uvx ray"]),
        ("sudo -n uvx litellm; exec -a proxy uvx ray", ["uvx litellm", "uvx ray"]),
        ("uvx --from=litellm==1.82.8 litellm", ["uvx litellm==1.82.8"]),
        ("uv --directory /opt run --with litellm serve.py", ["uv run litellm"]),
        ("conda install -n base vllm=0.32.0", ["conda install vllm==0.32.0"]),
    ],
)
def test_not_pinned(text: str, shown: list[str]) -> None:
    assert installs(text) == [(each, False) for each in shown]


@pytest.mark.parametrize(
    "text",
    [
        "pip install --require-hashes -r requirements.txt",
        "PIP_REQUIRE_HASHES=1 pip install -r requirements.txt",
        "uv pip install --require-hashes --requirement=requirements.txt",
        "pip install --no-index --find-links=/wheels vllm",
        "pip install --no-deps ./vllm.whl /wheels/torch.whl",
        "pip install --no-index --index-url https://x/simple --find-links /wheels vllm",
        "pip install 'https://x/vllm.whl#sha256=" + "a" * 64 + "'",
        "npm install -g pnpm@9.15.4 @scope/tool@1.0.0-rc.1",
    ],
)
def test_pinned(text: str) -> None:
    assert [pinned for _, pinned in installs(text)] == [True]


@pytest.mark.parametrize(
    "text",
    [
        "apt-get install -y python3-pip curl",
        "pip download vllm; pip --version; pip config set install.x y",
        "echo pip install vllm",
        "npm ci; npm install left-pad; npm install -g ./tool.tgz",
        "curl https://x/key | gpg --dearmor | tee /etc/key",
        "curl https://x/list | python3 -m json.tool",
        "curl https://x/list | python3 /opt/read.py",
        "curl -o x.sh https://x/x.sh && sha256sum -c sums && bash x.sh",
        "curl https://x | bash-completion",
        "vllm serve m --host 0.0.0.0",
        "uv sync --frozen; uv run serve.py; conda activate base; pipx list",
        "pipx install .; uv tool install ./tool.whl",
        "command -v uvx jq; sudo -i",
        "pip install --help; npm run install -g tool; dotnet tool install -g tool",
        "grep -c 'pip install vllm' /var/log/setup.log; bash /opt/log.sh 'pip install vllm'",
        'export TOKEN="$(curl https://x/token)"; /opt/join.sh "$(curl https://x/token)"',
        "sh -c 'ID=$(curl https://x/id) && exec vllm serve m'; bash /opt/join.sh \"$(curl https://x/token)\"",
        "cat /opt/setup.sh | bash; bash <(cat /opt/setup.sh); yes | sh /opt/setup.sh",
        'docker run -e "$(curl https://x/env)" image; perl -e "print" "$(curl https://x/token)"',
        "cat report.json | curl -d @- https://x; python3 | tee /var/log/out",
        "diff <(curl https://x/list) /etc/list; while read line; do echo; done < <(curl https://x/list)",
        "",
    ],
)
def test_nothing_is_installed(text: str) -> None:
    assert installs(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install --no-index --find-links https://x/wheels vllm",
        "pip install ./vllm.whl",
        "pip install --no-deps https://x/vllm.whl",
        "pip install --no-deps -r requirements.txt",
        "pip install --no-deps vllm==0.32.0",
    ],
)
def test_what_is_not_enough(text: str) -> None:
    assert [pinned for _, pinned in installs(text)] == [False]


def test_base64_and_gzip() -> None:
    script = "#!/bin/bash\npip install vllm\n"
    assert decoded(base64.b64encode(script.encode()).decode()) == script
    assert decoded(base64.b64encode(gzip.compress(script.encode())).decode()) == script
    assert decoded(script) == script
    assert decoded("AAAAAAAAAAAAAAAA/w==") == "AAAAAAAAAAAAAAAA/w=="
    assert decoded("# cHlwaSBpcyBubyBzY3JpcHQ=") == "# cHlwaSBpcyBubyBzY3JpcHQ="


def test_addresses_without_credentials() -> None:
    assert clean("https://u:p@ss@host/a") == "https://host/a"
    assert clean("https://u:p@host/a?b=c") == "https://host/a"
    assert clean("vllm==0.32.0") == "vllm==0.32.0"
    assert clean("vllm==0.3?") == "vllm==0.3?"


@pytest.mark.parametrize(
    ("text", "fetched"),
    [
        ("hf download org/m --local-dir /models", [("org/m", None)]),
        ("exec huggingface-cli download --quiet org/m config.json --revision=main", [("org/m", "main")]),
        ("sh -c 'hf download --revision abc org/m && ls'", [("org/m", "abc")]),
        ("hf upload org/m; hf download --help", []),
    ],
)
def test_downloads_from_a_hub(text: str, fetched: list[tuple[str, str | None]]) -> None:
    script = Script(Node(text), list(parse(text)), hidden=False)
    assert [(each.repository, each.revision) for each in script.downloads()] == fetched


def test_scripts_that_pods_mount() -> None:
    data = {"run": "#!/bin/bash\npip install vllm", "a.sh": "pip install vllm", "notes": "pip install vllm", "n": 1}
    found = scripts(Resource.plain("kubernetes:core/v1:ConfigMap", "it", {"data": data}))
    assert [each.path for each in found] == ["data.run", 'data["a.sh"]']


def test_quotes_that_go_on_over_lines_keep_their_text() -> None:
    assert next(command.words for command in parse("echo '\n- [a, b]'")) == ("echo", "\n- [a, b]")
