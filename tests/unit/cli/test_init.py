"""`slipway init`: what it writes holds what was asked for, what it can't write it refuses, and text stays what it was."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import init
from cli import main as command_line
from slipway.catalog import load
from slipway.deployment.types import Deployment, Served
from slipway.engines.vllm.options import Options
from slipway.errors import UserMistake
from slipway.performance.plan import plan
from slipway.performance.plan_types import Plan, Question
from slipway.scaffold import Draft, InitError, access, for_option, for_tier, stack_text
from slipway.scaffold.draft import CPU_KV_GIB
from slipway.scaffold.file import validated
from slipway.scaffold.scalars import WIDTH, comment, scalar
from slipway.settings.load import read_public
from slipway.settings.models import ServedModel
from slipway.settings.platform import Settings
from slipway.settings.pools import Pool
from slipway.sizing.size import size
from slipway.targets.base import PoolMachine
from slipway.units import GiB

SMALL, LARGE, QUANTIZED = (
    "Qwen/Qwen2.5-1.5B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct-AWQ",
)
CATALOG = load()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without SSH keys, so that the machine's own do not show."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout without stacks."""
    folder = tmp_path / "checkout"
    (folder / "stacks").mkdir(parents=True)
    return folder


AS_PLANNED, SHARED, SPREAD, RENTED = 1, 2, 3, 4
"""Options of `planned`."""
PLACES = ("on-premises",)


@pytest.fixture(scope="module")
def planned() -> Plan:
    """What `slipway plan` answers, laid out in the ways that an option may be, whatever the planner thinks best."""
    question = Question(model=QUANTIZED, users=50, tiers=("team",), places=("on-premises", "cloud"), output_tokens=2500)
    answer = plan(question, CATALOG)
    bought = next(option for option in answer.options if option.place == "on-premises")
    rented = next(option for option in answer.options if option.place == "cloud" and option.gpus_per_host == 4)
    alter = msgspec.structs.replace
    whole: dict[str, Any] = {
        "tensor_parallel": 4,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "hosts": 2,
        "replicas": 2,
        "concurrency": 24,
    }
    return alter(
        answer,
        choice="whole",
        options=(
            alter(bought, id="whole", **whole),
            alter(bought, id="shared", **{**whole, "tensor_parallel": 2, "replicas": 4, "data_parallel": 2}),
            alter(bought, id="spread", **{**whole, "pipeline_parallel": 2, "replicas": 1}),
            alter(rented, id="rented", **whole),
        ),
    )


@cache
def small() -> Draft:
    return for_tier(SMALL, "poc", CATALOG)


def made(root: Path, **options: Any) -> tuple[Settings, str]:
    """The stack `s` that these options make, and its text."""
    init.make(init.Options(stack="s", **options), as_json=False, root=root)
    return read_public("s", root), (root / "stacks" / "Pulumi.s.yaml").read_text()


def pool_of(settings: Settings) -> Pool:
    (pool,) = settings.pools.values()
    return pool


def hosts_of(settings: Settings) -> list[PoolMachine]:
    return list(settings.machines.values())


def model_of(settings: Settings) -> ServedModel:
    (model,) = settings.served.values()
    return model


def engine_of(settings: Settings) -> Options:
    engine = model_of(settings).engine
    assert isinstance(engine, Options)
    return engine


def served(deployment: Deployment) -> Served:
    (found,) = deployment.served.values()
    return found


def files(root: Path) -> list[str]:
    return sorted(file.name for file in (root / "stacks").iterdir())


def written(folder: Path, value: Plan) -> Path:
    file = folder / "plan.json"
    file.write_bytes(msgspec.json.encode(value))
    return file


class TestWhatIsWritten:
    @pytest.mark.parametrize(
        ("model", "tier", "hosts", "gpus"),
        [(SMALL, "poc", 1, 1), (QUANTIZED, "team", 1, 4), (LARGE, "cluster", 2, 8), (SMALL, "cpu", 1, 0)],
    )
    def test_holds_what_was_asked_for(self, root: Path, model: str, tier: str, hosts: int, gpus: int) -> None:
        settings, text = made(root, model=model, tier=tier, teams=("research", "on"), user="deploy")
        assert model_of(settings).catalog == model
        assert list(settings.models) == [model.rpartition("/")[2].lower()]
        assert pool_of(settings).tier == tier
        assert len(settings.machines) == hosts
        assert {host.user for host in settings.machines.values()} == {"deploy"}
        assert {name: team.key.env for name, team in settings.gateway.teams.items()} == {
            "research": "SLIPWAY_KEY_RESEARCH",
            "on": "SLIPWAY_KEY_ON",
        }
        deployment, found = validated(text, "s")
        sizing = served(deployment).measured.sizing
        assert sizing is not None
        assert sizing.fits
        assert served(deployment).gpus == gpus
        assert [finding.line for finding in found if finding.severity != "note"] == []
        assert text.startswith("# yaml-language-server: $schema=../docs/reference/stack.schema.json\n")
        assert max(map(len, text.splitlines())) <= WIDTH

    def test_figures_are_the_sizings(self, root: Path) -> None:
        draft = for_tier(QUANTIZED, "team", CATALOG)
        settings, text = made(root, model=QUANTIZED, tier="team")
        request, engine = draft.sizing.request, engine_of(settings)
        assert model_of(settings).max_model_len == request.context
        assert engine.max_num_seqs == request.max_num_seqs
        assert engine.gpu_memory_utilization == request.gpu_memory_utilization
        assert engine.tensor_parallel == request.tensor_parallel == 4
        sizing = served(validated(text, "s")[0]).measured.sizing
        assert sizing is not None
        assert sizing.kv_cache_tokens == draft.sizing.kv_cache_tokens
        assert f"{draft.sizing.kv_cache_tokens:,} tokens" in " ".join(text.split())

    def test_a_small_stack_stays_small(self, root: Path) -> None:
        """What it says, beside the comments: one pool, one model, one team."""
        _, text = made(root, model=SMALL, tier="cpu")
        assert len([line for line in text.splitlines() if not line.lstrip().startswith("#")]) <= 22

    def test_a_cpu_is_left_what_the_program_itself_takes(self) -> None:
        """The sizing's own rule says how much of the host's memory there is: nothing is added or left out here."""
        draft = for_tier(SMALL, "cpu", CATALOG)
        request = draft.sizing.request
        assert request.host_memory == GiB(draft.hardware.usable_gib)
        more = size(request.but(cpu_kv_cache=GiB((draft.cpu_kv_cache_gib or 0) + 1)))
        assert draft.cpu_kv_cache_gib == CPU_KV_GIB or not more.fits

    def test_there_is_room_for_what_clients_may_ask(self) -> None:
        draft = for_tier(SMALL, "poc", CATALOG)
        assert 1 <= (draft.sizing.request.max_num_seqs or 0) <= draft.room

    def test_a_tighter_gpu_gets_a_shorter_context(self) -> None:
        tight = for_tier("Qwen/Qwen2.5-7B-Instruct", "poc", CATALOG).sizing
        wide = for_tier("Qwen/Qwen2.5-7B-Instruct", "l40s-1", CATALOG).sizing
        assert (tight.request.context or 0) < (wide.request.context or 0)
        assert tight.max_concurrency >= 8

    def test_placeholders_are_said_to_be_ones(self, root: Path) -> None:
        settings, text = made(root, model=SMALL, tier="poc")
        assert [host.address for host in hosts_of(settings)] == ["192.0.2.11"]
        assert "# Replace: 192.0.2.11 is an address that reaches nobody." in text

    def test_real_hosts_are_not(self, root: Path) -> None:
        settings, text = made(
            root, model=LARGE, tier="cluster", hosts=("llm-a.example.com=10.1.0.1", "10.1.0.2", "10.1.0.3")
        )
        assert [host.address for host in hosts_of(settings)] == ["llm-a.example.com", "10.1.0.2", "10.1.0.3"]
        assert [host.private_address for host in hosts_of(settings)] == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
        assert len(settings.machines) == 3
        assert settings.gateway_host == settings.front_host == "s-1"
        assert settings.gateway.engine_key is not None
        assert settings.gateway.engine_key.env == "SLIPWAY_ENGINE_KEY"
        assert "Replace" not in text
        assert "192.0.2." not in text

    def test_without_a_key_the_agent_is_asked(self, root: Path, home: Path) -> None:
        settings, text = made(root, model=SMALL, tier="poc")
        assert hosts_of(settings)[0].key_file is None
        assert "the SSH agent is asked" in text
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id_ecdsa").touch()
        settings, text = made(root, model=SMALL, tier="poc", force=True)
        assert hosts_of(settings)[0].key_file == home / ".ssh" / "id_ecdsa"
        assert "the SSH agent is asked" not in text

    def test_a_key_of_any_name(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path('my "key": #1 ü').touch()
        settings, _ = made(root, model=SMALL, tier="poc", key_file=Path('my "key": #1 ü'))
        assert hosts_of(settings)[0].key_file == tmp_path / 'my "key": #1 ü'

    def test_says_where_and_what_next(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        init.make(init.Options(stack="s", model=SMALL, tier="poc"), as_json=True, root=root)
        said = msgspec.json.decode(capsys.readouterr().out)
        assert said["file"] == "stacks/Pulumi.s.yaml"
        assert said["placeholders"] is True
        assert said["next"] == 'eval "$(slipway env s)" && pulumi preview --stack s'

    def test_own_catalogue(self, root: Path, tmp_path: Path) -> None:
        (entry,) = [msgspec.to_builtins(tier) for tier in CATALOG.tiers.values() if tier.id == "poc"]
        own = tmp_path / "own: #1.yaml"
        own.write_text(yaml.safe_dump({"tiers": [{**entry, "id": "desk", "aliases": [], "name": "Line\nbreak: # it"}]}))
        settings, _ = made(root, model=SMALL, tier="desk", catalog=own)
        assert settings.catalog == own
        assert pool_of(settings).tier == "desk"


class TestPlan:
    def test_as_planned(self, root: Path, tmp_path: Path, planned: Plan) -> None:
        option = planned.options[AS_PLANNED - 1]
        settings, text = made(root, from_plan=written(tmp_path, planned), option=AS_PLANNED, teams=("a", "b"))
        assert pool_of(settings).tier == option.tier
        assert len(settings.machines) == option.hosts
        assert model_of(settings).max_model_len == option.context
        assert engine_of(settings).tensor_parallel == option.tensor_parallel
        assert engine_of(settings).max_num_seqs == option.concurrency // option.replicas
        limits = [team.requests_per_minute or 0 for team in settings.gateway.teams.values()]
        assert len(set(limits)) == 1
        assert 0 < sum(limits) <= option.capacity.expected * 60
        assert model_of(settings).output_tokens >= planned.load.output_tokens
        assert "From a plan for 50 users" in text
        assert "data_parallel" not in text

    def test_several_copies_on_a_host(self, root: Path, tmp_path: Path, planned: Plan) -> None:
        option = planned.options[SHARED - 1]
        settings, text = made(root, from_plan=written(tmp_path, planned), option=SHARED)
        engine = engine_of(settings)
        assert (engine.tensor_parallel, engine.data_parallel) == (2, 2)
        assert len(settings.machines) * engine.data_parallel == option.replicas
        assert engine.max_num_seqs == option.concurrency // option.replicas
        flat = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
        assert "2 copies of the model on a host, each on 2 GPUs; the engine hands requests to them." in flat
        assert "Requests at once, of each copy, with which the plan's targets hold;" in flat

    @pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "openai/gpt-oss-20b"])
    @pytest.mark.parametrize("users", [20, 2000])
    def test_every_option_is_written_as_it_is_planned(self, model: str, users: int) -> None:
        answer = plan(Question(model=model, users=users, tiers=("team", "rtx-4090-2", "prod"), places=PLACES), CATALOG)
        assert answer.options
        for number, option in enumerate(answer.options, 1):
            draft = for_option(answer, number, 1, CATALOG)
            text = stack_text("s", draft, access(hosts=(), least_hosts=draft.hosts))
            deployment, found = validated(text, "s")
            model = served(deployment)
            assert [finding.line for finding in found if finding.severity != "note"] == []
            assert len(deployment.instances) == len(deployment.machines) == option.hosts
            parallel = model.parallelism
            assert parallel.tensor == option.tensor_parallel
            assert parallel.pipeline == option.pipeline_parallel
            assert parallel.data == option.data_parallel
            assert parallel.data * len(deployment.instances) == option.replicas
            sizing = model.measured.sizing
            assert sizing is not None
            assert sizing.request.count == draft.sizing.request.count
            assert sizing.memory is not None
            assert sizing.memory.weights.value == pytest.approx(option.memory.weights)

    def test_the_choice_is_the_default(self, planned: Plan) -> None:
        assert for_option(planned, None, 1, CATALOG) == for_option(planned, AS_PLANNED, 1, CATALOG)

    def test_without_a_choice_it_has_to_be_named(self, planned: Plan) -> None:
        nothing = msgspec.structs.replace(planned, choice=None)
        with pytest.raises(InitError, match=r"nothing in the plan meets its targets.*--option N"):
            for_option(nothing, None, 1, CATALOG)
        assert for_option(nothing, AS_PLANNED, 1, CATALOG).planned is not None

    def test_one_copy_over_several_hosts_is_refused(self, planned: Plan) -> None:
        with pytest.raises(InitError) as refused:
            for_option(planned, SPREAD, 1, CATALOG)
        assert refused.value.report == (
            f"--option: {SPREAD} ({planned.options[SPREAD - 1].name}): its copies of the model (1, each on 8 GPUs) do not go on "
            "2 hosts of 4 GPUs, and how fast one engine over several hosts answers is not predicted: plan again"
        )

    def test_copies_that_do_not_add_up_are_refused(self, planned: Plan) -> None:
        odd = msgspec.structs.replace(planned.options[SHARED - 1], replicas=3)
        with pytest.raises(
            InitError, match=r"its copies of the model \(3, each on 2 GPUs\) do not go on 2 hosts of 4 GPUs"
        ):
            for_option(msgspec.structs.replace(planned, options=(odd,)), 1, 1, CATALOG)

    def test_copies_of_a_mixture_of_experts_are_refused(self, planned: Plan) -> None:
        with pytest.raises(InitError, match=r"of a mixture of experts the engine makes no copies: plan again"):
            for_option(msgspec.structs.replace(planned, model="openai/gpt-oss-20b"), SHARED, 1, CATALOG)

    def test_an_instance_is_not_taken_for_the_tier_that_it_is_near(self, planned: Plan) -> None:
        draft = for_option(planned, RENTED, 1, CATALOG)
        text = stack_text("s", draft, access(hosts=(), least_hosts=draft.hosts))
        pool = pool_of(validated(text, "s")[0].settings)
        instance = CATALOG.instances[planned.options[RENTED - 1].instance or ""]
        assert pool.tier is None
        assert pool.gpu == instance.gpu
        assert pool.gpus == instance.gpus
        assert pool.min_memory_gib < instance.memory_gib
        assert "rented" in text

    @pytest.mark.parametrize("at", [0, -1, 1000])
    def test_a_number_out_of_range(self, planned: Plan, at: int) -> None:
        with pytest.raises(InitError, match=f"--option: {at} is not in the plan; it has 1 to {len(planned.options)}"):
            for_option(planned, at, 1, CATALOG)

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"model": 1}', b'"plan"', b"model: yaml", b'{"options": []}']
    )
    def test_a_file_that_is_none(self, root: Path, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "no-plan"
        file.write_bytes(content)
        with pytest.raises(InitError, match=r"is not the answer of `slipway plan --json`") as refused:
            made(root, from_plan=file)
        assert "\n" not in refused.value.report
        assert files(root) == []

    @pytest.mark.parametrize("name", ["absent.json", "."])
    def test_a_file_that_cannot_be_read(self, root: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(InitError, match="cannot be read"):
            made(root, from_plan=tmp_path / name)


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"stack": "a/b"}, "'a/b' can't name a stack"),
            ({"stack": "../b"}, "can't name a stack"),
            ({"stack": ""}, "can't name a stack"),
            ({"stack": "a b"}, "can't name a stack"),
            ({"stack": "-a"}, "can't name a stack"),
            ({"stack": "a\n"}, "can't name a stack"),
            ({"stack": "a" * 64}, "can't name a stack"),
            ({"model": "Qwen/Qwen2.5-7B-Instruc"}, "the nearest: Qwen/Qwen2.5-7B-Instruct"),
            ({"tier": "prodd"}, "the nearest: prod"),
            ({"model": LARGE}, "tiers that hold it: cluster"),
            ({"model": "BAAI/bge-m3"}, "embedding or reranking model"),
            ({"tier": "mi300x-8"}, "no NVIDIA GPU"),
            ({"tier": "cpu", "model": "openai/gpt-oss-20b"}, "no kernels on a CPU"),
            ({"tier": "lab", "model": "Qwen/Qwen2.5-7B-Instruct"}, "are more than the host's 4.00 GiB of memory"),
            ({"hosts": ("not a host",)}, "--host: 'not a host' is neither"),
            ({"hosts": ("2001:db8::1",)}, "--host: 2001:db8::1 is an IPv6 address"),
            ({"hosts": ("10.0.0.1=8.8.8.8",)}, "--host: 8.8.8.8 is not a private address"),
            ({"hosts": ("10.0.0.1=",)}, "--host: '' is not an IP address"),
            ({"hosts": ("10.0.0.1", "10.0.0.1")}, "--host: 10.0.0.1 is given twice"),
            ({"hosts": ("10.0.0.1", "8.8.8.8")}, "as 8.8.8.8=10.0.0.1"),
            ({"tier": "cluster", "hosts": ("10.0.0.1",)}, "--host: 1 given, and the deployment takes 2"),
            ({"user": "Root"}, "--user: 'Root' is not a user name"),
            ({"user": ""}, "--user: '' is not a user name"),
            ({"teams": ("A",)}, "--team: 'A' is not"),
            ({"teams": ("a", "b", "a")}, "--team: a is given twice"),
            ({"key_file": Path("/nowhere/key")}, "--key-file: /nowhere/key is no file"),
            ({"catalog": Path("/nowhere/own.yaml")}, "/nowhere/own.yaml: "),
            ({"from_plan": Path("p")}, "--from-plan: names model and hardware itself"),
            ({"option": 1}, "--option: belongs to a plan"),
            ({"tier": None}, "init: --tier missing, and there is no terminal"),
            ({"model": None, "tier": None}, "init: --model and --tier missing, and there is no terminal"),
        ],
    )
    def test_with_one_line_and_nothing_written(
        self,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
        said: str,
    ) -> None:
        monkeypatch.setattr(init, "at_terminal", lambda: False)
        wish = replace(init.Options(stack="s", model=SMALL, tier="poc"), **options)
        with pytest.raises(UserMistake) as refused:
            init.make(wish, as_json=False, root=root)
        assert said in refused.value.report
        assert "\n" not in refused.value.report
        assert files(root) == []

    def test_ends_with_status_2(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(init, "make", partial(init.make, root=root))
        monkeypatch.setattr(sys, "argv", ["slipway", "init", "s", "--model", SMALL, "--tier", "po"])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert said.err == "--tier: 'po' is not in the catalogue; the nearest: poc, prod\n"
        assert said.out == ""

    def test_the_command_passes_every_option_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        passed: list[init.Options] = []
        monkeypatch.setattr(init, "make", lambda options, **_: passed.append(options))
        options = "--model m --tier t --host a --host b --user u --key-file k --team x --team y --catalog c --force"
        plan_options = "--from-plan p --option 3"
        monkeypatch.setattr(sys, "argv", ["slipway", "init", "s", *options.split(), *plan_options.split()])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 0
        assert passed == [
            init.Options(
                stack="s",
                from_plan=Path("p"),
                option=3,
                model="m",
                tier="t",
                hosts=("a", "b"),
                user="u",
                key_file=Path("k"),
                teams=("x", "y"),
                catalog=Path("c"),
                force=True,
            )
        ]


class TestReplacing:
    OLD = "encryptionsalt: v1:abc\nconfig:\n  slipway:platform: {}\n"

    def test_needs_force(self, root: Path) -> None:
        file = root / "stacks" / "Pulumi.s.yaml"
        file.write_text(self.OLD)
        with pytest.raises(InitError, match=r"stacks/Pulumi\.s\.yaml is there already.*--force"):
            made(root, model=SMALL, tier="poc")
        assert file.read_text() == self.OLD

    def test_keeps_what_pulumi_reads_the_state_with(self, root: Path) -> None:
        (root / "stacks" / "Pulumi.s.yaml").write_text(self.OLD)
        settings, text = made(root, model=SMALL, tier="poc", force=True)
        assert model_of(settings).catalog == SMALL
        assert yaml.safe_load(text)["encryptionsalt"] == "v1:abc"
        assert files(root) == ["Pulumi.s.yaml"]

    def test_a_refused_wish_leaves_the_old_file(self, root: Path) -> None:
        (root / "stacks" / "Pulumi.s.yaml").write_text(self.OLD)
        with pytest.raises(UserMistake):
            made(root, model=LARGE, tier="poc", force=True)
        assert (root / "stacks" / "Pulumi.s.yaml").read_text() == self.OLD

    def test_one_that_appears_meanwhile_stays(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = root / "stacks" / "Pulumi.s.yaml"

        def slow(text: str, stack: str) -> object:
            file.write_text(self.OLD)
            return validated(text, stack)

        monkeypatch.setattr("slipway.scaffold.file.validated", slow)
        with pytest.raises(InitError, match="is there already"):
            made(root, model=SMALL, tier="poc")
        assert file.read_text() == self.OLD
        assert files(root) == ["Pulumi.s.yaml"]


class TestQuestions:
    def answer(self, monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> list[str]:
        """Answers in turn, "" taking the default; the questions that were asked."""
        asked: list[str] = []

        def text(question: str, default: str) -> str:
            asked.append(question)
            return answers.pop(0) or default

        monkeypatch.setattr(init, "at_terminal", lambda: True)
        monkeypatch.setattr(init, "_text", text)
        return asked

    def test_each_answer_counts(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        answers = ["local", QUANTIZED, "3", "one two", "team", "10.0.0.9", "root", ""]
        asked = self.answer(monkeypatch, answers)
        settings, _ = made(root)
        assert answers == []
        assert [question.split()[0] for question in asked] == [
            "Scenario", "Model", "Users", "Teams", "Tier", "Addresses", "SSH", "SSH",
        ]  # fmt: skip
        assert model_of(settings).catalog == QUANTIZED
        assert pool_of(settings).tier == "team"
        assert list(settings.gateway.teams) == ["one", "two"]
        assert [(host.address, host.user) for host in hosts_of(settings)] == [("10.0.0.9", "root")]
        told = capsys.readouterr().err
        marks = {line.split()[1]: line for line in told.splitlines() if line.startswith(" * ")}
        assert "team" in marks
        assert "lab" not in marks

    def test_an_answer_that_cannot_be_is_asked_for_again(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = [
            "nonsense",
            "",
            "gpt-9",
            SMALL,
            "0",
            "many",
            "5",
            "A",
            "a",
            "lab-7",
            "poc",
            "1.2.3",
            "",
            "R",
            "",
            "/none",
            "",
        ]
        self.answer(monkeypatch, wrong)
        settings, _ = made(root)
        assert wrong == []
        assert pool_of(settings).tier == "poc"
        told = capsys.readouterr().err
        for piece in ("'nonsense'", "'gpt-9'", "'0'", "'many'", "'A'", "'lab-7'", "'1.2.3'", "'R'", "/none"):
            assert piece in told

    def test_what_is_given_is_not_asked(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.answer(monkeypatch, ["", "", "", ""])
        settings, _ = made(root, model=SMALL, hosts=("10.0.0.9",), user="u", teams=("t",))
        assert [question.split()[0] for question in asked] == ["Scenario", "Users", "Tier", "SSH"]
        assert hosts_of(settings)[0].address == "10.0.0.9"

    def test_what_is_given_and_wrong_ends_it(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, ["", "", "", "", ""])
        with pytest.raises(UserMistake, match="'gpt-9' is not in the catalogue"):
            made(root, model="gpt-9")
        assert files(root) == []


class TestText:
    @given(st.text())
    def test_a_scalar_is_read_back_as_it_was(self, value: str) -> None:
        line = scalar(value)
        assert "\n" not in line
        assert yaml.safe_load(f"key: {line}\nother: 1\n") == {"key": value, "other": 1}

    @pytest.mark.parametrize(
        "word",
        ["on", "Off", "y", "N", "yes", "null", "~", "", "1", "1.5", "1e3", "0x1f", "0o17", "1_000", "12:30", "2026-11-21",
         ".inf", ".nan", "- a", "a: b", "a #b", "*a", "&a", "!a", "%a", "@a", "`a", "{a", "[a", "true", "<<", "=", "é"],
    )  # fmt: skip
    def test_what_a_reader_might_mistake_is_quoted(self, word: str) -> None:
        assert scalar(word).startswith('"')
        assert scalar(word).isascii()

    @pytest.mark.parametrize(
        "word", ["gpu-1", "192.0.2.11", "~/.ssh/id_ed25519", "/srv/models/Qwen2.5", "Qwen/Qwen2.5-7B"]
    )
    def test_the_rest_is_plain(self, word: str) -> None:
        assert scalar(word) == word

    @given(st.text(), st.integers(0, 10))
    def test_a_comment_stays_one(self, text: str, indent: int) -> None:
        assert yaml.safe_load("\n".join([*comment(text, indent), "key: 1"])) == {"key": 1}

    @settings(max_examples=40, deadline=None)
    @given(
        key=st.text(min_size=1).map(lambda name: f"/{name}"),
        teams=st.lists(
            st.one_of(
                st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
                st.sampled_from(["on", "no", "null", "true", "1", "007", "1e3", "0x1f", "y"]),
            ),
            min_size=1,
            max_size=5,
            unique=True,
        ),
        user=st.sampled_from(["on", "null", "y", "ubuntu", "_x-1"]),
        stack=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True),
    )
    def test_names_survive_the_file(self, key: str, teams: list[str], user: str, stack: str) -> None:
        reach = access(hosts=("10.0.0.1", "10.0.0.2"), least_hosts=1, user=user, teams=teams)
        text = stack_text(stack, small(), replace(reach, key_file=key))
        document = yaml.safe_load(text)["config"]["slipway:platform"]
        hosts = document["pools"]["gpu"]["hosts"].values()
        assert {host["key_file"] for host in hosts} == {key}
        assert {host["user"] for host in hosts} == {user}
        assert list(document["gateway"]["teams"]) == teams
        if "\0" not in key:
            assert list(validated_names(text, stack, key).gateway.teams) == teams


def validated_names(text: str, stack: str, key: str) -> Settings:
    """The settings; the key file is left out, for it is not there."""
    document = yaml.safe_load(text)
    for host in document["config"]["slipway:platform"]["pools"]["gpu"]["hosts"].values():
        assert host.pop("key_file") == key
    return validated(yaml.safe_dump(document, sort_keys=False), stack)[0].settings
