"""Models from buckets: real transfers by curl from a server that speaks S3's protocol and verifies what was signed (a double)."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pulumi_project import PulumiProject
from tests.integration.s3.bucket import DENIED, NAME, READER, REGION, TEMPORARY, Bucket, served
from tests.unit.roles.loading import PLAYBOOKS, load

sys.path.append(str(PLAYBOOKS / "module_utils"))

from model_store.base import ChangedError, Source
from model_store.delivery import PLAN, Delivery, Round, incoming_of
from model_store.manifest import MANIFEST, MARK, StoreError
from model_store.sources import source

MIB = 1 << 20
RECORD = '{"kind": "s3"}\n'
CANARIES = (*READER.values(), *TEMPORARY.values(), "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token")
ACTION = load("action_plugins/stored_files.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with served(tmp_path_factory.mktemp("s3")) as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """The server without orders, nothing seen, and a machine that has the reader's keys and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name))
    for name, value in READER.items():
        monkeypatch.setenv(name, value)
    server.order()
    (server.folder / "seen").write_text("")
    return server


def model(mib: int = 2) -> dict[str, bytes]:
    return {
        "config.json": b'{"model_type": "llama"}',
        "model-00001-of-00002.safetensors": random.Random(1).randbytes(mib * MIB),  # noqa: S311 -- the same each time
        "model-00002-of-00002.safetensors": random.Random(2).randbytes(mib * MIB + 17),  # noqa: S311
        "original/a b+c é.json": b"{}",
        "empty": b"",
    }


def held(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in {MANIFEST, MARK})
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def signed(given: dict[str, Any]) -> Source:
    """With addresses for one round, as Ansible's action makes them."""
    return source(given, files=None, **ACTION.signed(given))


def to_the_end(target: Path, given: dict[str, Any], seconds: float = 20) -> list[Round]:
    delivery = Delivery(target, RECORD, "tiny")
    rounds = [delivery.step(signed(given), seconds)]
    while not rounds[-1].done:
        rounds.append(delivery.step(signed(given), seconds))
    return rounds


@pytest.mark.parametrize("keys", [READER, TEMPORARY], ids=["long-lived", "of a session"])
def test_a_bucket_becomes_a_whole_model_and_is_not_asked_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    """The server takes no request whose signature is not the one that botocore computes."""
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    files, target = model(), tmp_path / "store" / "tiny"
    given = bucket.filled(files, "plain")
    assert to_the_end(target, given)[-1].changed
    assert held(target) == files
    seen = bucket.seen()
    assert {each["method"] for each in seen} == {"GET"}
    assert {each["path"].rpartition("?")[0] for each in seen} == {""}
    assert not any("list-type" in each["query"] for each in seen), "s3:GetObject has to be enough"
    assert "changed=False" in str(Delivery(target, RECORD, "tiny").step(signed(given), 20))
    assert bucket.seen() == seen


def test_what_is_whole_needs_no_credentials(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, given = tmp_path / "store" / "tiny", bucket.filled({"config.json": b"{}"}, "whole")
    to_the_end(target, given)
    for name in READER:
        monkeypatch.delenv(name)
    assert not Delivery(target, RECORD, "tiny").step(signed(given), 20).changed
    with pytest.raises(StoreError, match=r"s3://models/whole can't be read: .* it has no AWS credentials; log in"):
        Delivery(target, "another\n", "tiny").step(signed(given), 20)


def test_half_way_it_goes_on_at_the_byte_where_it_was(bucket: Bucket, tmp_path: Path) -> None:
    files, target = model(), tmp_path / "store" / "tiny"
    given = bucket.filled(files, "cut")
    bucket.order(cut_after=MIB)
    rounds = to_the_end(target, given)
    assert held(target) == files
    assert len(rounds) > 1
    begun = {(each["path"].rpartition("/")[2], each["range"]) for each in bucket.seen()}
    assert ("model-00001-of-00002.safetensors", f"bytes={MIB}-") in begun, begun


ROUNDS = """
import json, sys
from pathlib import Path
sys.path.append(sys.argv[1])
from model_store.delivery import Delivery
from model_store.sources import source
given = json.loads(sys.stdin.read())
delivery = Delivery(Path(sys.argv[2]), given["record"], "tiny")
while not delivery.step(source(given["source"], files=None, **given["signed"]), 20).done:
    pass
"""


def test_killed_half_way_it_goes_on_and_no_process_shows_an_address(bucket: Bucket, tmp_path: Path) -> None:
    files, target = model(4), tmp_path / "store" / "tiny"
    given = bucket.filled(files, "killed")
    bucket.order(pace=MIB)
    command = [sys.executable, "-c", ROUNDS, str(PLAYBOOKS / "module_utils"), str(target)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True)
    shown = ""
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"record": RECORD, "source": given, "signed": ACTION.signed(given)}))
        process.stdin.close()
        for _ in range(3000):
            shown += "".join(commands())
            if arrived(target) > MIB:
                break
            time.sleep(0.02)
        assert process.poll() is None, "it was to be killed half-way"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "curl\0--disable\0--config" in shown
    assert not [each for each in CANARIES if each in shown]
    had = arrived(target)
    assert MIB <= had < 8 * MIB
    assert not target.exists()
    bucket.order()
    before = len(bucket.seen())
    to_the_end(target, given)
    assert held(target) == files
    assert any(re_begun(each["range"]) for each in bucket.seen()[before:])
    assert not [each for each in CANARIES if each.encode() in b"".join(everything(tmp_path / "store"))]


def re_begun(asked: str) -> bool:
    return asked.startswith("bytes=") and not asked.startswith("bytes=0-")


def everything(folder: Path) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in folder.rglob("*") if path.is_file())


def commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().decode(errors="replace")


def arrived(target: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in incoming_of(target).rglob("*.safetensors"))
    return 0


def test_a_round_whose_addresses_have_expired_leaves_it_to_the_next(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, target = model(), tmp_path / "store" / "tiny"
    given = bucket.filled(files, "expired")
    delivery = Delivery(target, RECORD, "tiny")
    bucket.order(cut_after=MIB)
    assert not delivery.step(signed(given), 20).done
    bucket.order()
    with monkeypatch.context() as patched:
        patched.setattr(ACTION, "EXPIRES_S", 1)
        patched.setattr("model_store.s3._MARGIN_S", -3600)  # as if the host's clock said nothing of it
        late = signed(given)
        time.sleep(2.5)
        assert not delivery.step(late, 20).done
        assert bucket.seen()[-1]["status"] == 403
        assert not delivery.step(late, 20).done
        with pytest.raises(StoreError, match=r"nothing comes any more \(s3://models/.* had expired; look at the clock"):
            delivery.step(late, 20)
    assert to_the_end(target, given)[-1].done
    assert held(target) == files


def test_a_round_that_waited_for_too_long_asks_nobody(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = bucket.filled(model(), "waited")
    monkeypatch.setattr(ACTION, "EXPIRES_S", 30)  # less than the margin
    late = signed(given)
    delivery = Delivery(tmp_path / "store" / "tiny", RECORD, "tiny")
    delivery.step(late, 20)
    asked = len(bucket.seen())
    delivery.step(late, 20)
    assert len(bucket.seen()) == asked
    assert "wait for longer than its signed addresses live" in late.bring(["config.json"], tmp_path, 1)


def test_a_damaged_file_is_named_by_its_key(bucket: Bucket, tmp_path: Path) -> None:
    files, target = model(), tmp_path / "store" / "tiny"
    given = bucket.filled(files, "damaged")
    name = "model-00002-of-00002.safetensors"
    bucket.put(f"damaged/{name}", files[name][:-1] + b"x")
    with pytest.raises(StoreError, match=rf"s3://models/damaged/{name} of tiny came twice with another checksum"):
        to_the_end(target, given)
    assert not target.exists()


@pytest.mark.parametrize(("change", "said"), [(-MIB - 5, "smaller"), (5, "larger")])
def test_a_file_that_changes_meanwhile_is_said_and_the_next_run_begins_anew(
    bucket: Bucket, tmp_path: Path, change: int, said: str
) -> None:
    files, target = model(), tmp_path / "store" / "tiny"
    given = bucket.filled(files, f"changed-{said}")
    name = "model-00001-of-00002.safetensors"
    bucket.order(cut_after=MIB)
    delivery = Delivery(target, RECORD, "tiny")
    delivery.step(signed(given), 20)
    bucket.order()
    bucket.put(f"changed-{said}/{name}", bytes(len(files[name]) + change))
    with pytest.raises(
        ChangedError, match=rf"s3://models/changed-{said}/{name}.* is {said} than when its delivery began"
    ):
        to_the_end(target, given)
    assert not (incoming_of(target) / PLAN).exists()
    bucket.put(f"changed-{said}/{name}", files[name])
    to_the_end(target, given)
    assert held(target) == files


def test_who_may_not_read_is_told(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = bucket.filled({"config.json": b"{}"}, "denied")
    for name, value in DENIED.items():
        monkeypatch.setenv(name, value)
    refuse(given, r"s3://models/denied/config\.json does not come: access is denied, .*s3:GetObject")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    refuse(given, r"the signature is not the one that belongs to the access key; look at the AWS credentials")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
    refuse(given, r"the store does not know the access key")


def refuse(given: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said) as refused:
        signed(given).files()
    assert not [each for each in (*CANARIES, *DENIED.values(), "Traceback") if each in str(refused.value)]


def test_what_is_not_there_is_told(bucket: Bucket) -> None:
    given = bucket.filled({"config.json": b"{}"}, "there")
    refuse(
        {**given, "url": "s3://nothing-of-this-name/there"},
        r"s3://nothing.*/config\.json .*there is no such bucket; .*region",
    )
    refuse(
        {**given, "url": f"s3://{NAME}/elsewhere"},
        r"s3://models/elsewhere/config\.json .*there is no such key in the bucket",
    )
    refuse(
        {**given, "endpoint": "http://127.0.0.1:9"},
        r"127\.0\.0\.1:9, which has s3://models/.*, does not answer this host: ",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        # As S3 documents them; moto has no regions and no archive.
        (
            {"status": 301, "code": "PermanentRedirect", "headers": {"x-amz-bucket-region": "us-west-2"}},
            r"the bucket is in us-west-2; give its region in source\.region",
        ),
        ({"status": 400, "code": "AuthorizationQueryParametersError"}, r"the bucket is in another region"),
        (
            {"status": 307, "code": "TemporaryRedirect", "headers": {"Location": "http://127.0.0.1:9/"}},
            "in another region",
        ),
        ({"status": 400, "code": "ExpiredToken"}, r"have expired; log in again \(aws sso login\)"),
        ({"status": 403, "code": "InvalidObjectState"}, "it is archived; restore it in S3 first"),
        ({"status": 503, "code": "SlowDown"}, "the store answers 503; repeat when it has less to do"),
        ({"status": 418, "code": "Teapot"}, "the store answers 418 Teapot; look at the store's own log"),
    ],
)
def test_what_the_store_says_is_put_into_words(bucket: Bucket, answer: dict[str, Any], said: str) -> None:
    given = bucket.filled({"config.json": b"{}"}, "answers")
    bucket.order(answer=answer)
    refuse(given, said)


def played(tmp_path: Path, given: dict[str, Any], role: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The role's own tasks by Ansible on this machine, as verbose as it can be."""
    told: dict[str, Any] = {"ansible_python_interpreter": sys.executable}
    if role == "stored_model":
        folder = str(tmp_path / "store" / "tiny-1")
        told |= {"stored_model_name": "tiny", "stored_model_folder": folder, "stored_model_record": RECORD}
        told |= {"stored_model_source": given}
        tasks = "main.yml"
    else:
        told |= {"model_name": "tiny", "model_path": str(tmp_path / "models" / "tiny"), "model_record": RECORD}
        told |= {"model_source": given, "model_packages": "test-s3"}
        tasks = "s3.yml"
    told |= more
    include = {"name": "Do it", "ansible.builtin.include_role": {"name": role, "tasks_from": tasks}}
    play = tmp_path / "play.yml"
    play.write_text(
        json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [include]}])
    )
    where = {f"ANSIBLE_{key.upper()}": str(PLAYBOOKS / key) for key in ("library", "module_utils", "action_plugins")}
    where |= {"ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}
    return subprocess.run(
        ["ansible-playbook", "-vvvv", "-i", "localhost,", "-e", json.dumps(told), str(play)],
        env={**os.environ, **where, "ANSIBLE_ACTION_PLUGINS": where["ANSIBLE_ACTION_PLUGINS"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_role_fetches_it_and_says_nothing_that_is_secret(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TEMPORARY.items():
        monkeypatch.setenv(name, value)
    files, told = model(), []
    given = bucket.filled(files, "role")
    bucket.order(cut_after=MIB)
    told.append(played(tmp_path, given, "stored_model", stored_model_round_s=5))
    assert told[-1].returncode == 0, told[-1].stdout[-3000:]
    assert held(tmp_path / "store" / "tiny-1") == files
    told.append(played(tmp_path, given, "stored_model"))
    assert "changed=0" in told[-1].stdout
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    sums = {**given["sha256sums"], "more": hashlib.sha256(b"").hexdigest()}
    told.append(played(tmp_path, {**given, "sha256sums": sums}, "stored_model", stored_model_record="another\n"))
    assert told[-1].returncode
    assert "does not come: the signature is not the one that belongs to the access key" in told[-1].stdout
    for each in told:
        assert not [canary for canary in (*CANARIES, "Traceback") if canary in each.stdout + each.stderr]


def test_without_a_store_the_host_fetches_it_itself(bucket: Bucket, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    done = played(tmp_path, bucket.filled(files, "host"), "model")
    assert done.returncode == 0, done.stdout[-3000:]
    assert held(tmp_path / "models" / "tiny") == files
    packages = Path("/var/lib/slipway/packages/test-s3.json")
    packages.unlink(missing_ok=True)


PROGRAM = """
import json
import pulumi
from provider.resource import HostArgs, Playbook

given = json.load(open("given.json"))
Playbook("subject", host=HostArgs(name="here", connection="local", become=False), role="stored_model", **given)
"""


def test_an_up_fetches_it_and_neither_state_nor_output_has_an_address(bucket: Bucket, tmp_path: Path) -> None:
    """By the engine and the plugin, which hide the engine's environment from every other run."""
    files, folder = {"config.json": b"{}", "model.safetensors": b"weights"}, tmp_path / "store" / "tiny-1"
    folder.parent.mkdir()
    names = {"name": "tiny", "folder": str(folder), "record": RECORD, "source": bucket.filled(files, "up")}
    given: dict[str, Any] = {
        "variables": {f"stored_model_{key}": value for key, value in names.items()},
        "playbooks": str(PLAYBOOKS),
        "records": str(tmp_path / "records"),
    }
    plugins = {"providers": [{"name": "playbook", "path": str(PLAYBOOKS.parent / "provider")}]}
    project = PulumiProject(tmp_path / "pulumi", PROGRAM, plugins=plugins)
    (project.folder / "given.json").write_text(json.dumps(given))
    refused = project.run("up", "--yes", "--skip-preview", check=False, timeout=400)
    assert "it has no AWS credentials; log in" in refused.stdout
    (project.folder / "given.json").write_text(json.dumps({**given, "environment": ["AWS_*"]}))
    said = refused.stdout + project.up(timeout=400).stdout
    assert held(folder) == files
    asked = bucket.seen()
    said += project.run("preview", "--diff", "--expect-no-changes").stdout + project.run("stack", "export").stdout
    assert bucket.seen() == asked
    assert "AWS_*" in said
    assert not [each for each in CANARIES if each in said]
    kept = b"".join(everything(tmp_path / "pulumi"))
    assert not [each for each in CANARIES if each.encode() in kept]


def test_the_signed_region_and_server_are_the_stacks(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that the machine's configuration names."""
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    given = {"kind": "s3", "url": "s3://models/m", "sha256sums": {"config.json": "0" * 64}, "region": REGION}
    address = ACTION.signed(given)["signed"]["config.json"]
    assert address.startswith(
        f"https://models.s3.{REGION}.amazonaws.com/m/config.json?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    )
    assert f"%2F{REGION}%2Fs3%2F" in address
    assert ACTION.signed({**given, "region": "cn-north-1"})["signed"]["config.json"].startswith(
        "https://models.s3.cn-north-1.amazonaws.com.cn/"
    )


def test_the_machines_configuration_moves_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(
        "[default]\nuse_dualstack_endpoint = true\nuse_fips_endpoint = true\ns3 =\n  use_accelerate_endpoint = true\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name, value in READER.items():
        monkeypatch.setenv(name, value)
    given = {"kind": "s3", "url": "s3://models/m", "sha256sums": {"config.json": "0" * 64}, "region": REGION}
    address = ACTION.signed(given)["signed"]["config.json"]
    assert address.startswith(f"https://models.s3.{REGION}.amazonaws.com/m/config.json?")


def test_a_profile_that_asks_for_a_code_is_refused_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[profile coded]\nrole_arn = arn:aws:iam::123456789012:role/models\nsource_profile = keys\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\nregion = eu-central-1\n"
    )
    (tmp_path / "credentials").write_text("[keys]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    given = {"kind": "s3", "url": "s3://models/m", "sha256sums": {"config.json": "0" * 64}, "region": REGION}
    said = ACTION.signed({**given, "profile": "coded"})["unsigned"]
    assert "its AWS profile asks for the code of an MFA device; log in first" in said


def test_a_profile_signs(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = bucket.filled({"config.json": b"{}"}, "profile")
    refuse({**given, "profile": "nobody"}, r"its AWS configuration has no profile nobody; log in")
    keys = f"aws_access_key_id = {READER['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {READER['AWS_SECRET_ACCESS_KEY']}\n"
    (tmp_path / "SHARED_CREDENTIALS_FILE").write_text(f"[on-site]\n{keys}")
    for name, value in DENIED.items():
        monkeypatch.setenv(name, value)
    assert signed({**given, "profile": "on-site"}).files()["config.json"]["size"] == 2
