"""The digest follows what a role consists of, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from provider.digest import closure, digest

TASKS = """
- name: Include
  ansible.builtin.include_role:
    name: unit
- block:
    - import_role: name=helper
- name: Vault
  ansible.builtin.debug:
    msg: !unsafe "{{ x }}"
"""


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    for file, text in {
        "roles/web/tasks/main.yml": TASKS,
        "roles/web/templates/site.conf.j2": "listen 443;\n",
        "roles/web/meta/main.yml": "dependencies:\n  - role: common\n",
        "roles/unit/tasks/main.yml": "- meta: noop\n",
        "roles/helper/tasks/main.yml": "- meta: noop\n",
        "roles/common/tasks/main.yml": "- meta: noop\n",
        "roles/other/tasks/main.yml": "- meta: noop\n",
        "library/thing.py": "print()\n",
        "module_utils/help.py": "x = 1\n",
        "filter_plugins/f.py": "y = 1\n",
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_closure_holds_dependencies_and_included_roles(playbooks: Path) -> None:
    assert closure(playbooks / "roles", "web") == {"web", "unit", "helper", "common"}


def test_a_role_named_by_a_template_may_be_any(playbooks: Path) -> None:
    (playbooks / "roles/other/tasks/main.yml").write_text('- include_role: {name: "{{ which }}"}\n')
    assert closure(playbooks / "roles", "other") == {"web", "unit", "helper", "common", "other"}


@pytest.mark.parametrize(
    "file",
    [
        "roles/web/templates/site.conf.j2",
        "roles/unit/tasks/main.yml",
        "roles/helper/tasks/main.yml",
        "roles/common/tasks/main.yml",
        "library/thing.py",
        "module_utils/help.py",
        "filter_plugins/f.py",
    ],
)
def test_touched_content_changes_it(playbooks: Path, file: str) -> None:
    before = digest(playbooks, "web")
    with (playbooks / file).open("a") as opened:
        opened.write("# more\n")
    assert digest(playbooks, "web") != before


def test_names_additions_and_the_executable_bit_change_it(playbooks: Path) -> None:
    site = playbooks / "roles/web/templates/site.conf.j2"
    seen = {digest(playbooks, "web")}
    site.chmod(0o755)
    seen.add(digest(playbooks, "web"))
    site.rename(site.with_name("other.conf.j2"))
    seen.add(digest(playbooks, "web"))
    (playbooks / "roles/web/files").mkdir()
    (playbooks / "roles/web/files/empty").touch()
    seen.add(digest(playbooks, "web"))
    assert len(seen) == 4


def test_times_place_and_leftovers_do_not_change_it(playbooks: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = digest(playbooks, "web")
    os.utime(playbooks / "roles/web/templates/site.conf.j2", (1, 1))
    for leftover in (
        "library/__pycache__/thing.pyc",
        "roles/web/tasks/main.yml~",
        "roles/web/README.md",
        "roles/web/.x.swp",
    ):
        path = playbooks / leftover
        path.parent.mkdir(exist_ok=True)
        path.write_text("left over")
    assert digest(playbooks, "web") == before
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkout"
    shutil.copytree(playbooks, elsewhere)
    assert digest(elsewhere, "web") == before


def test_other_roles_do_not_change_it(playbooks: Path) -> None:
    before = digest(playbooks, "web")
    (playbooks / "roles/other/tasks/main.yml").write_text("- meta: clear_facts\n")
    assert digest(playbooks, "web") == before


def test_what_can_not_be_parsed_is_ansibles_to_tell(playbooks: Path) -> None:
    (playbooks / "roles/web/tasks/main.yml").write_text("- {")
    assert digest(playbooks, "web").startswith("sha256:")


def test_links_in_circles_end(playbooks: Path) -> None:
    (playbooks / "roles/web/files").symlink_to(playbooks / "roles/web", target_is_directory=True)
    assert digest(playbooks, "web").startswith("sha256:")
