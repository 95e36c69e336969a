"""What this machine knows about reaching the world, carried over to a host: a lab host is a neighbour of this machine.

Resolver, certificate authorities, proxies, and the settings of apt, pip and uv. Own hosts are set up by their owners;
only the lab does this, and it writes files that no role of Slipway writes.
"""

import configparser
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.lab.apt import Distribution, render
from tools.lab.shell import attempt, run

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
UV_CACHE = "/var/cache/slipway-uv"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?-----END CERTIFICATE-----\n", re.DOTALL)
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_APT_OPTIONS = re.compile(r"Acquire::((https?)::(?!Proxy-Auto-Detect).*|ForceIPv[46]|Retries|Check-(Valid-Until|Date))")
_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[?::1\]?)(?=[:/]|$)")
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "timeout", "proxy")


@dataclass(frozen=True, slots=True)
class Outer:
    """The settings of this machine, ready to be written; `notes` are for the person at the keyboard."""

    resolv_conf: str
    certificates: str
    environment: dict[str, str]
    apt_options: str
    apt_sources: str
    pip: dict[str, list[str]]
    uv: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def read(
        cls, distribution: Distribution, environ: Mapping[str, str] = os.environ, etc: Path = Path("/etc")
    ) -> "Outer":
        """Read them all; whatever is missing is left out."""
        home = Path(environ.get("HOME", "/root"))
        notes: list[str] = []
        pip = _pip(environ, home, etc)
        return cls(
            resolv_conf=_resolv_conf(etc, notes),
            certificates=_certificates(environ, etc),
            environment=_proxies(environ, notes),
            apt_options=_apt_options(notes),
            apt_sources=render(distribution.sources),
            pip=pip,
            uv=_uv(environ, home, etc, pip),
            notes=tuple(notes),
        )


def carry(outer: Outer, root: Path) -> None:
    """Write the settings into the host's root folder."""
    put(root, "etc/resolv.conf", outer.resolv_conf)
    _carry_certificates(outer.certificates, root)
    if outer.environment:
        put(root, "etc/environment", "".join(f'{name}="{value}"\n' for name, value in outer.environment.items()))
    put(root, "etc/apt/apt.conf.d/80slipway-lab", outer.apt_options)
    put(root, "etc/apt/sources.list.d/slipway-lab.sources", outer.apt_sources)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for secret in [Path("/etc/apt/auth.conf"), *Path("/etc/apt/auth.conf.d").glob("*.conf")]:
        if secret.is_file():
            put(root, str(secret).removeprefix("/"), secret.read_text(), 0o600)
    pip = {**outer.pip, "cert": [f"/{BUNDLE}"]}
    lines = [f"{key} = {_newline_indented(values)}\n" for key, values in pip.items()]
    put(root, "etc/pip.conf", "[global]\n" + "".join(lines))
    put(root, "etc/uv/uv.toml", uv_toml(outer.uv))


def put(root: Path, name: str, text: str, mode: int = 0o644) -> Path:
    """Write a file of the host. A link there is replaced: followed from outside, it could lead out of the host."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def uv_toml(settings: Mapping[str, Any]) -> str:
    """A host's settings for uv.

    The cache is this machine's, seen by every host, and environments link into it: hosts that install the same
    gigabytes download them once, hold them once on disk and once in memory. An own host must not do this, as its
    environments would break with the cache; so it is set here and not by a role.
    """
    lines = [f"cache-dir = {json.dumps(UV_CACHE)}", 'link-mode = "symlink"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items() if key != "index"]
    for index in settings.get("index", []):
        lines += ["", "[[index]]", *(f"{key} = {json.dumps(value)}" for key, value in index.items())]
    return "\n".join(lines) + "\n"


def _newline_indented(values: list[str]) -> str:
    return values[0] if len(values) == 1 else "".join(f"\n    {value}" for value in values)


def _resolv_conf(etc: Path, notes: list[str]) -> str:
    text = (etc / "resolv.conf").read_text() if (etc / "resolv.conf").is_file() else ""
    upstream = Path("/run/systemd/resolve/resolv.conf")
    if re.search(r"^nameserver\s+(127\.|::1)", text, re.MULTILINE):
        # A stub resolver of this machine answers on its loopback, where no host can ask it.
        if upstream.is_file():
            return upstream.read_text()
        notes.append("this machine resolves names through a server on its loopback; lab hosts cannot reach it")
    return text


def _certificates(environ: Mapping[str, str], etc: Path) -> str:
    """Every authority this machine trusts: the system's bundle, and one named in the environment."""
    found: dict[str, None] = {}
    for bundle in (etc / "ssl/certs/ca-certificates.crt", environ.get("SSL_CERT_FILE"), environ.get("PIP_CERT")):
        if bundle and Path(bundle).is_file():
            found |= dict.fromkeys(_CERTIFICATE.findall(Path(bundle).read_text(errors="replace")))
    return "".join(found)


def _carry_certificates(certificates: str, root: Path) -> None:
    bundle = root / BUNDLE
    known = set(_CERTIFICATE.findall(bundle.read_text())) if bundle.is_file() else set()
    extra = [certificate for certificate in _CERTIFICATE.findall(certificates) if certificate not in known]
    for number, certificate in enumerate(extra):
        put(root, f"usr/local/share/ca-certificates/slipway-lab-{number:02}.crt", certificate)
    if extra:
        # Through the host's own tool: a later update of its authorities then keeps these.
        run("chroot", str(root), "update-ca-certificates")


def _proxies(environ: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    found = {}
    for name in (*_PROXIES, *(name.upper() for name in _PROXIES)):
        value = environ.get(name)
        if not value:
            continue
        if not name.lower().startswith("no_") and _LOOPBACK.search(value):
            notes.append(f"{name} points to this machine's loopback, which lab hosts cannot reach: left out")
        else:
            found[name] = value
    return found


def _apt_options(notes: list[str]) -> str:
    lines = []
    for line in attempt("apt-config", "dump", "Acquire").stdout.splitlines():
        match = re.match(r'(\S+) "(.*)";$', line)
        if not match or not match[2] or not _APT_OPTIONS.match(match[1]):
            continue
        if "::proxy" in match[1].lower() and _LOOPBACK.search(match[2]):
            notes.append(f"apt's {match[1]} points to this machine's loopback, which lab hosts cannot reach: left out")
        elif not match[2].startswith("/"):  # files of this machine; the authorities come with the bundle
            lines.append(f"{line}\n")
    return "".join(lines)


def _pip(environ: Mapping[str, str], home: Path, etc: Path) -> dict[str, list[str]]:
    configuration = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [etc / "xdg/pip/pip.conf", etc / "pip.conf", home / ".pip/pip.conf", configuration / "pip/pip.conf"]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser(strict=False)
    parser.read(files)
    found: dict[str, list[str]] = {}
    for key in _PIP_KEYS:
        values = [parser[section][key] for section in ("global", "install") if parser.has_option(section, key)]
        values += [environ[name] for name in (f"PIP_{key.upper().replace('-', '_')}",) if environ.get(name)]
        if values:
            found[key] = values[-1].split()
    return found


def _uv(environ: Mapping[str, str], home: Path, etc: Path, pip: Mapping[str, list[str]]) -> dict[str, Any]:
    """The indexes uv uses here, its own before pip's, as uv's settings."""
    configuration = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    own: dict[str, Any] = {}
    for file in (etc / "uv/uv.toml", configuration / "uv/uv.toml"):
        if file.is_file():
            own |= tomllib.loads(file.read_text())
    indexes = [dict(index) for index in own.get("index", []) if isinstance(index, dict)]
    default = (
        environ.get("UV_DEFAULT_INDEX")
        or environ.get("UV_INDEX_URL")
        or own.get("index-url")
        or next(iter(pip.get("index-url", [])), None)
    )
    extra = (environ.get("UV_INDEX", "") + " " + environ.get("UV_EXTRA_INDEX_URL", "")).split()
    extra = extra or own.get("extra-index-url") or ([] if indexes else pip.get("extra-index-url", []))
    indexes += [_index(address) for address in extra]
    if default and not any(index.get("default") for index in indexes):
        indexes.append({**_index(default), "default": True})
    settings: dict[str, Any] = {}
    # uv brings its own authorities; a machine that trusts more than those needs the system's.
    if environ.get("SSL_CERT_FILE") or environ.get("UV_NATIVE_TLS") or own.get("native-tls") or own.get("system-certs"):
        settings["native-tls"] = True
    insecure = environ.get("UV_INSECURE_HOST", "").split() or own.get("allow-insecure-host") or pip.get("trusted-host")
    if insecure:
        settings["allow-insecure-host"] = insecure
    return {**settings, "index": indexes} if indexes else settings


def _index(address: str) -> dict[str, Any]:
    name, equals, url = address.partition("=")
    return {"name": name, "url": url} if equals and "/" not in name else {"url": address}
