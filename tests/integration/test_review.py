"""The review as a code-review service runs it: the workflow's own steps, the real engine, a double of the service's API."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import copy_checkout
from tests.integration.review_services import MARKER, Service, double

WORKFLOW = ".github/workflows/review.yml"
PIPELINE = "docs/gitlab-review.yml"
SAME = "github.event.pull_request.head.repo.full_name == github.repository"
NO_SECRETS = "github.event.pull_request.user.login != 'dependabot[bot]'"
GATE = "cancelled() || (needs.check.result != 'success' && needs.check.result != 'failure')"
"""The condition on which the job that is required fails at once."""
SECRETS = {
    "PULUMI_CONFIG_PASSPHRASE": f"passphrase {secrets.token_hex(8)}",
    "TOKEN": f"ghs_{secrets.token_hex(20)}",
    **{f"SLIPWAY_KEY_{team}": secrets.token_hex(32) for team in ("PLATFORM", "ASSISTANT", "ANALYTICS")},
}
DOTENV = "\n".join(f"{name}={value}" for name, value in SECRETS.items() if name.startswith("SLIPWAY_KEY"))


def workflow(root: Path) -> dict[str, Any]:
    # YAML 1.1 takes `on` for a truth value.
    document: dict[Any, Any] = yaml.safe_load((root / WORKFLOW).read_text())
    return {("on" if key is True else key): value for key, value in document.items()}


def steps(root: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name, job in workflow(root)["jobs"].items() for step in job["steps"]]


@pytest.fixture(scope="module", autouse=True)
def nothing_of_the_machines_is_touched() -> Iterator[None]:
    """The virtual environment is shared with every clone here, and the home folder is somebody's."""
    programs = Path(sys.executable).parent
    kept = Path("~/.ssh").expanduser()

    def seen() -> list[object]:
        links = sorted((each.name, each.readlink()) for each in programs.iterdir() if each.is_symlink())
        return [links, sorted(kept.iterdir()) if kept.exists() else None]

    before = seen()
    yield
    assert seen() == before


# what is there


def actionlint(root: Path, file: Path) -> subprocess.CompletedProcess[str]:
    binary = subprocess.run(
        [root / "tools/setup/actionlint.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return subprocess.run([binary, "-no-color", file], cwd=root, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing(root: Path) -> None:
    done = actionlint(root, root / WORKFLOW)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    needs: review\n", "    needs: reviews\n", "does not exist"),
        ("run: tools/review/lint.sh", 'run: echo "${{ github.event.pull_request.title }}"', "untrusted"),
        ("${{ steps.base.outputs.stacks }}", "${{ steps.bass.outputs.stacks }}", "bass"),
        ("pull-requests: write", "pull-request: write", "unknown permission scope"),
    ],
)
def test_actionlint_finds_what_is_wrong(root: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (root / WORKFLOW).read_text()
    assert old in text
    (tmp_path / "review.yml").write_text(text.replace(old, new, 1))
    done = actionlint(root, tmp_path / "review.yml")
    assert done.returncode == 1
    assert said in done.stdout


def test_shellcheck_finds_nothing(root: Path) -> None:
    scripts = sorted([*root.glob("tools/review/*.sh"), *root.glob("tools/setup/*.sh")])
    assert len(scripts) > 8
    done = subprocess.run(["shellcheck", *scripts], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_that_run_are_strict(root: Path) -> None:
    for script in root.glob("tools/review/*.sh"):
        text = script.read_text()
        runs = script.name not in {"common.sh", "rest.sh"}
        assert (text.startswith("#!/usr/bin/env bash\n"), os.access(script, os.X_OK)) == (runs, runs), script.name
        assert ("\nset -euo pipefail\n" in text) == runs


def test_it_is_started_by_pull_requests_and_what_they_are_held_against(root: Path) -> None:
    """`edited` too: another target branch makes another change of the same commits."""
    assert workflow(root)["on"] == {
        "pull_request": {"types": ["opened", "synchronize", "reopened", "edited"]},
        "push": {"branches": ["main"]},
    }
    assert "pull_request_target" not in (root / WORKFLOW).read_text()
    assert "workflow_run" not in (root / WORKFLOW).read_text()


def test_the_job_to_require_is_never_skipped(root: Path) -> None:
    """A skipped one counts as green: so is every job of a run that was cancelled, and each that needs it."""
    review = workflow(root)["jobs"]["review"]
    assert review["if"] == "${{ always() && github.event_name == 'pull_request' }}"
    assert review["steps"][0] == {"if": f"${{{{ {GATE} }}}}", "run": "exit 1"}
    (previews,) = (step["env"]["PREVIEWS"] for step in review["steps"] if "PREVIEWS" in step.get("env", {}))
    assert previews == f"${{{{ {SAME} && {NO_SECRETS} && 'expected' || '' }}}}"


def test_no_cache_meets_the_secrets(root: Path) -> None:
    """What any branch's job may write there would run with them."""
    for name, step in steps(root):
        assert "cache@" not in step.get("uses", ""), name
        if "setup-go@" in step.get("uses", ""):
            assert step["with"]["cache"] is False
    assert not [job for job in pipeline(root).values() if isinstance(job, dict) and "cache" in job]


def test_findings_are_uploaded_where_that_is_asked_for(root: Path) -> None:
    jobs = workflow(root)["jobs"]
    assert "vars.SLIPWAY_CODE_SCANNING == 'true' && (github.event_name == 'push' ||" in " ".join(
        jobs["sarif"]["if"].split()
    )
    assert jobs["check"]["if"] == ("${{ github.event_name == 'pull_request' || vars.SLIPWAY_CODE_SCANNING == 'true' }}")
    assert jobs["sarif"]["permissions"]["actions"] == "read"
    _, download, upload = jobs["sarif"]["steps"]
    assert download["continue-on-error"] is True
    assert upload["if"] == f"${{{{ steps.{download['id']}.outcome == 'success' }}}}"


def test_no_job_may_write_but_those_that_must(root: Path) -> None:
    document = workflow(root)
    assert document["permissions"] == {"contents": "read"}
    writing = {
        name: [scope for scope, level in job.get("permissions", {}).items() if level == "write"]
        for name, job in document["jobs"].items()
    }
    assert {name: scopes for name, scopes in writing.items() if scopes} == {
        "comment": ["pull-requests"],
        "sarif": ["security-events"],
    }


def test_secrets_are_only_in_the_job_that_forks_do_not_get(root: Path) -> None:
    jobs = workflow(root)["jobs"]
    assert [name for name, job in jobs.items() if "secrets." in json.dumps(job)] == ["preview"]
    for name in ("preview", "sarif"):
        assert f"{SAME} && {NO_SECRETS}" in " ".join(jobs[name]["if"].split())
    assert "||" not in jobs["preview"]["if"]
    assert jobs["preview"]["environment"] == "preview"


def test_the_token_that_writes_meets_no_code_of_the_branch(root: Path) -> None:
    comment = workflow(root)["jobs"]["comment"]["steps"]
    assert comment[0]["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert [name for name, step in steps(root) if "github.token" in json.dumps(step)] == ["comment"]
    for _, step in steps(root):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_actions_are_pinned_by_commit(root: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.*)$", (root / WORKFLOW).read_text(), re.MULTILINE)
    assert len(used) > 10
    for each in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_every_step_is_a_script_of_ours(root: Path) -> None:
    for _, step in steps(root):
        if "run" in step and step["run"] != "exit 1":
            assert re.fullmatch(r'tools/review/[a-z]+\.sh( preview| "\$STACK")?', step["run"]), step["run"]
            assert os.access(root / step["run"].split()[0], os.X_OK)


# the steps in order, as the service would run them


@dataclass
class Ran:
    """One step's end."""

    job: str
    command: str
    status: int
    output: str


@dataclass
class Run:
    """A pull request whose jobs are run one after the other, each in a clone of its own with only the artifacts it takes."""

    folder: Path
    service: Service
    ran: list[Ran] = field(default_factory=list)
    fork: bool = False
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """Of the steps of each job, and of each stack's preview."""

    def __post_init__(self) -> None:
        self.artifacts = self.folder / "artifacts"
        self.summary = self.folder / "summary.md"
        self.repository = self.folder / "repository"
        self.curl = self.folder / "curl.txt"
        home = self.folder / "home"
        (self.folder / "tmp").mkdir(exist_ok=True)
        (home / ".cache/slipway").mkdir(parents=True, exist_ok=True)
        for built in Path("~/.cache/slipway").expanduser().iterdir():
            # What is built once a machine. Whatever else is kept there is kept in this home.
            if built.is_dir() and not (home / ".cache/slipway" / built.name).exists():
                (home / ".cache/slipway" / built.name).symlink_to(built)
        (self.folder / "bin").mkdir(exist_ok=True)
        spy = self.folder / "bin/curl"
        spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{self.curl}\nexec {shutil.which("curl")} "$@"\n')
        spy.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "GOPROXY", "GOFLAGS") if name in os.environ}
        return {
            **kept,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "SLIPWAY_STATE": str(self.folder / "home/state"),
            "CI": "true",
            "GITHUB_REPOSITORY": "owner/name",
            "GITHUB_API_URL": self.service.url,
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def clone(self, job: str, commit: str = "HEAD") -> Path:
        place = self.folder / "jobs" / job
        git(self.folder, "clone", "-q", str(self.repository), str(place))
        git(place, "checkout", "-q", git(self.repository, "rev-parse", commit))
        (place / ".venv").symlink_to(Path(sys.executable).parent.parent)
        return place

    def shell(self, job: str, place: Path, command: str, env: dict[str, str]) -> Ran:
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=place,
            # The shared virtual environment knows the real checkout; the clone's modules must come first.
            env=self.environment | {"PYTHONPATH": str(place)} | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        self.ran.append(Ran(job, command, done.returncode, done.stdout + done.stderr))
        return self.ran[-1]

    def job(self, root: Path, name: str, *, gate: bool = False, **known: str) -> list[int]:
        """Run the workflow's job; the statuses of its steps, up to the one that failed and those that run all the same."""
        conditions = {"!cancelled()": True, GATE: gate}
        expressions = {
            "github.event.pull_request.number": "7",
            "github.event.pull_request.head.sha": git(self.repository, "rev-parse", "HEAD"),
            "github.event.pull_request.head.repo.full_name": "stranger/name" if self.fork else "owner/name",
            "github.token": SECRETS["TOKEN"],
            f"{SAME} && {NO_SECRETS} && 'expected' || ''": "" if self.fork else "expected",
            "secrets.PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
            "secrets.PULUMI_CONFIG_PASSPHRASE": SECRETS["PULUMI_CONFIG_PASSPHRASE"],
            "secrets.PULUMI_ACCESS_TOKEN": "",
            "secrets.SLIPWAY_SECRETS": DOTENV,
            **known,
        }

        def value(text: object) -> str:
            return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: expressions[found[1]], str(text))

        base = name == "comment"
        place = self.clone("-".join((name, *known.values())), "HEAD^1" if base else "HEAD")
        ended = []
        for step in workflow(root)["jobs"][name]["steps"]:
            given = step.get("with", {})
            asked = step.get("if", "").removeprefix("${{ ").removesuffix(" }}")
            if not conditions[asked] if asked else any(ended):
                continue
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                source = place / given["path"]
                target = self.artifacts / value(given["name"])
                if source.is_dir():
                    shutil.copytree(source, target)
                elif source.exists():
                    shutil.rmtree(target, ignore_errors=True)
                    target.mkdir(parents=True)
                    shutil.copy2(source, target)
            elif step.get("uses", "").startswith("actions/download-artifact@"):
                for artifact in self.artifacts.glob(given.get("pattern") or given["name"]):
                    shutil.copytree(artifact, place / given["path"], dirs_exist_ok=True)
            elif "run" in step:
                output = place.parent / f"{place.name}-output.txt"
                env = {key: value(each) for key, each in step.get("env", {}).items()} | {"GITHUB_OUTPUT": str(output)}
                ended.append(self.shell(name, place, step["run"], env).status)
        return ended

    def outputs(self, job: str) -> dict[str, str]:
        lines = (self.folder / "jobs" / f"{job}-output.txt").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def leaks(self) -> list[str]:
        """Where a secret appears that has no business there."""
        places = {f"output of {each.command}": each.output for each in self.ran}
        places |= {"arguments of curl": self.curl.read_text() if self.curl.exists() else ""}
        places |= {"a comment": json.dumps(self.service.comments)}
        kept = [self.summary, *self.artifacts.rglob("*"), *(self.folder / "jobs").glob("*/review-out/**/*")]
        places |= {str(file): file.read_text(errors="replace") for file in kept if file.is_file()}
        return [
            f"{name} in {place}" for place, text in places.items() for name, secret in SECRETS.items() if secret in text
        ]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def rewrite(checkout: Path, stack: str, old: str, new: str) -> None:
    file = checkout / f"stacks/Pulumi.{stack}.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits: the checkout as it is, and a change after which prod's model no longer fits, and poc's still does."""
    checkout = copy_checkout(root, tmp_path_factory.mktemp("review") / "repository")
    git(checkout, "init", "-q", "-b", "main")
    (checkout / ".git/info/exclude").write_text(".venv\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "base")
    rewrite(checkout, "prod", "tier: prod\n", "tier: l4-1\n")
    rewrite(checkout, "poc", "max_num_seqs: 64\n", "max_num_seqs: 32\n")
    git(checkout, "commit", "-q", "-a", "-m", "head")
    return checkout


def init(run: Run, stack: str) -> None:
    """As one who deploys: the backend knows the stack, and holds nothing of it."""
    place = run.clone("deployment")
    env = {"PULUMI_BACKEND_URL": f"file://{run.folder / 'backend'}", "SLIPWAY_KEY_PLATFORM": secrets.token_hex(32)}
    env |= {"PULUMI_CONFIG_PASSPHRASE": SECRETS["PULUMI_CONFIG_PASSPHRASE"]}
    command = f'eval "$(slipway env {stack})" && pulumi stack init {stack} --non-interactive'
    ended = run.shell("deployment", place, command, env)
    assert ended.status == 0, ended.output


def new_run(repository: Path, folder: Path, service: Service, *, fork: bool = False) -> Run:
    shutil.copytree(repository, folder / "repository", symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    return Run(folder, service, fork=fork)


@pytest.fixture(scope="module")
def done(root: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All jobs of a pull request of the same repository, twice the comment."""
    with double("github", SECRETS["TOKEN"]) as service:
        service.crowd()
        run = new_run(repository, tmp_path_factory.mktemp("run"), service)
        (run.folder / "backend").mkdir()
        init(run, "poc")
        run.statuses["check"] = run.job(root, "check")
        for stack in json.loads(run.outputs("check")["stacks"]):
            run.statuses[stack] = run.job(root, "preview", **{"matrix.stack": stack})
        for job in ("review", "comment"):
            run.statuses[job] = run.job(root, job)
        yield run


def test_each_job_ends_as_it_should(done: Run) -> None:
    """Red where prod is refused: its check, its preview, and the review; the others green, comment included."""
    told = "\n".join(f"{each.job}: {each.command}: {each.status}\n{each.output}" for each in done.ran)
    assert done.statuses == {
        "check": [0, 0, 0, 1],
        "poc": [0, 0],
        "prod": [0, 1],
        "review": [0, 0, 1],
        "comment": [0],
    }, told


def test_the_comment_says_what_is_so(done: Run) -> None:
    (text,) = done.service.ours
    head, base = (git(done.repository, "rev-parse", commit) for commit in ("HEAD", "HEAD^1"))
    title = "## Slipway review: ✖ 1 of 2 stacks would be refused or fail"
    assert text.startswith(f"{MARKER}\n{title}\n\nCommit `{head}`, held against `{base}`.\n")
    (prod,) = re.findall(r"^\| `prod` \|.*$", text, re.MULTILINE)
    assert "✖ 1 check failed" in prod
    # It is no new stack, and the backend does not know it.
    assert "preview failed, not in the backend | ? | ? | ? | ? |" in prod
    assert "GPUs: 8 → 1<br>" in prod
    (llama,) = re.findall(r"^\| `llama-3.3-70b-instruct` \|.*$", text, re.MULTILINE)
    assert llama.startswith("| `llama-3.3-70b-instruct` | 1 | 8 → 1 | ")
    assert llama.endswith(" | 256 → 0 |")
    assert "- pool `gpu`: tier `prod` → `l4-1`, GPU `h100-sxm-80gb` → `l4`, GPUs of each machine `8` → `1`" in text
    (poc,) = re.findall(r"^\| `poc` \|.*$", text, re.MULTILINE)
    # The engine's own count: nothing is deployed yet.
    assert re.search(r"✔ ready[^|]*\| 25 \| 0 \| 0 \| 0 \|", poc)
    assert re.search(r"^\| `qwen2.5-1.5b-instruct` \|.* \| 64 → 32 \|$", text, re.MULTILINE)
    assert "`gpu-1/qwen2-5-1-5b-instruct` (`playbook:index:Playbook`)" in text
    assert "no memory is left for the KV cache" in text
    assert "1 check(s) failed; nothing was touched" in text


def test_no_secret_appears_anywhere(done: Run) -> None:
    assert done.leaks() == []


def test_a_preview_makes_no_stack_in_the_backend(done: Run) -> None:
    kept = [file.name for file in (done.folder / "backend").rglob("*.json*") if "stacks" in file.parts]
    assert {name.partition(".")[0] for name in kept} == {"poc"}


def test_a_preview_leaves_the_stacks_files_as_they_were(done: Run) -> None:
    """The engine puts a salt into them."""
    assert git(done.folder / "jobs/preview-poc", "diff", "HEAD") == ""


def test_findings_are_there_for_the_diff(done: Run) -> None:
    sarif = json.loads((done.artifacts / "sarif/slipway.sarif").read_text())
    found = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in sarif["runs"][0]["results"]
    }
    assert "stacks/Pulumi.prod.yaml" in found


def test_the_comment_is_updated_in_place(root: Path, done: Run) -> None:
    before = len(done.service.comments)
    # A second push: the jobs of the first are done.
    shutil.rmtree(done.folder / "jobs/comment")
    second = f"{MARKER}\nsecond, of {git(done.repository, 'rev-parse', 'HEAD')}\n"
    (done.artifacts / "comment/comment.md").write_text(second)
    assert done.job(root, "comment") == [0]
    assert done.service.ours == [second]
    assert len(done.service.comments) == before
    # What looks like ours and is somebody else's stays as it was.
    assert done.service.comments[3]["body"] == f"{MARKER} not ours"
    assert done.leaks() == []


def test_a_fork_gets_a_review_and_no_secret(root: Path, repository: Path, tmp_path: Path) -> None:
    with double("github", SECRETS["TOKEN"]) as service:
        run = new_run(repository, tmp_path, service, fork=True)
        assert run.job(root, "check") == [0, 0, 0, 1]
        assert run.job(root, "review") == [0, 0, 1]
        assert run.job(root, "comment") == [0]
        assert service.requests == []
    assert run.summary.read_text().startswith(f"{MARKER}\n## Slipway review: ✖")
    assert "No preview was made" in run.summary.read_text()
    assert run.leaks() == []


def amend(run: Run, file: str, content: str) -> None:
    """The change has one file more."""
    (run.repository / file).parent.mkdir(parents=True, exist_ok=True)
    (run.repository / file).write_text(content)
    git(run.repository, "add", "-f", file)
    git(run.repository, "commit", "-q", "--amend", "--no-edit")


def test_a_review_that_fails_takes_the_place_of_the_comment_before(
    root: Path, repository: Path, tmp_path: Path
) -> None:
    with double("github", SECRETS["TOKEN"]) as service:
        service.add(f"{MARKER}\n## Slipway review: ✔", service.OURS)
        run = new_run(repository, tmp_path, service)
        amend(run, "stacks/Pulumi.poc.eu.yaml", "config: {}\n")
        assert run.job(root, "check")[:2] == [0, 2]
        assert run.job(root, "review") == [0, 2]
        assert run.job(root, "comment") == [0]
        (text,) = service.ours
        assert text.startswith(f"{MARKER}\n## Slipway review: ✖ the review failed\n")
        assert f"`{git(run.repository, 'rev-parse', 'HEAD')}`" in text


def test_the_required_job_fails_where_the_check_did_not_end(root: Path, repository: Path, tmp_path: Path) -> None:
    with double("github", SECRETS["TOKEN"]) as service:
        assert new_run(repository, tmp_path, service).job(root, "review", gate=True) == [1]


FORGED = "review-out/previews/poc.json"


def test_results_that_were_committed_are_taken_by_nobody(root: Path, repository: Path, tmp_path: Path) -> None:
    with double("github", SECRETS["TOKEN"]) as service:
        run = new_run(repository, tmp_path, service)
        amend(run, FORGED, '{"steps": [], "changeSummary": {}}')
        for job in ("check", "review"):
            assert run.job(root, job)[0] == 2
            assert "review-out holds files of the repository" in run.ran[-1].output
        git(run.repository, "rm", "-q", "-r", "review-out")
        (run.repository / "review-out").symlink_to("docs")
        git(run.repository, "add", "-f", "review-out")
        git(run.repository, "commit", "-q", "--amend", "--no-edit")
        ended = run.shell("review", run.clone("linked"), "tools/review/review.sh", {})
        assert (ended.status, "holds files of the repository" in ended.output) == (2, True)


def test_files_that_a_stack_names_have_stand_ins_for_as_long_as_it_takes(repository: Path, tmp_path: Path) -> None:
    """And a stack that is no new one is to be in the backend that was given."""
    with double("github", SECRETS["TOKEN"]) as service:
        run = new_run(repository, tmp_path, service)
        (run.folder / "backend").mkdir()
        place = run.clone("preview")
        home = run.folder / "home"
        (home / "tls").mkdir()
        (home / "tls/ca.pem").write_text("of the site\n")
        rewrite(place, "poc", "{host_path: /srv/models/Qwen2.5-1.5B-Instruct}\n", "{path: ~/models/qwen}\n")
        front = "    front: {certificate_file: ~/tls/host.pem, key_file: ~/keys/tls/host.key, ca_file: ~/tls/ca.pem}\n"
        rewrite(place, "poc", "    gateway:\n", f"{front}    gateway:\n")
        env = {
            "PULUMI_BACKEND_URL": f"file://{run.folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": SECRETS["PULUMI_CONFIG_PASSPHRASE"],
            # As a form of a web page leaves it.
            "SLIPWAY_SECRETS": DOTENV.replace("\n", "\r\n") + "\r\nPATH=/nowhere\r\n",
            "PREVIEWS": "expected",
        }
        ended = run.shell("preview", place, "tools/review/preview.sh poc", env)
        assert ended.status == 0, ended.output
        dropped = "SLIPWAY_KEY_ASSISTANT, SLIPWAY_KEY_ANALYTICS, PATH"
        assert f"SLIPWAY_SECRETS: stack poc names no such variable: {dropped}\n" in ended.output
        assert sorted(each.name for each in home.iterdir() if each.name in {".ssh", "keys", "models", "tls"}) == ["tls"]
        assert [each.name for each in (home / "tls").iterdir()] == ["ca.pem"]
        assert (home / "tls/ca.pem").read_text() == "of the site\n"
        assert json.loads((place / "review-out/previews/poc.json").read_text())["state"] == "missing"
        assert run.shell("review", place, "tools/review/base.sh && tools/review/review.sh", env).status == 1
        assert re.search(r"\| `poc` \| ✖ not in the backend \| 25 \|", (place / "review-out/comment.md").read_text())
        assert run.leaks() == []


def test_a_preview_that_got_lost_is_no_green_line(repository: Path, tmp_path: Path) -> None:
    with double("github", SECRETS["TOKEN"]) as service:
        run = new_run(repository, tmp_path, service)
        place = run.clone("review")
        assert run.shell("review", place, "tools/review/base.sh", {}).status == 0
        assert run.shell("review", place, "tools/review/review.sh", {"PREVIEWS": "expected"}).status == 1
        assert "`poc` | ✖ preview failed" in (place / "review-out/comment.md").read_text()


@pytest.fixture
def poster(repository: Path, tmp_path: Path) -> Iterator[tuple[Run, Path]]:
    with double("github", SECRETS["TOKEN"]) as service:
        run = new_run(repository, tmp_path, service)
        place = run.clone("comment")
        (place / "review-out").mkdir()
        (place / "review-out/comment.md").write_text(f'{MARKER}\nquotes " and \\ and ✔\n')
        yield run, place


ALLOWED = {"GITHUB_TOKEN": SECRETS["TOKEN"], "PULL_REQUEST": "7", "HEAD_REPOSITORY": "owner/name"}


@pytest.mark.parametrize(
    ("env", "refuse", "status", "requests"),
    [
        ({"GITHUB_TOKEN": ""}, 0, 0, 0),
        ({"HEAD_REPOSITORY": ""}, 0, 0, 0),
        ({}, 403, 0, 2),
        ({"GITHUB_TOKEN": "other"}, 0, 0, 1),
        ({}, 422, 1, 2),
    ],
)
def test_what_can_not_be_posted_is_in_the_summary(
    poster: tuple[Run, Path], env: dict[str, str], refuse: int, status: int, requests: int
) -> None:
    run, place = poster
    run.service.refuse = refuse
    ended = run.shell("comment", place, "tools/review/comment.sh", ALLOWED | env)
    assert (ended.status, len(run.service.requests)) == (status, requests), ended.output
    assert run.summary.read_text() == (place / "review-out/comment.md").read_text()
    assert run.service.comments == []
    assert run.leaks() == []


def test_a_comment_that_is_a_link_is_not_read(poster: tuple[Run, Path]) -> None:
    """It could lead to the environment, where the token is."""
    run, place = poster
    (place / "review-out/comment.md").unlink()
    (place / "review-out/comment.md").symlink_to("/proc/self/environ")
    ended = run.shell("comment", place, "tools/review/comment.sh", ALLOWED)
    assert (ended.status, run.service.requests, run.leaks()) == (2, [], [])


def test_no_option_comes_in_with_a_token(poster: tuple[Run, Path]) -> None:
    run, place = poster
    for env in ({"GITHUB_TOKEN": f'{SECRETS["TOKEN"]}"\noutput = "/tmp/x'}, {"PULL_REQUEST": "7/../8"}):
        assert run.shell("comment", place, "tools/review/comment.sh", ALLOWED | env).status == 2
    assert run.service.requests == []
    assert run.leaks() == []


@pytest.mark.parametrize("name", ["$(touch /tmp/x)", "../x", "", "-x"])
def test_names_are_checked_before_they_are_used(poster: tuple[Run, Path], name: str) -> None:
    run, place = poster
    ended = run.shell("preview", place, 'tools/review/preview.sh "$STACK"', {"STACK": name})
    assert ended.status == 2
    assert "can't name a stack" in ended.output


# GitLab


def pipeline(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((root / PIPELINE).read_text())
    return document


def test_the_pipeline_runs_the_same_scripts(root: Path) -> None:
    document = pipeline(root)
    jobs = {name: job for name, job in document.items() if isinstance(job, dict) and "script" in job}
    assert [job["stage"] for job in jobs.values()] == document["stages"]
    ours = {script for job in jobs.values() for script in re.findall(r"tools/review/\w+\.sh", "\n".join(job["script"]))}
    github = {step["run"].split()[0] for _, step in steps(root) if step.get("run", "exit 1") != "exit 1"}
    assert ours - {"tools/review/note.sh"} == github - {"tools/review/comment.sh"}
    for name, job in jobs.items():
        for needed in job.get("needs", ()):
            assert (needed if isinstance(needed, str) else needed["job"]) in jobs, name


def test_the_pipeline_keeps_variables_from_forks(root: Path) -> None:
    document = pipeline(root)
    assert document["workflow"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]
    assert document["preview"]["rules"] == [{"if": "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID"}]
    # A variable's scope is the environment of the jobs that it goes to; without one, no job has the variables.
    scopes = {name: job["environment"] for name, job in document.items() if "environment" in job}
    assert scopes == {
        "preview": {"name": "preview", "action": "prepare"},
        "note": {"name": "review-note", "action": "prepare"},
    }
    assert all(f"`{scope['name']}`" in (root / "docs/review.md").read_text() for scope in scopes.values())
    assert document["note"]["variables"] == {"GIT_STRATEGY": "none"}


def test_the_pipeline_posts_one_note(root: Path, repository: Path, tmp_path: Path) -> None:
    with double("gitlab", SECRETS["TOKEN"]) as service:
        service.crowd()
        run = new_run(repository, tmp_path, service)
        git(run.repository, "branch", "trunk", "HEAD^1")
        place = run.clone("pipeline")
        env = {
            "BASE": git(place, "rev-parse", "HEAD^1"),
            "CI_API_V4_URL": service.url,
            "CI_COMMIT_SHA": git(place, "rev-parse", "HEAD"),
            "CI_DEFAULT_BRANCH": "trunk",
            "CI_PROJECT_DIR": str(place),
            "CI_PROJECT_ID": "5",
            "CI_REPOSITORY_URL": str(run.repository),
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "5",
            "CI_MERGE_REQUEST_IID": "7",
            "PREVIEWS": "expected",
        }
        hidden = {"SLIPWAY_SECRETS": DOTENV, "GITLAB_TOKEN": SECRETS["TOKEN"]}
        hidden |= {"PULUMI_CONFIG_PASSPHRASE": SECRETS["PULUMI_CONFIG_PASSPHRASE"]}
        ended = {}
        for job in ("check", "preview", "review", "note"):
            # A job's script ends with its first line that fails.
            command = "\n".join(pipeline(root)[job]["script"])
            if job == "note":
                # The branch's own script is run by nobody.
                (place / "tools/review/note.sh").write_text("exit 9\n")
            ended[job] = run.shell(job, place, command, env | (hidden if job in {"preview", "note"} else {})).status
        assert ended == {"check": 1, "preview": 123, "review": 1, "note": 0}, [each.output for each in run.ran]
        (text,) = service.ours
        assert "| `prod` | ✖" in text
        assert "| `poc` | ✔ ready, held against an empty state" in text
        note = "\n".join(pipeline(root)["note"]["script"])
        second = f"{MARKER}\nsecond, of {env['CI_COMMIT_SHA']}\n"
        (place / "review-out/comment.md").write_text(second)
        assert run.shell("note", place, note, env | hidden).status == 0
        assert service.ours == [second]
        before = len(service.requests)
        fork = env | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "6"}
        ended_fork = run.shell("note", place, note, fork)
        assert (ended_fork.status, len(service.requests)) == (0, before)
        assert "second" in ended_fork.output
        # What another job left in the folder, or the branch has committed there, is of another commit.
        (place / "review-out/comment.md").write_text(f"{MARKER}\n## Slipway review: ✔\n\nCommit `{env['BASE']}`\n")
        assert run.shell("note", place, note, env | hidden).status == 0
        assert service.ours[0].startswith(f"{MARKER}\n## Slipway review: ✖ the review failed\n")
        assert run.leaks() == []


# before a commit


def test_hooks_look_at_what_a_check_reads(root: Path) -> None:
    (published,) = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text())
    (local,) = (
        hook
        for repo in yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
        if hook["id"] == published["id"]
    )
    assert published["language"] == "python"
    for hook in (published, local):
        assert hook["pass_filenames"] is False
        assert hook["entry"].endswith("slipway check")
        # No pattern knows the catalogue that a stack names, and a deletion leaves no file to match.
        assert hook["always_run"] is True
        assert "files" not in hook


def test_an_installed_slipway_checks_the_project_that_it_is_called_in(root: Path, tmp_path: Path) -> None:
    """As the published hook does: a package apart from the checkout, called in the folder of somebody's own project."""
    source = copy_checkout(root, tmp_path / "source")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    (tmp_path / "own/stacks").mkdir(parents=True)
    shutil.copy2(root / "stacks/Pulumi.poc.yaml", tmp_path / "own/stacks/Pulumi.mine.yaml")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "check"],
        cwd=tmp_path / "own",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("mine: fits\n")
