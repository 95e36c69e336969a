"""A bucket of the double of S3, as tests use it."""

import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

HERE = Path(__file__).parent
NAME, REGION = "models", "eu-central-1"
READER = {"AWS_ACCESS_KEY_ID": "AKIAREADER0000000000", "AWS_SECRET_ACCESS_KEY": "canary-of-the-reader-0123456789abcdef"}
TEMPORARY = {
    "AWS_ACCESS_KEY_ID": "ASIATEMPORARY0000000",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-temporary-0123456789abc",
    "AWS_SESSION_TOKEN": "canary/token+of=the-temporary-0123456789",
}
DENIED = {"AWS_ACCESS_KEY_ID": "AKIADENIED0000000000", "AWS_SECRET_ACCESS_KEY": "canary-of-the-denied-0123456789abcdef"}
_KEYS = {
    each["AWS_ACCESS_KEY_ID"]: {
        "secret": each["AWS_SECRET_ACCESS_KEY"],
        "token": each.get("AWS_SESSION_TOKEN", ""),
        "reads": each is not DENIED,
    }
    for each in (READER, TEMPORARY, DENIED)
}


@dataclass(frozen=True)
class Bucket:
    """The bucket `models`, filled by tests."""

    folder: Path
    port: int

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """Of somebody who may do anything."""
        keys = {"aws_access_key_id": "AKIAOWNER00000000000", "aws_secret_access_key": "owner"}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **keys)

    def put(self, key: str, data: bytes) -> None:
        """One object."""
        self.client.put_object(Bucket=NAME, Key=key, Body=data)

    def filled(self, files: dict[str, bytes], prefix: str = "m/v1") -> dict[str, Any]:
        """Objects below a prefix, and the source that says so."""
        for name, data in files.items():
            self.put(f"{prefix}/{name}", data)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        address = f"s3://{NAME}/{prefix}"
        return {"kind": "s3", "url": address, "sha256sums": sums, "region": REGION, "endpoint": self.endpoint}

    def order(self, **how: Any) -> None:
        """How it answers from now on."""
        (self.folder / "orders.new").write_text(json.dumps(how))
        (self.folder / "orders.new").rename(self.folder / "orders.json")

    def seen(self) -> list[dict[str, Any]]:
        """Presigned requests so far."""
        file = self.folder / "seen"
        lines = file.read_text().splitlines() if file.exists() else []
        return [each for line in lines if (each := json.loads(line))["signed"]]


def environment() -> Path:
    """Where `tools/setup/setup.sh test` put moto."""
    digest = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()[:12]
    home = Path(f"~/.cache/slipway/s3-{digest}").expanduser()
    assert home.is_dir(), "make setup-test installs it"
    return home


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Bucket]:
    """The server, with the bucket in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys.json").write_text(json.dumps(_KEYS))
    (folder / "orders.json").write_text("{}")
    process = subprocess.Popen([environment() / "bin/python", "-W", "ignore", HERE / "server.py", folder])
    try:
        for _ in range(1200):
            if (folder / "port").exists():
                break
            assert process.poll() is None, "moto's server did not start"
            time.sleep(0.1)
        bucket = Bucket(folder, int((folder / "port").read_text()))
        bucket.client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield bucket
    finally:
        process.kill()
        process.wait()
