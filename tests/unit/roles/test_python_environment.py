"""Why an environment is installed anew."""

import json
from pathlib import Path

import pytest

from tests.unit.roles.loading import load

environment = load("library/python_environment.py")

LOCK = "# a comment\nuv==1.2.3 \\\n    --hash=sha256:aa\nHTTPX_sse[x]==0.4 ; python_version > '3' \\\n    --hash=sha256:bb\n"


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "venv"
    for name in ("uv-1.2.3", "httpx_sse-0.4"):
        (path / f"lib/python3.11/site-packages/{name}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(environment, "interpreter", lambda _: "3.11")
    (path / environment.STAMP).write_text(
        json.dumps(
            {"lock": environment.digest(LOCK), "python": "3.11", "distributions": ["httpx-sse==0.4", "uv==1.2.3"]}
        )
    )
    return path


def reason(path: Path, lock: str = LOCK) -> str:
    return environment.reason({"path": str(path), "lock": lock})


def test_an_environment_that_is_as_it_ought_to_be(venv: Path) -> None:
    assert reason(venv) == ""


def test_comments_in_the_lock_mean_nothing(venv: Path) -> None:
    assert reason(venv, LOCK.replace("# a comment", "# another\n\n")) == ""


def test_another_hash_is_another_lock(venv: Path) -> None:
    assert reason(venv, LOCK.replace("aa", "cc")) == "the lock has changed"


def test_hand_made_changes_are_named(venv: Path) -> None:
    packages = venv / "lib/python3.11/site-packages"
    (packages / "uv-1.2.3.dist-info").rename(packages / "uv-1.2.4.dist-info")
    (packages / "left_pad-1.dist-info").mkdir()
    assert reason(venv) == "changed by hand: +left-pad==1, +uv==1.2.4, -uv==1.2.3"


def test_another_interpreter(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "interpreter", lambda _: "")
    assert "interpreter" in reason(venv)


@pytest.mark.parametrize("stamp", ["", "{", "[]", None])
def test_an_installation_that_was_cut_off(venv: Path, stamp: str | None) -> None:
    if stamp is None:
        (venv / environment.STAMP).unlink()
    else:
        (venv / environment.STAMP).write_text(stamp)
    assert reason(venv) == "its installation was not completed"


def test_a_bare_host(tmp_path: Path) -> None:
    assert reason(tmp_path / "none") == "it is not there"


def test_the_stamp_goes_before_anything_is_installed(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        environment.install(
            {"path": str(venv), "uv": "/uv", "lock": LOCK, "environment": {}, "python": "/p", "cache": "/c"},
            "the lock has changed",
        )
    assert reason(venv) == "its installation was not completed"
    assert [path.name for path in venv.parent.iterdir()] == ["venv"]


def test_a_secret_of_the_index_is_not_in_the_message() -> None:
    with pytest.raises(environment.InstallError) as failure:
        environment.run(["sh", "-c", "echo failed at $INDEX >&2; exit 1"], {"INDEX": "https://u:pw@mirror"})
    assert str(failure.value) == "sh failed: failed at ***"
