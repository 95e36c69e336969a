"""Which stacks a change touches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.review import Changed, ChangesError, How, changes

STACK = "config:\n  slipway:platform:\n    catalog: mine.yaml\n"


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkouts alike, with stacks a and b."""
    for side in ("base", "head"):
        for name in ("a", "b"):
            (tmp_path / side / "stacks").mkdir(parents=True, exist_ok=True)
            (tmp_path / side / f"stacks/Pulumi.{name}.yaml").write_text(STACK if name == "a" else "config: {}\n")
        for name in ("slipway/x.py", "policies/rules/r.py", "docs/d.md", "tests/t.py", "mine.yaml", "Pulumi.yaml"):
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / name).write_text("1")
    return tmp_path / "base", tmp_path / "head"


def touched(sides: tuple[Path, Path]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.name, str(each.how), each.files) for each in changes(*sides).stacks]


def put(root: Path, file: str, content: str = "2") -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(content)


def test_nothing(sides: tuple[Path, Path]) -> None:
    assert touched(sides) == []


@pytest.mark.parametrize(
    "file",
    [
        "docs/d.md",
        "tests/t.py",
        "README.md",
        "slipway/__pycache__/x.pyc",
        "playbooks/.ansible/x",
        "policies/config/z.json",
        "LICENSE",
        ".vscode/settings.json",
        "components/README.md",
    ],
)
def test_what_no_stack_is_made_of(sides: tuple[Path, Path], file: str) -> None:
    put(sides[1], file)
    assert touched(sides) == []


@pytest.mark.parametrize("file", ["stacks/Pulumi.a.yaml", "policies/config/a.json", "mine.yaml"])
def test_a_stacks_own_files(sides: tuple[Path, Path], file: str) -> None:
    """The last is the catalogue that stack a names."""
    put(sides[1], file, STACK + "# x" if file.startswith("stacks") else "2")
    assert touched(sides) == [("a", "changed", (file,))]


INVENTORY = "config: {slipway:platform: {pools: {gpu: {inventory: {file: ./sites/hosts, group: gpu}}}}}\n"


@pytest.mark.parametrize("file", ["sites/hosts", "sites/group_vars/gpu.yml", "sites/host_vars/gpu-1/more.yml"])
@pytest.mark.parametrize("named", ["sites/hosts", "sites"])
def test_an_inventory_and_what_lies_beside_it_is_its_stacks_own(
    sides: tuple[Path, Path], file: str, named: str
) -> None:
    for side in sides:
        put(side, "stacks/Pulumi.b.yaml", INVENTORY.replace("sites/hosts", named))
        put(side, "sites/hosts", "1")
    put(sides[1], file)
    assert touched(sides) == [("b", "changed", (file,))]
    assert changes(*sides).shared == ()


@pytest.mark.parametrize("named", ["docs/d.md", "tests/hosts.ini"])
def test_an_inventory_counts_wherever_it_lies(sides: tuple[Path, Path], named: str) -> None:
    for side in sides:
        put(side, "stacks/Pulumi.b.yaml", INVENTORY.replace("sites/hosts", named))
    put(sides[1], named)
    assert touched(sides) == [("b", "changed", (named,))]


@pytest.mark.parametrize("named", ["slipway/x.py", "sitecustomize.py", "other/x.py", "components"])
def test_code_that_a_stack_calls_its_inventory_is_code(sides: tuple[Path, Path], named: str) -> None:
    for side in sides:
        put(side, "stacks/Pulumi.b.yaml", INVENTORY.replace("sites/hosts", named))
    put(sides[1], named)
    assert changes(*sides).judges == (named,)


@pytest.mark.parametrize("named", ["/etc/hosts", "../base/mine.yaml", ".", "~/hosts"])
def test_an_inventory_outside_the_checkout_is_none_of_it(sides: tuple[Path, Path], named: str) -> None:
    for side in sides:
        put(side, "stacks/Pulumi.b.yaml", INVENTORY.replace("./sites/hosts", named))
    assert touched(sides) == []


@pytest.mark.parametrize(
    "file",
    [
        "slipway/x.py",
        "slipway/new/y.py",
        "policies/rules/r.py",
        "policies/data/d.yaml",
        "Pulumi.yaml",
        "__main__.py",
        "requirements.txt",
        "pyproject.toml",
        "components/c.py",
        "provider/p.py",
        "playbooks/roles/r.yml",
        "tools/review/check.sh",
        ".github/workflows/review.yml",
        ".gitlab-ci.yml",
        "docs/gitlab-review.yml",
        "sitecustomize.py",
        "stacks/sitecustomize.py",
        "other.yaml",
    ],
)
def test_shared_code_touches_all(sides: tuple[Path, Path], file: str) -> None:
    put(sides[1], file)
    assert touched(sides) == [("a", "shared", ()), ("b", "shared", ())]
    assert changes(*sides).shared == (file,)


@pytest.mark.parametrize(
    ("file", "loud"),
    [
        ("sitecustomize.py", True),
        (".github/workflows/review.yml", True),
        ("requirements.txt", True),
        ("components/c.py", True),
        ("docs/gitlab-review.yml", True),
        ("playbooks/roles/r.yml", False),
    ],
)
def test_what_runs_in_a_review_judges_it(sides: tuple[Path, Path], file: str, loud: bool) -> None:
    put(sides[1], file)
    assert changes(*sides).judges == ((file,) if loud else ())


@pytest.mark.parametrize("folder", ["policies/rules", "docs"])
def test_a_link_in_a_folders_place_is_seen(sides: tuple[Path, Path], folder: str) -> None:
    """Though what lies below it is the same as before."""
    (sides[1] / folder).rename(sides[1] / "tests/elsewhere")
    (sides[1] / folder).symlink_to(sides[1] / "tests/elsewhere")
    assert folder in changes(*sides).judges


def test_a_file_is_not_a_link_of_the_same_letters(sides: tuple[Path, Path]) -> None:
    (sides[1] / "slipway/x.py").unlink()
    (sides[1] / "slipway/x.py").symlink_to("1")
    assert changes(*sides).shared == ("slipway/x.py",)


def test_caches_that_were_committed_are_seen_and_no_others(sides: tuple[Path, Path]) -> None:
    """Python runs a compiled module without a look at its source, if that module says so."""
    head = sides[1]
    put(head, ".gitignore", "__pycache__/\n.venv/\nreview-out/\n")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=head, check=True)
    put(head, "slipway/__pycache__/x.pyc")
    # A link to another checkout's, which no pattern of a folder ignores.
    (head / ".venv").symlink_to("/nowhere")
    assert changes(*sides).shared == ()
    subprocess.run(["git", "add", "-f", "slipway/__pycache__/x.pyc"], cwd=head, check=True)
    assert changes(*sides).judges == ("slipway/__pycache__/x.pyc",)


@pytest.mark.parametrize(
    "named", ["policies/data/d.yaml", "./policies/data/d.yaml", "Pulumi.yaml", "docs/gitlab-review.yml"]
)
def test_code_that_a_stack_calls_its_catalogue_is_code(sides: tuple[Path, Path], named: str) -> None:
    put(sides[1], "stacks/Pulumi.a.yaml", STACK.replace("mine.yaml", named))
    put(sides[1], named)
    assert changes(*sides).judges == (named.removeprefix("./"),)


def test_removed_shared_code_touches_all(sides: tuple[Path, Path]) -> None:
    (sides[1] / "slipway/x.py").unlink()
    assert changes(*sides).shared == ("slipway/x.py",)


def test_new_and_removed(sides: tuple[Path, Path]) -> None:
    (sides[1] / "stacks/Pulumi.a.yaml").unlink()
    put(sides[1], "stacks/Pulumi.c.yaml")
    assert [(name, how) for name, how, _ in touched(sides)] == [("a", "removed"), ("c", "new")]


def test_a_link_is_what_it_says_not_what_it_leads_to(sides: tuple[Path, Path]) -> None:
    for side in sides:
        (side / "stacks/Pulumi.b.yaml").unlink()
        (side / "stacks/Pulumi.b.yaml").symlink_to("/dev/zero")
    assert touched(sides) == []


@pytest.mark.parametrize("name", ["$(id)", "a b", "a;b", "-x", "a.b", "ä", "a\nb", "x" * 101])
def test_names_that_mean_something_to_a_shell_are_refused(sides: tuple[Path, Path], name: str) -> None:
    put(sides[1], f"stacks/Pulumi.{name}.yaml")
    with pytest.raises(ChangesError, match="can't name a stack that is reviewed"):
        changes(*sides)


def test_odd_names_of_the_past_keep_nobody_from_a_review(sides: tuple[Path, Path]) -> None:
    """Else the change that renames such a file could not be reviewed."""
    put(sides[0], "stacks/Pulumi.a.eu.yaml")
    put(sides[1], "stacks/Pulumi.a-eu.yaml")
    assert [(name, how) for name, how, _ in touched(sides)] == [("a-eu", "new"), ("a.eu", "removed")]
    listed = command("changed", "--base", str(sides[0]), "--head", str(sides[1]), "--previewable")
    assert listed.stdout == "a-eu\n"


def test_settings_that_are_no_yaml_are_the_checks_to_refuse(sides: tuple[Path, Path]) -> None:
    put(sides[1], "stacks/Pulumi.a.yaml", "a: [")
    assert touched(sides) == [("a", "changed", ("stacks/Pulumi.a.yaml",))]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_prints_names_and_a_matrix(sides: tuple[Path, Path]) -> None:
    base, head = map(str, sides)
    put(sides[1], "stacks/Pulumi.c.yaml")
    (sides[1] / "stacks/Pulumi.b.yaml").unlink()
    assert command("changed", "--base", base, "--head", head).stdout == "b\nc\n"
    assert json.loads(command("changed", "--base", base, "--head", head, "--previewable", "--json").stdout) == ["c"]


def test_lab_stacks_are_not_previewed_elsewhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    listed = command("changed", "--base", str(tmp_path), "--head", str(root), "--previewable", "--json")
    assert {"lab", "lab-pair"}.isdisjoint(json.loads(listed.stdout))
    assert {"poc", "prod"} <= set(json.loads(listed.stdout))


@pytest.mark.parametrize("arguments", [("changed",), ("review",)])
def test_no_checkout_is_unreadable_input(tmp_path: Path, root: Path, arguments: tuple[str, ...]) -> None:
    done = command(*arguments, "--base", str(tmp_path), "--head", str(root))
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no folder stacks" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [("b", "NAME=FILE is wanted"), ("b=/nonexistent", "can't be read"), ("other=/dev/null", "other does not change")],
)
def test_previews_that_can_not_be_read(sides: tuple[Path, Path], given: str, said: str) -> None:
    put(sides[1], "stacks/Pulumi.b.yaml")
    done = command("review", "--base", str(sides[0]), "--head", str(sides[1]), "--preview", given)
    assert done.returncode == 2
    assert said in done.stderr


def test_changed_is_plain_data() -> None:
    assert Changed(name="a", how=How.NEW, files=()).how == "new"
