"""The front's certificate: what is kept, what is mended, what is refused."""

import datetime as dt
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from tests.unit.roles.loading import load

certificate = load("roles/nginx/files/certificate.py")

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NAMES = ("llm.example.org", "10.0.0.7", "fd00::7")


def settings(folder: Path, **changes: object) -> object:
    return certificate.Settings(**{"folder": folder / "tls", "names": NAMES, **changes})


def ensure(wanted: object, now: dt.datetime = NOW, *, dry: bool = False) -> object:
    return certificate.ensure(wanted, now, dry=dry)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mode & 0o777, path.stat().st_mtime_ns)
        for path in sorted((folder / "tls").glob("*"))
    }


def test_a_fresh_host_gets_a_chain_that_clients_accept(tmp_path: Path) -> None:
    outcome = ensure(settings(tmp_path))

    files = snapshot(tmp_path)
    assert {name: mode for name, (_, mode, _) in files.items()} == {
        "authority.crt": 0o644,
        "authority.pem": 0o600,
        "server.pem": 0o600,
    }
    authority = x509.load_pem_x509_certificate(outcome.ca_certificate.encode())
    server = certificate.certificates(files["server.pem"][0])[0]
    for name in NAMES:
        verifier = (
            PolicyBuilder().store(Store([authority])).time(NOW).build_server_verifier(certificate.general_name(name))
        )
        assert verifier.verify(server, [])
    assert outcome.not_after == "2026-05-30T12:00:00Z"
    assert len(outcome.reasons) == 4


def test_nothing_changes_without_a_reason(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    before = snapshot(tmp_path)

    outcome = ensure(settings(tmp_path), NOW + 59 * DAY)

    assert outcome.reasons == []
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("age", [61, 89, 91, 400])
def test_a_certificate_is_renewed_before_and_after_its_end(tmp_path: Path, age: int) -> None:
    first = ensure(settings(tmp_path))

    second = ensure(settings(tmp_path), NOW + age * DAY)

    assert second.ca_certificate == first.ca_certificate
    assert [reason.split(":")[0] for reason in second.reasons] == ["server.pem"]
    assert ensure(settings(tmp_path), NOW + age * DAY).reasons == []


def test_an_authority_near_its_end_is_replaced_and_never_outlived(tmp_path: Path) -> None:
    first = ensure(settings(tmp_path))
    late = NOW + (3650 - 40) * DAY
    assert ensure(settings(tmp_path), late).not_after == "2036-02-27T12:00:00Z"  # the authority's own end
    assert ensure(settings(tmp_path), late).reasons == []

    second = ensure(settings(tmp_path), late + 11 * DAY)

    assert second.ca_certificate != first.ca_certificate


def test_certificates_from_the_future_are_replaced(tmp_path: Path) -> None:
    ensure(settings(tmp_path), NOW + 1000 * DAY)
    assert "which the clock has not reached" in ensure(settings(tmp_path)).reasons[0]


@pytest.mark.parametrize("names", [("llm.example.org",), (*NAMES, "b.example.org"), ("10.0.0.8", "llm.example.org")])
def test_other_names_need_another_certificate_of_the_same_authority(tmp_path: Path, names: tuple[str, ...]) -> None:
    first = ensure(settings(tmp_path))

    second = ensure(settings(tmp_path, names=names))

    assert second.reasons == ["server.pem: the certificate is for other names"]
    assert second.ca_certificate == first.ca_certificate


def test_the_order_and_the_case_of_names_mean_nothing(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    assert ensure(settings(tmp_path, names=("fd00:0::7", "10.0.0.7", "LLM.example.org."))).reasons == []


def test_another_name_of_the_authority_is_another_authority(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    reasons = ensure(settings(tmp_path, authority="Example CA")).reasons
    assert "authority.pem: the authority has another name" in reasons


def no_key(path: Path) -> None:
    path.write_bytes(path.read_bytes()[path.read_bytes().index(b"-----BEGIN CERT") :])


def no_certificate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"-----BEGIN CERT")])


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(600))


def foreign_key(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    no_key(path)
    path.write_bytes(key + path.read_bytes())


def more(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"# a remark\n")


def public(path: Path) -> None:
    path.chmod(0o666)


def link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "damage", [Path.unlink, no_key, no_certificate, half, empty, garbage, foreign_key, more, public, link]
)
@pytest.mark.parametrize("name", ["authority.pem", "server.pem", "authority.crt"])
def test_damage_is_seen_and_mended(tmp_path: Path, name: str, damage: object) -> None:
    first = ensure(settings(tmp_path))
    damage(tmp_path / "tls" / name)
    damaged = (tmp_path / "tls" / name).read_bytes() if (tmp_path / "tls" / name).exists() else None
    if name == "authority.crt" and damage is no_key:  # it never had one
        return

    seen = ensure(settings(tmp_path), dry=True)
    assert any(reason.startswith(name) for reason in seen.reasons)
    assert ((tmp_path / "tls" / name).read_bytes() if (tmp_path / "tls" / name).exists() else None) == damaged

    mended = ensure(settings(tmp_path))
    assert mended.reasons == seen.reasons
    assert ensure(settings(tmp_path)).reasons == []
    kept = name != "authority.pem" or damage in (more, public, link)
    assert (mended.ca_certificate == first.ca_certificate) is kept
    assert not (tmp_path / "tls" / name).is_symlink()


def test_a_server_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    ensure(settings(tmp_path / "other"))
    (tmp_path / "tls/server.pem").write_bytes((tmp_path / "other/tls/server.pem").read_bytes())
    assert "not of this authority" in ensure(settings(tmp_path)).reasons[0]


def test_a_signature_counts_and_not_the_issuers_name(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    ensure(settings(tmp_path / "other"))
    own = certificate.read_pair(tmp_path / "tls/authority.pem")
    foreign = certificate.read_pair(tmp_path / "other/tls/server.pem")
    (tmp_path / "tls/server.pem").write_bytes(certificate.Pair(foreign.key, (foreign.certificate, *own.chain)).pem())
    assert "not of this authority" in ensure(settings(tmp_path)).reasons[0]


def test_a_check_writes_nothing_on_a_bare_host(tmp_path: Path) -> None:
    outcome = ensure(settings(tmp_path), dry=True)
    assert outcome.reasons
    assert outcome.digest == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_cut_off_leaves_the_old_pair_and_its_rest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(settings(tmp_path))
    before = snapshot(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(certificate.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure(settings(tmp_path), NOW + 70 * DAY)
    after = snapshot(tmp_path)
    assert after.pop("server.pem.tmp")[1] == 0o600
    assert after == before

    assert any("cut off" in reason for reason in ensure(settings(tmp_path)).reasons)
    assert snapshot(tmp_path) == before


def test_a_missing_group_is_an_error_only_when_it_is_needed(tmp_path: Path) -> None:
    wanted = settings(tmp_path, group="no-such-group")
    assert ensure(wanted, dry=True).reasons
    with pytest.raises(certificate.CertificateError, match="no group no-such-group"):
        ensure(wanted)


# The site's own certificate.


def pem(key: object) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def site(*names: str, start: int = -1, end: int = 30) -> tuple[str, str]:
    """A self-signed certificate and its key; days from now."""
    key = rsa.generate_private_key(65537, 2048)
    made = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject("site"))
        .issuer_name(certificate.subject("site"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start * DAY)
        .not_valid_after(NOW + end * DAY)
        .add_extension(x509.SubjectAlternativeName([certificate.general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_pem(made).decode(), pem(key)


def test_the_sites_certificate_takes_the_place_of_the_authority(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    chain, key = site("*.example.org", "10.0.0.7")
    wanted = settings(tmp_path, names=NAMES[:2], certificate=chain, key=key)

    assert len(ensure(wanted, dry=True).reasons) == 3
    outcome = ensure(wanted)

    assert outcome.ca_certificate == ""
    assert list(snapshot(tmp_path)) == ["server.pem"]
    assert (tmp_path / "tls/server.pem").read_text() == key + chain
    assert ensure(wanted).reasons == []


GOOD = site("llm.example.org")
OTHER = site("llm.example.org")


@pytest.mark.parametrize(
    ("chain", "key", "message"),
    [
        ("", GOOD[1], "holds no PEM certificate"),
        ("nonsense", GOOD[1], "holds no PEM certificate"),
        (GOOD[0].replace("MII", "MIX"), GOOD[1], "is damaged"),
        (GOOD[0], "", "is not a PEM private key"),
        (GOOD[0], "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "protected by a password"),
        (GOOD[0], OTHER[1], "does not belong to the site's certificate"),
        (OTHER[0] + GOOD[0], GOOD[1], "wrong order"),
        (*site("llm.example.org", start=-30, end=-1), "ended on 2026-02-28"),
        (*site("llm.example.org", start=1), "starts on 2026-03-02"),
        (*site("a.example.org", "10.0.0.9"), "is for 10.0.0.9, a.example.org, but the front is called llm.example.org"),
        (*site("*.org"), "but the front is called llm.example.org"),
    ],
)
def test_a_sites_certificate_that_cannot_serve_is_refused(tmp_path: Path, chain: str, key: str, message: str) -> None:
    with pytest.raises(certificate.CertificateError, match=message.replace("*", r"\*")) as refusal:
        ensure(settings(tmp_path, names=("llm.example.org",), certificate=chain, key=key))
    assert "PRIVATE" not in str(refusal.value).replace("PEM private key", "")
    assert not (tmp_path / "tls/server.pem").exists()


# The command line, as the role and the timer use it.


def test_ensure_reads_settings_from_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    text = json.dumps({"folder": str(tmp_path / "tls"), "names": ["a.example.org"]})
    for arguments, changed in ((["--check"], True), ([], True), (["--check"], False), ([], False)):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert certificate.main(["ensure", *arguments, "--settings", "-"]) == 0
        assert json.loads(capsys.readouterr().out)["changed"] is changed


@pytest.mark.parametrize("known", [True, False])
def test_the_timer_reloads_a_front_that_serves_another_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"folder": str(tmp_path / "tls"), "names": ["a.example.org"]}))
    digest = certificate.ensure(certificate.Settings.load(file.read_text()), dt.datetime.now(dt.UTC), dry=False).digest
    record = tmp_path / "record"
    record.write_text(f"{digest if known else 'x' * 64}  {tmp_path}/tls/server.pem\n")
    commands: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(certificate.subprocess, "run", run)
    status = certificate.main(["renew", "--settings", str(file), "--unit", "front.service", "--record", str(record)])
    assert status == 0
    assert commands == ([] if known else [("systemctl", "try-reload-or-restart", "front.service")])


def test_a_refusal_is_one_line_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"folder": str(tmp_path / "tls"), "names": []}))
    assert certificate.main(["ensure", "--settings", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


SEED = "5eed" * 16


def test_two_fronts_with_one_seed_are_of_one_authority(tmp_path: Path) -> None:
    first = ensure(settings(tmp_path / "one", seed=SEED, seeded=True))
    second = ensure(settings(tmp_path / "two", seed=SEED, seeded=True), NOW + DAY)
    # Whoever trusts the first one's authority accepts the second front.
    authority = x509.load_pem_x509_certificate(first.ca_certificate.encode())
    server, above = certificate.certificates(snapshot(tmp_path / "two")["server.pem"][0])
    verifier = PolicyBuilder().store(Store([authority])).time(NOW + DAY).build_server_verifier(x509.DNSName(NAMES[0]))
    assert verifier.verify(server, [above])
    assert second.ca_certificate.encode() == certificate.public_pem(above)
    keys = [certificate.read_pair(tmp_path / name / "tls/server.pem").key for name in ("one", "two")]
    assert certificate.raw_public(keys[0].public_key()) != certificate.raw_public(keys[1].public_key())


def test_a_seeds_authority_stays_and_is_replaced_by_another_seeds(tmp_path: Path) -> None:
    ensure(settings(tmp_path))
    assert (
        "authority.pem: the authority is not the one that both fronts have"
        in ensure(settings(tmp_path, seed=SEED, seeded=True)).reasons
    )
    before = snapshot(tmp_path)
    assert ensure(settings(tmp_path, seed=SEED, seeded=True), NOW + DAY).reasons == []
    assert snapshot(tmp_path) == before
    assert ensure(settings(tmp_path, seed=SEED[::-1], seeded=True)).reasons
    # The key is the same in each release: hosts with different ones must agree.
    number = certificate.seeded_key(SEED).private_numbers().private_value
    assert hashlib.sha256(str(number).encode()).hexdigest()[:16] == "bf3c61a3f9ed38be"


def test_a_renewal_without_the_seed_makes_no_authority(tmp_path: Path) -> None:
    ensure(settings(tmp_path, seed=SEED, seeded=True))
    assert ensure(settings(tmp_path, seeded=True), NOW + 80 * DAY).reasons
    with pytest.raises(certificate.CertificateError, match="only an `up` can make"):
        ensure(settings(tmp_path, seeded=True), NOW + 3640 * DAY)
