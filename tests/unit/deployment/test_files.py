"""Where a model's files come from and lie."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.deployment.files import fingerprint, model_files
from slipway.settings.models import ModelSource
from slipway.settings.store import MODELS

COMMIT = "0" * 40
HERE = f"{MODELS}/m"

SOURCES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a folder of the machine": ({"host_path": "/srv/m/"}, "/srv/m", {"kind": "host_path", "path": "/srv/m/"}),
    "a file of the machine": (
        {"host_path": "/srv/m/q.gguf"},
        "/srv/m/q.gguf",
        {"kind": "host_path", "path": "/srv/m/q.gguf"},
    ),
    "a file in a folder of the machine": (
        {"host_path": "/srv/m", "file": "q4/q.gguf"},
        "/srv/m/q4/q.gguf",
        {"kind": "host_path", "path": "/srv/m"},
    ),
    "a folder here": ({"path": "/a/m"}, HERE, {"kind": "path", "path": "/a/m"}),
    "a file here": ({"path": "/a/q.gguf"}, f"{HERE}/q.gguf", {"kind": "path", "path": "/a/q.gguf"}),
    "a file in a folder here": ({"path": "/a", "file": "q.gguf"}, f"{HERE}/q.gguf", {"kind": "path", "path": "/a"}),
    "a hub": (
        {"hub": "o/m", "revision": COMMIT, "token": "canary"},
        HERE,
        {"kind": "hub", "repository": "o/m", "revision": COMMIT},
    ),
    "a hub of one's own": (
        {"hub": "o/m", "revision": COMMIT, "endpoint": "http://hub.test/x"},
        HERE,
        {"kind": "hub", "repository": "o/m", "revision": COMMIT, "endpoint": "http://hub.test/x"},
    ),
    "a file of a hub": (
        {"hub": "o/m", "revision": COMMIT, "file": "q4/q.gguf"},
        f"{HERE}/q4/q.gguf",
        {"kind": "hub", "repository": "o/m", "revision": COMMIT, "files": ["q4/q.gguf"]},
    ),
    "a split file of a hub": (
        {"hub": "o/m", "revision": COMMIT, "file": "q4/q-00001-of-00003.gguf"},
        f"{HERE}/q4/q-00001-of-00003.gguf",
        {"kind": "hub", "repository": "o/m", "revision": COMMIT, "files": ["q4/q-*-of-00003.gguf"]},
    ),
    "a mirror": (
        {"mirror": "http://mirror.test/m/", "sha256": {"config.json": "A" * 64}},
        HERE,
        {"kind": "mirror", "url": "http://mirror.test/m/", "sha256sums": {"config.json": "a" * 64}},
    ),
    "a bucket": (
        {"s3": "s3://models/m/", "region": "eu-west-1", "sha256": {"config.json": "a" * 64}},
        HERE,
        {"kind": "s3", "url": "s3://models/m", "sha256sums": {"config.json": "a" * 64}, "region": "eu-west-1"},
    ),
    "a GGUF file in a store of objects of one's own": (
        {"s3": "s3://models", "endpoint": "https://minio.test", "profile": "site", "sha256": {"q4/q.gguf": "a" * 64}},
        f"{HERE}/q4/q.gguf",
        {
            "kind": "s3",
            "url": "s3://models",
            "sha256sums": {"q4/q.gguf": "a" * 64},
            "region": "us-east-1",
            "endpoint": "https://minio.test/",
            "profile": "site",
        },
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_what_role_model_is_told(case: str) -> None:
    given, target, described = SOURCES[case]
    files = model_files("m", ModelSource.model_validate(given))
    assert files.target == target
    assert files.source == described
    assert (files.record is None) == ("host_path" in given)
    assert files.environment == (("AWS_*",) if "s3" in given else ())
    assert (files.token is None) == ("token" not in given)
    assert "canary" not in f"{files.source}{files.record}"
    if files.record is not None:
        ways = ("region", "endpoint", "profile") if "s3" in given else ()
        told = {key: value for key, value in described.items() if key not in ways}
        assert told.items() <= json.loads(files.record).items()
        assert files.mark == f"{HERE}/.slipway.json"


def test_who_signs_and_for_where_is_no_other_model() -> None:
    """Another endpoint or profile, with the same digests: no engine is started anew."""
    given = {"s3": "s3://models/m", "sha256": {"config.json": "a" * 64}}
    ways = [{"region": "eu-west-1"}, {"endpoint": "https://minio.test"}, {"region": "us-west-2", "profile": "p"}]
    assert len({model_files("m", ModelSource.model_validate(given | way)).record for way in ways}) == 1
    other = given | {"sha256": {"config.json": "b" * 64}, "region": "eu-west-1"}
    assert (
        model_files("m", ModelSource.model_validate(other)).record
        != model_files("m", ModelSource.model_validate(given | ways[0])).record
    )


def test_one_part_of_several_is_refused_where_only_it_would_be_copied() -> None:
    with pytest.raises(
        ValidationError, match="is one part of several; the others would not be copied: give the folder"
    ):
        ModelSource.model_validate({"path": "/a/q-00001-of-00003.gguf"})
    whole = ModelSource.model_validate({"path": "/a", "file": "q-00001-of-00003.gguf"})
    assert model_files("m", whole).target == f"{HERE}/q-00001-of-00003.gguf"
    ModelSource.model_validate({"host_path": "/a/q-00001-of-00003.gguf"})


def test_a_changed_folder_is_another_record(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "w.safetensors").write_bytes(bytes(2 << 20))
    source = ModelSource.model_validate({"path": str(tmp_path)})
    seen = {model_files("m", source).record}
    (tmp_path / "config.json").write_text('{"a": 1}')
    seen.add(model_files("m", source).record)
    (tmp_path / "w.safetensors").write_bytes(bytes(3 << 20))
    seen.add(model_files("m", source).record)
    (tmp_path / "w.safetensors").rename(tmp_path / "v.safetensors")
    seen.add(model_files("m", source).record)
    assert len(seen) == 4
    assert model_files("m", source).record in seen


def test_a_single_file_has_a_fingerprint_and_so_has_what_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "q.gguf"
    nothing = fingerprint(file)
    file.write_bytes(b"GGUF")
    assert fingerprint(file) != nothing
    assert fingerprint(file) == fingerprint(file)
