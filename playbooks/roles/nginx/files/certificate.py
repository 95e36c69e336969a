#!/usr/bin/python3
"""The front's certificate: from a private authority made on this host, or the site's own.

`ensure` brings the files to what the settings ask for and says what it did; `renew`, run by a timer, does the same and
makes the front load a certificate that it does not serve yet. Both keys are made here and never leave the host. Two fronts
that share an address are given the same secret, from which each makes the authority's key: so both are of one authority,
and none has to hand its key to the other.

Each secret and what belongs to it are one file (`authority.pem`, `server.pem`: key first, then certificates), replaced in
one step, so there is no moment at which a key and a certificate do not fit together. `authority.crt` is the public copy
for clients. The authority carries no name constraints: a new name of the front would else mean a new authority on every client.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import fcntl
import grp
import hashlib
import ipaddress
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Moment = dt.datetime
Name = x509.DNSName | x509.IPAddress

AUTHORITY_LIFE = dt.timedelta(days=3650)
SERVER_LIFE = dt.timedelta(days=90)
RENEW_BEFORE = dt.timedelta(days=30)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Clients whose clock is a little late must not refuse a fresh certificate.
BACKDATED = dt.timedelta(hours=1)

BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\s*?\n?", re.DOTALL)


class CertificateError(Exception):
    """The settings cannot be met; the text is for the person at the keyboard."""


@dataclass(frozen=True)
class Settings:
    """What the front's certificate is to be."""

    folder: Path
    names: tuple[str, ...]
    """Names and addresses that clients use, the most important first."""
    authority: str = "Slipway private CA"
    group: str = ""
    """Group that may read the server's key; empty for root alone."""
    certificate: str = ""
    """The site's own chain as PEM, the server's certificate first; empty for the private authority."""
    key: str = ""
    """The key of the site's certificate as PEM."""
    seeded: bool = False
    """Whether the authority's key follows from a secret of the stack; a renewal does not know that secret."""
    seed: str = ""
    """The secret, of 64 characters or so; it is no password that could be guessed, since the public key would tell a guess."""

    @classmethod
    def load(cls, text: str) -> Settings:
        """Read the settings from JSON."""
        values = json.loads(text)
        values["folder"] = Path(values["folder"])
        values["names"] = tuple(values["names"])
        return cls(**values)


@dataclass
class Outcome:
    """What was done, or would be, and what the front is left with."""

    reasons: list[str] = field(default_factory=list)
    ca_certificate: str = ""
    not_after: str = ""
    digest: str = ""
    """SHA-256 of server.pem; empty where it is still to be made."""

    def as_json(self) -> str:
        """The form in which the role reads it."""
        return json.dumps({"changed": bool(self.reasons), **self.__dict__})


@dataclass(frozen=True)
class Pair:
    """A private key with its certificate and the ones above it."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The key's own certificate."""
        return self.chain[0]

    def pem(self) -> bytes:
        """The file: key first, then the certificates."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + b"".join(public_pem(certificate) for certificate in self.chain)


def public_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def utc(moment: Moment) -> Moment:
    """A moment with its zone; older releases of cryptography leave it out."""
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def not_after(certificate: x509.Certificate) -> Moment:
    """End of a certificate's validity."""
    return utc(getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after)


def not_before(certificate: x509.Certificate) -> Moment:
    """Start of a certificate's validity."""
    return utc(getattr(certificate, "not_valid_before_utc", None) or certificate.not_valid_before)


def blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The PEM blocks of a file, with their labels."""
    for match in BLOCK.finditer(data):
        yield match.group(1).decode(), match.group(0)


def certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates among the PEM blocks; ValueError for a damaged one."""
    return tuple(x509.load_pem_x509_certificate(block) for label, block in blocks(data) if label == "CERTIFICATE")


def raw_public(key: object) -> bytes:
    """A public key in the form in which two can be compared."""
    return bytes(
        key.public_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def read_pair(path: Path) -> Pair | None:
    """Read a key with its certificates; None when the file is missing, damaged or does not fit together."""
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, password=None)
        chain = certificates(data)
    except (OSError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not chain:
        return None
    if raw_public(key.public_key()) != raw_public(chain[0].public_key()):
        return None
    return Pair(key, chain)


def general_name(name: str) -> Name:
    """A name as it stands in a certificate: an address or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name.lower().rstrip("."))


def names_of(certificate: x509.Certificate) -> set[Name]:
    """The names that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {name for name in extension if isinstance(name, (x509.DNSName, x509.IPAddress))}


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether a client that uses this name accepts the certificate for it."""
    wanted, offered = general_name(name), names_of(certificate)
    if wanted in offered:
        return True
    if not isinstance(wanted, x509.DNSName):
        return False
    wildcard = "*." + wanted.value.partition(".")[2]
    return any(isinstance(one, x509.DNSName) and one.value.lower() in (wanted.value, wildcard) for one in offered)


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority with an elliptic key signed a certificate."""
    key, algorithm = authority.public_key(), certificate.signature_hash_algorithm
    if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None or certificate.issuer != authority.subject:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def seeded_key(seed: str) -> ec.EllipticCurvePrivateKey:
    """The key that follows from a seed: the same on every host."""
    curve = ec.SECP256R1()
    # More bytes than the curve's order has, so that no key is likelier than another (FIPS 186-5, A.2.1).
    raw = HKDF(algorithm=hashes.SHA256(), length=48, salt=None, info=b"slipway private authority").derive(seed.encode())
    return ec.derive_private_key(int.from_bytes(raw, "big") % (P256_ORDER - 1) + 1, curve)


def authority_fault(pair: Pair | None, settings: Settings, now: Moment) -> str:
    """Why the authority has to be made anew; empty when it is good."""
    if pair is None:
        return "the authority is missing or damaged"
    if settings.seed and raw_public(pair.key.public_key()) != raw_public(seeded_key(settings.seed).public_key()):
        return "the authority is not the one that both fronts have"
    if pair.certificate.subject != subject(settings.authority):
        return "the authority has another name"
    if not_after(pair.certificate) - now < RENEW_BEFORE:
        return f"the authority ends on {not_after(pair.certificate):%Y-%m-%d}"
    if not_before(pair.certificate) > now:
        return f"the authority starts on {not_before(pair.certificate):%Y-%m-%d}, which the clock has not reached"
    return ""


def server_fault(pair: Pair | None, authority: Pair, settings: Settings, now: Moment) -> str:
    """Why the front's certificate has to be made anew; empty when it is good."""
    if pair is None:
        return "the certificate is missing or damaged"
    if not issued_by(pair.certificate, authority.certificate) or pair.chain[1:] != authority.chain:
        return "the certificate is not of this authority"
    if names_of(pair.certificate) != {general_name(name) for name in settings.names}:
        return "the certificate is for other names"
    if not_after(pair.certificate) - now < min(RENEW_BEFORE, not_after(authority.certificate) - now):
        return f"the certificate ends on {not_after(pair.certificate):%Y-%m-%d}"
    if not_before(pair.certificate) > now:
        return f"the certificate starts on {not_before(pair.certificate):%Y-%m-%d}, which the clock has not reached"
    return ""


def subject(name: str) -> x509.Name:
    """A distinguished name with nothing but the common name, which has at most 64 characters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Key usage of an authority or of a server."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: Moment, end: Moment
) -> x509.CertificateBuilder:
    """What both certificates have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def make_authority(settings: Settings, now: Moment) -> Pair:
    """A new authority that signs itself and may sign servers only."""
    key = seeded_key(settings.seed) if settings.seed else ec.generate_private_key(ec.SECP256R1())
    certificate = (
        builder(settings.authority, subject(settings.authority), key.public_key(), now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(key, (certificate,))


def make_server(settings: Settings, authority: Pair, now: Moment) -> Pair:
    """A new key and certificate for the front, which does not outlive its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = authority.key.public_key()
    end = min(now + SERVER_LIFE, not_after(authority.certificate))
    certificate = (
        builder(settings.names[0], authority.certificate.subject, key.public_key(), now, end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in settings.names]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(key, (certificate, *authority.chain))


def site_pem(settings: Settings, now: Moment) -> tuple[bytes, x509.Certificate]:
    """The site's key and chain as one file; CertificateError when a client or nginx would refuse them."""
    try:
        chain = certificates(settings.certificate.encode())
    except ValueError as error:
        raise CertificateError(
            f"the site's certificate is damaged ({error}): give it as PEM, the server's first"
        ) from error
    if not chain:
        raise CertificateError(
            "the site's certificate holds no PEM certificate: give the chain as PEM, the server's first"
        )
    if "ENCRYPTED" in settings.key:
        raise CertificateError(
            "the site's key is protected by a password, which nginx could not ask for: give it without one"
        )
    try:
        key = serialization.load_pem_private_key(settings.key.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            "the site's key is not a PEM private key: give the one that belongs to the certificate"
        ) from error
    own = raw_public(key.public_key())
    if raw_public(chain[0].public_key()) != own:
        if any(raw_public(one.public_key()) == own for one in chain):
            raise CertificateError("the site's chain is in the wrong order: put the server's certificate first")
        raise CertificateError(
            "the site's key does not belong to the site's certificate: give the pair that was made together"
        )
    if not_after(chain[0]) <= now:
        raise CertificateError(
            f"the site's certificate ended on {not_after(chain[0]):%Y-%m-%d}: clients would refuse it; renew it"
        )
    if not_before(chain[0]) > now:
        raise CertificateError(
            f"the site's certificate starts on {not_before(chain[0]):%Y-%m-%d}: clients would refuse it until then"
        )
    missing = [name for name in settings.names if not covers(chain[0], name)]
    if missing:
        offered = ", ".join(sorted(str(name.value) for name in names_of(chain[0]))) or "no name"
        raise CertificateError(
            f"the site's certificate is for {offered}, but the front is called {', '.join(missing)}: "
            f"clients would refuse it; get one with that name or change the front's name"
        )
    keys = [block for label, block in blocks(settings.key.encode()) if label.endswith("PRIVATE KEY")]
    return keys[0].rstrip() + b"\n" + b"".join(public_pem(one) for one in chain), chain[0]


def ensure(settings: Settings, now: Moment, *, dry: bool) -> Outcome:
    """Bring the files to what the settings ask for; with `dry`, only say why they would be written."""
    outcome = Outcome()
    if not settings.names:
        raise CertificateError("the front has no name: a certificate is always for a name or an address")
    if not settings.folder.is_dir():
        outcome.reasons.append(f"{settings.folder} is missing")
    if not dry:
        settings.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.nullcontext() if dry else locked(settings.folder):
        for stray in sorted(settings.folder.glob("*.tmp")):
            outcome.reasons.append(f"{stray.name} was left by a run that was cut off")
            if not dry:
                stray.unlink()
        if settings.certificate or settings.key:
            ensure_site(settings, now, outcome, dry=dry)
        else:
            ensure_private(settings, now, outcome, dry=dry)
        if not (dry and outcome.reasons):
            outcome.digest = hashlib.sha256((settings.folder / "server.pem").read_bytes()).hexdigest()
    return outcome


def ensure_site(settings: Settings, now: Moment, outcome: Outcome, *, dry: bool) -> None:
    """Put the site's certificate in place; a private authority that is left over goes, its key has no use any more."""
    content, certificate = site_pem(settings, now)
    outcome.not_after = f"{not_after(certificate):%Y-%m-%dT%H:%M:%SZ}"
    keep(
        settings,
        "server.pem",
        content,
        outcome,
        dry=dry,
        secret=True,
        shared=True,
        why="the site's certificate is another one",
    )
    for name in ("authority.pem", "authority.crt"):
        if (settings.folder / name).exists():
            outcome.reasons.append(f"{name} has no use beside the site's certificate")
            if not dry:
                (settings.folder / name).unlink()


def ensure_private(settings: Settings, now: Moment, outcome: Outcome, *, dry: bool) -> None:
    """Keep authority, certificate and the authority's public copy."""
    authority = read_pair(settings.folder / "authority.pem")
    fault = authority_fault(authority, settings, now)
    if fault and settings.seeded and not settings.seed:
        raise CertificateError(f"{fault}; only an `up` can make the one that both fronts have: run it")
    if fault or authority is None:
        authority = make_authority(settings, now)
    keep(settings, "authority.pem", authority.pem(), outcome, dry=dry, secret=True, why=fault)
    server = read_pair(settings.folder / "server.pem")
    fault = server_fault(server, authority, settings, now)
    if fault or server is None:
        server = make_server(settings, authority, now)
    keep(settings, "server.pem", server.pem(), outcome, dry=dry, secret=True, shared=True, why=fault)
    public = public_pem(authority.certificate)
    keep(settings, "authority.crt", public, outcome, dry=dry, why="the public copy differs from the authority")
    outcome.ca_certificate = public.decode()
    outcome.not_after = f"{not_after(server.certificate):%Y-%m-%dT%H:%M:%SZ}"


def keep(
    settings: Settings,
    name: str,
    content: bytes,
    outcome: Outcome,
    *,
    dry: bool,
    why: str,
    secret: bool = False,
    shared: bool = False,
) -> None:
    """Keep one file's content, owner and mode, and note why it had to be written."""
    path = settings.folder / name
    mode = (0o640 if shared and settings.group else 0o600) if secret else 0o644
    try:
        group = grp.getgrnam(settings.group).gr_gid if shared and settings.group else os.getegid()
    except KeyError:
        if not dry:
            raise CertificateError(f"there is no group {settings.group} that could read {path}") from None
        group = -1
    try:
        state = path.lstat()
        same = path.read_bytes() == content and not path.is_symlink()
    except OSError:
        outcome.reasons.append(f"{name}: {why}" if why else f"{name} is missing")
    else:
        if not same:
            outcome.reasons.append(f"{name}: {why or 'it holds more than it should'}")
        elif (state.st_mode & 0o7777, state.st_uid, state.st_gid) != (mode, os.geteuid(), group):
            outcome.reasons.append(f"{name}: its owner or mode was changed")
        else:
            return
    if not dry:
        replace(path, content, mode, group)


def replace(path: Path, content: bytes, mode: int, group: int) -> None:
    """Write a file in one step: after a crash there is the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        os.fchown(handle, os.geteuid(), group)
        os.fchmod(handle, mode)
        stream.flush()
        os.fsync(handle)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The role and the timer one after the other."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def serves(record: Path, certificate: Path, digest: str) -> bool:
    """Whether the front was started or reloaded with this certificate, by the record that its unit keeps."""
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return f"{digest}  {certificate}" in lines


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Keep the front's certificate.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("ensure", help="bring the files to what the settings ask for")
    one.add_argument("--check", action="store_true", help="only say what would be done")
    two = commands.add_parser("renew", help="ensure, and make the front load what it does not serve yet")
    two.add_argument("--unit", required=True)
    two.add_argument("--record", type=Path, required=True)
    for command in (one, two):
        command.add_argument("--settings", required=True, help="JSON file, or - for standard input")
    options = parser.parse_args(arguments)
    try:
        text = sys.stdin.read() if options.settings == "-" else Path(options.settings).read_text(encoding="utf-8")
        settings = Settings.load(text)
        now = Moment.now(dt.timezone.utc)
        outcome = ensure(settings, now, dry=options.command == "ensure" and options.check)
    except CertificateError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "ensure":
        print(outcome.as_json())
        return 0
    print("\n".join(outcome.reasons) or f"nothing to do, the certificate ends on {outcome.not_after}")
    if not serves(options.record, settings.folder / "server.pem", outcome.digest):
        # A front that does not run loads the new certificate when it starts.
        return subprocess.run(("systemctl", "try-reload-or-restart", options.unit), check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
