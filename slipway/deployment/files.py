"""Where a model's files come from and lie, as role model takes it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from slipway.deployment.types import ModelFiles
from slipway.settings.models import FIRST_PART, ModelSource
from slipway.settings.store import MODELS

ANY_REGION = "us-east-1"
"""What stores that speak S3 take where they know of no regions."""
STORED_DIGITS = 12
"""Of the digest that ends the name of a model's folder in the store."""
_SMALL_FILE_BYTES = 1 << 20
AWS = ("AWS_*",)
"""Where AWS's libraries look for credentials."""
_WAYS = frozenset({"region", "endpoint", "profile"})
"""How a bucket is reached; not which files are in it."""


def model_files(slug: str, source: ModelSource) -> ModelFiles:
    """The files of the model called `slug`."""
    described = describe(source)
    if source.host_path is not None:
        folder = source.host_path.rstrip("/")
        if source.gguf is not None and folder.endswith(f"/{source.gguf}"):
            folder = folder.removesuffix(f"/{source.gguf}")
        return ModelFiles(slug=slug, path=folder, gguf=source.gguf, source=described, record=None)
    # Whoever signs, and for which server: with these digests the files are the same.
    known = {key: value for key, value in described.items() if source.s3 is None or key not in _WAYS}
    if source.path is not None:
        known["fingerprint"] = fingerprint(source.path)
    return ModelFiles(
        slug=slug,
        path=f"{MODELS}/{slug}",
        gguf=source.gguf,
        source=described,
        record=json.dumps(known, indent=2, sort_keys=True) + "\n",
        token=source.token,
        environment=() if source.s3 is None else AWS,
    )


def stored_name(files: ModelFiles) -> str:
    """The folder of a model in the store: another version has one of its own, so that it can be fetched beside it."""
    return f"{files.slug}-{hashlib.sha256((files.record or '').encode()).hexdigest()[:STORED_DIGITS]}"


def describe(source: ModelSource) -> dict[str, Any]:
    """The source as plain data without its secret, in the words of role model."""
    if source.path is not None:
        return {"kind": "path", "path": str(source.path)}
    if source.host_path is not None:
        return {"kind": "host_path", "path": source.host_path}
    if source.store_path is not None:
        return {"kind": "store_path", "path": source.store_path.rstrip("/")}
    if source.mirror is not None:
        return {"kind": "mirror", "url": str(source.mirror), "sha256sums": dict(source.sha256)}
    endpoint = {} if source.endpoint is None else {"endpoint": str(source.endpoint)}
    if source.s3 is not None:
        ways = {"region": source.region or ANY_REGION, **endpoint}
        profile = {} if source.profile is None else {"profile": source.profile}
        return {"kind": "s3", "url": source.s3, "sha256sums": dict(source.sha256), **ways, **profile}
    files = {} if source.file is None else {"files": [FIRST_PART.sub(r"\1-*-of-\2", source.file)]}
    return {"kind": "hub", "repository": source.hub, "revision": source.revision, **endpoint, **files}


def fingerprint(folder: Path) -> str:
    """A digest that changes with the model, in milliseconds: names and sizes of all files, content of the small ones.

    Weights of the same size under the same name are told apart by the copy itself, which compares checksums.
    """
    digest = hashlib.sha256()
    for file in [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder.parent if file == folder else folder)}\0{size}\0".encode())
        if size <= _SMALL_FILE_BYTES:
            digest.update(file.read_bytes())
    return digest.hexdigest()
