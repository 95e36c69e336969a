"""Stack `lab-pair`: two engine hosts behind one gateway, with a certificate of the site's own."""

import contextlib
import datetime
import ipaddress
import json
import os
import re
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway.deployment.names import port
from tests.e2e.archive import ARCHIVE, SOURCE, index, package, put
from tests.e2e.conftest import Workspace, arrivals_of, client, hosts_of
from tests.e2e.load import load
from tests.e2e.stack import KEY_FILE, Stack, ssh, wait_for
from tests.unit.settings.documents import changed
from tools.lab import HostSpec

PORT = port("tiny-llama", ())
"""Where the engines listen."""


WHOLE = pytest.param("systemctl kill --kill-whom=all --signal={} slipway-tiny-llama", id="the-whole-engine")
CORE = "pkill -{} -f 'VLLM::[E]ngineCore'"
"""What sends a signal, to the whole engine or to its core alone."""


class CommandLineWatch:
    """Looks at the command lines of all processes, at the environments of Ansible's and SSH's, and at what the plugin
    writes into memory while a role runs, until stopped."""

    def __init__(self, canaries: dict[str, str]) -> None:
        self.seen: set[str] = set()
        self.looks = 0
        self.scratch_modes: set[int] = set()
        self._canaries = canaries
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "CommandLineWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.looks += 1
            self._look_at_scratch()
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    line = (folder / "cmdline").read_bytes().decode(errors="replace")
                    ansible = "ansible" in line or line.startswith("ssh")
                    shown = line + ((folder / "environ").read_bytes().decode(errors="replace") if ansible else "")
                except OSError:
                    continue
                self.seen |= {name for name, value in self._canaries.items() if value in shown}

    def _look_at_scratch(self) -> None:
        """What lies in the plugin's folders while roles run.

        Ansible itself hands a file's content from one of its processes to the next through a file; that must be in
        memory, below a folder that only the owner may enter, and is searched for once more when all runs are over.
        """
        for scratch in Path("/dev/shm").glob("slipway-playbook-*"):
            with contextlib.suppress(OSError):
                self.scratch_modes.add(stat.S_IMODE(scratch.stat().st_mode))
            for file in files_below(scratch):
                if "/local/ansible-local-" in str(file):
                    continue
                with contextlib.suppress(OSError):
                    text = file.read_bytes().decode(errors="replace")
                    self.seen |= {f"{name} in {file}" for name, value in self._canaries.items() if value in text}


@pytest.fixture(scope="module")
def site_certificate(
    tmp_path_factory: pytest.TempPathFactory, pair_hosts: tuple[HostSpec, HostSpec]
) -> tuple[Path, Path]:
    """A self-signed certificate for the front's address, and its key."""
    folder = tmp_path_factory.mktemp("site")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate_file, key_file = folder / "site.pem", folder / "site.key"
    certificate_file.write_bytes(self_signed(key, pair_hosts[0].address, "site of the tests"))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def self_signed(key: ec.EllipticCurvePrivateKey, address: str, common_name: str) -> bytes:
    """A certificate (PEM) for the address, which is its own authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def canaries(workspace: Workspace, site_certificate: tuple[Path, Path]) -> dict[str, str]:
    """Texts that must be found nowhere."""
    tls_key_line = site_certificate[1].read_text().splitlines()[1]
    return {**workspace.secrets, "TLS key": tls_key_line}


@pytest.fixture(scope="module")
def watched(canaries: dict[str, str]) -> Iterator[CommandLineWatch]:
    with CommandLineWatch(canaries) as watch:
        yield watch


@pytest.fixture(scope="module")
def pair(
    workspace: Workspace,
    pair_hosts: tuple[HostSpec, HostSpec],
    site_certificate: tuple[Path, Path],
    watched: CommandLineWatch,
) -> Stack:
    """Stack `lab-pair` with the site's certificate, up."""
    stack = workspace.stack("lab-pair")
    settings = stack.read()
    settings["pools"]["lab"]["hosts"] = hosts_of(pair_hosts)
    certificate_file, key_file = site_certificate
    settings["front"] = {
        "certificate_file": str(certificate_file),
        "key_file": str(key_file),
        "ca_file": str(certificate_file),
    }
    stack.write(settings)
    stack.init()
    stack.up()
    return stack


def test_streams_with_the_sites_certificate(
    pair: Stack, workspace: Workspace, site_certificate: tuple[Path, Path]
) -> None:
    distinct = 0
    for _ in range(3):  # a client that is held up reads several pieces at once
        with client(pair, site_certificate[0], workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
            arrivals = arrivals_of(api)
        print(f"TTFT {arrivals[0] * 1000:.1f} ms, {len(arrivals)} deltas")
        distinct = max(distinct, len({round(arrival, 4) for arrival in arrivals}))
    assert distinct >= 30
    assert pair.outputs()["ca_certificate"] == site_certificate[0].read_text()


def test_both_engines_have_what_was_planned(pair: Stack, pair_hosts: tuple[HostSpec, HostSpec]) -> None:
    instances = pair.outputs()["models"]["tiny-llama"]["instances"]
    assert set(instances) == {f"{host.name}/tiny-llama" for host in pair_hosts}
    for instance in instances.values():
        tokens = instance["sizing"]["kv_cache_tokens"]
        assert tokens["planned"] == tokens["actual"] > 0


def test_both_engines_serve(
    pair: Stack, workspace: Workspace, site_certificate: tuple[Path, Path], pair_hosts: tuple[HostSpec, HostSpec]
) -> None:
    with client(pair, site_certificate[0], workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
        for _ in range(20):
            api.completions.create(model="tiny-llama", prompt="x", max_tokens=1)
    # Metrics are open to the private network; all else of the engine asks for its key.
    for address, host in zip(("127.0.0.1", pair_hosts[1].address), pair_hosts, strict=True):
        assert served_by(host, address) > 2, host.name  # readiness and acceptance have asked too


def served_by(host: HostSpec, address: str) -> float:
    """Requests that the engine on the host has answered, as it says itself at `address`."""
    metrics = fetched(host, f"http://{address}:{PORT}/metrics")
    lines = [line for line in metrics.splitlines() if line.startswith("vllm:request_success_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def fetched(host: HostSpec, url: str) -> str:
    """What the host itself gets from the URL; empty where nothing answers."""
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())"
    return ssh(host.address, f'python3 -c "{script}"', check=False)


@contextlib.contextmanager
def journals_told(host: HostSpec) -> Iterator[None]:
    """Where it fails: what gateway and front said since."""
    since = ssh(host.address, "date '+%Y-%m-%d %H:%M:%S'").strip()
    try:
        yield
    except BaseException:
        units = "-u slipway-litellm -u slipway-nginx"
        print(ssh(host.address, f"sudo journalctl -o short-precise {units} --since '{since}' | tail -200", check=False))
        raise


def test_engine_beside_the_gateway_needs_its_key(pair: Stack, pair_hosts: tuple[HostSpec, HostSpec]) -> None:
    url = f"http://{pair_hosts[1].address}:{PORT}/v1/models"
    status = ssh(
        pair_hosts[0].address,
        f"python3 -c \"import urllib.request as u; u.urlopen('{url}')\" 2>&1 | tail -1",
        check=False,
    )
    assert "401" in status


def test_no_request_fails_while_an_engine_is_killed(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    api = client(pair, site_certificate[0], workspace.secrets["SLIPWAY_KEY_DEMO"])
    victim = pair_hosts[1].address
    pid = ssh(victim, "systemctl show -p MainPID --value slipway-tiny-llama")
    stop = threading.Event()

    def ask(_: int) -> int:
        done = 0
        while not stop.is_set() and done < 500:
            completion = api.completions.create(model="tiny-llama", prompt="x", max_tokens=16)
            assert completion.choices[0].text
            with api.chat.completions.create(
                model="tiny-llama", messages=[{"role": "user", "content": "x"}], max_tokens=1, stream=True
            ) as stream:
                list(stream)
            done += 1
        return done

    with journals_told(pair_hosts[0]), api, ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(ask, index) for index in range(4)]
        try:
            time.sleep(2)  # requests are in flight on both engines
            ssh(victim, "sudo systemctl kill --kill-whom=all --signal=KILL slipway-tiny-llama")
            time.sleep(15)
        finally:
            stop.set()
        answered = [worker.result() for worker in workers]
    print(f"answered per client while one of two engines was killed: {answered}")
    assert min(answered) > 0
    assert ssh(victim, "systemctl show -p MainPID --value slipway-tiny-llama") != pid


@pytest.mark.parametrize("what", [WHOLE, pytest.param(CORE, id="its-core")])
def test_requests_that_wait_for_an_engine_when_it_is_killed_are_answered_by_the_other(
    pair: Stack,
    workspace: Workspace,
    pair_hosts: tuple[HostSpec, HostSpec],
    site_certificate: tuple[Path, Path],
    what: str,
) -> None:
    """Of the core alone: its server goes on, and has sent the headers of a streamed answer when it is killed."""
    victim = pair_hosts[1]
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with journals_told(pair_hosts[0]), client(pair, site_certificate[0], key) as api:
        until_asked(api, victim)
        ssh(victim.address, f"sudo {what.format('STOP')}")

        def ask(kind: str) -> str:
            if kind == "completion":
                return api.completions.create(model="tiny-llama", prompt="x", max_tokens=4).choices[0].text
            asked = [{"role": "user", "content": "x"}]
            if kind == "chat":
                answer = api.chat.completions.create(model="tiny-llama", messages=asked, max_tokens=4)  # type: ignore[arg-type]
                return answer.choices[0].message.content or ""
            chunks = api.chat.completions.create(model="tiny-llama", messages=asked, max_tokens=4, stream=True)  # type: ignore[arg-type]
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(ask, kind) for kind in ("completion", "chat", "stream") * 8]
            time.sleep(0.5)
            waiting = sum(not answer.done() for answer in answers)
            ssh(victim.address, "sudo systemctl kill --kill-whom=all --signal=KILL slipway-tiny-llama")
            texts = [answer.result() for answer in answers]
    print(f"{waiting} of {len(texts)} requests waited for the engine that was killed")
    assert waiting > 0
    assert all(texts)


@pytest.mark.parametrize("what", [WHOLE, pytest.param(CORE, id="its-core", marks=pytest.mark.rare)])
def test_nothing_is_lost_while_an_engine_hangs(
    pair: Stack,
    workspace: Workspace,
    pair_hosts: tuple[HostSpec, HostSpec],
    site_certificate: tuple[Path, Path],
    what: str,
) -> None:
    """Clients give up after 20 s. Of the core alone: its server goes on, and tells that all is well."""
    victim = pair_hosts[1]
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, victim)
    with journals_told(pair_hosts[0]), load(lambda: client(pair, site_certificate[0], key, timeout_s=20)) as found:
        time.sleep(2)
        ssh(victim.address, f"sudo {what.format('STOP')}")
        try:
            time.sleep(10)
            before = found.answered
            time.sleep(50)
            assert found.answered > before + 200, "the other engine is not asked at its usual pace"
        finally:
            ssh(victim.address, f"sudo {what.format('CONT')}")
        time.sleep(2)
    assert found.lost == []
    assert [error for error in found.broken if "backend was lost in the middle" not in error] == []
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, victim)


def test_nothing_is_lost_while_an_engines_host_is_cut_off(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    victim = pair_hosts[1]
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    cut = "ip link set host0 down; sleep 12; ip link set host0 up"
    with journals_told(pair_hosts[0]), load(lambda: client(pair, site_certificate[0], key, timeout_s=20)) as found:
        time.sleep(3)
        usual = found.answered
        ssh(victim.address, f"sudo systemd-run --no-block sh -c 'sleep 1; {cut}'")
        time.sleep(8)
        before = found.answered
        time.sleep(3)
        # Where requests wait for the lost one, hardly any is answered; how fast this machine is at all is no matter.
        assert found.answered - before > usual / 5, "the other engine is not asked at its usual pace"
        time.sleep(6)
    assert found.lost == []
    assert [error for error in found.broken if "backend was lost in the middle" not in error] == []
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, victim)


def test_nothing_is_lost_while_the_front_reloads_and_the_gateway_is_killed(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    """A connection that is closed while it is idle is the client's to open again: the SDK's own retries, as they come."""
    front = pair_hosts[0].address
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with journals_told(pair_hosts[0]):
        with (
            load(lambda: client(pair, site_certificate[0], key, retries=2)) as found,
            streams_by_curl(f"https://{front}/v1/chat/completions", site_certificate[0], key) as done,
        ):
            time.sleep(1)
            ssh(front, "sudo systemctl kill --kill-whom=all --signal=KILL slipway-litellm")
            ssh(front, "for i in $(seq 20); do sudo systemctl reload slipway-nginx; sleep 0.3; done")
        assert (found.lost, found.broken) == ([], [])
        assert found.answered > 20
        assert [each for each in done if not five_streams(*each)] == []
        assert done


def test_nothing_is_lost_while_the_certificate_is_renewed(
    pair: Stack,
    workspace: Workspace,
    pair_hosts: tuple[HostSpec, HostSpec],
    site_certificate: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    front, (certificate_file, key_file) = pair_hosts[0].address, site_certificate
    before = certificate_file.read_bytes()
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    # Of another name: two authorities of one name are not told apart by clients that trust both.
    after = self_signed(key, front, "site of the tests, renewed")
    both = tmp_path / "both.pem"
    both.write_bytes(before + after)
    secret = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with journals_told(pair_hosts[0]):
        with (
            load(lambda: client(pair, both, secret, retries=2)) as found,
            streams_by_curl(f"https://{front}/v1/chat/completions", both, secret) as done,
        ):
            certificate_file.write_bytes(after)
            runs = pair.runs_of(pair.up)
        assert [instance for _, instance in runs if instance != "acceptance"] == ["nginx"]
        assert ssl.get_server_certificate((front, 443)) == after.decode()
        assert (found.lost, found.broken) == ([], [])
        assert found.answered > 20
        assert [each for each in done if not five_streams(*each)] == []
        assert done


def five_streams(status: int, text: str) -> bool:
    """Whether each came to its end; of one that broke and was begun again there would be two beginnings."""
    return (status, text.count("data: [DONE]"), len(set(re.findall(r'"id":"([^"]+)"', text)))) == (0, 5, 5)


@contextlib.contextmanager
def streams_by_curl(url: str, ca_file: Path, key: str) -> Iterator[list[tuple[int, str]]]:
    """One after the other, five streams on a connection of HTTP/2: the exit status and what came.

    With curl, since httpx takes the server's word that a connection takes no further requests (GOAWAY) for the end of those
    that run on it. curl sends its next one on that connection now and then, which is refused unread; it may try again.
    """
    found: list[tuple[int, str]] = []
    stop = threading.Event()
    body = {"model": "tiny-llama", "stream": True, "max_tokens": 16, "messages": [{"role": "user", "content": "x"}]}
    command = ["curl", "--http2", "--silent", "--show-error", "--cacert", ca_file, "--max-time", "60"]
    command += ["--retry", "2", "--retry-all-errors"]
    # The header from a pipe, so that the key is in no command line.
    command += ["--header", "@-", "--json", json.dumps(body), f"{url}#[1-5]"]

    def ask() -> None:
        while not stop.is_set() and len(found) < 1000:
            done = subprocess.run(
                command, input=f"Authorization: Bearer {key}\n", capture_output=True, text=True, check=False
            )
            found.append((done.returncode, done.stdout + done.stderr))

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(ask)
        try:
            yield found
        finally:
            stop.set()
            worker.result()


def until_asked(api: openai.OpenAI, host: HostSpec) -> None:
    """Wait until the engine on the host, which was killed before, is up and gets requests of the gateway again."""
    deadline = time.monotonic() + 180
    before = served_by(host, host.address)
    while served_by(host, host.address) <= before:
        assert time.monotonic() < deadline, f"the gateway asks {host.name} no more"
        api.completions.create(model="tiny-llama", prompt="x", max_tokens=1)
        before = min(before, served_by(host, host.address))  # it counts from 0 when it starts


def test_a_changed_engine_rolls_and_no_request_fails(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    """The replicas change one after the other, each ends what it has begun, and the other one takes what comes meanwhile."""
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, pair_hosts[1])
    settings = pair.read()
    before = [engine_started(host) for host in pair_hosts]
    with load(lambda: client(pair, site_certificate[0], key)) as found:
        time.sleep(2)
        pair.write(changed(settings, "models.tiny-llama.engine.max_num_seqs", 12))
        pair.up()
        time.sleep(3)
    first, second = sorted(engine_started(host) for host in pair_hosts)
    assert first > max(before)
    print(
        f"{found.answered} requests while both replicas were changed, the second one {second - first:.0f} s after the first"
    )
    assert found.lost == []
    assert found.broken == []
    # Each takes longer than that to load its model: the second one waited for it.
    assert second - first > LOADING_S


UPGRADE = "slipway upgrade lab-pair"
DRAINED = "/run/slipway/drained"


def drained(host: HostSpec) -> bool:
    """Whether the host has the mark of one that is out of service for a change."""
    return ssh(host.address, f"test -e {DRAINED} && echo yes || true").strip() == "yes"


def put_back_later(host: HostSpec) -> bool:
    """Whether the host would put itself back by a timer."""
    return ssh(host.address, "systemctl is-active slipway-put-back.timer || true").strip() == "active"


@pytest.mark.rare
def test_an_upgrade_changes_host_by_host_and_no_request_fails(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    first, second = pair_hosts[1], pair_hosts[0]  # the one with gateway and front comes last
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, first)
    before = {host.name: engine_started(host) for host in pair_hosts}
    pair.write(changed(pair.read(), "models.tiny-llama.engine.max_num_seqs", 11))
    shown = pair.shell(f"{UPGRADE} --preview")
    assert shown.returncode == 0, shown.stderr
    print(shown.stdout)
    assert f"1. {first.name}: tiny-llama" in shown.stdout
    assert f"2. {second.name}: nginx, tiny-llama" in shown.stdout
    assert {host.name: engine_started(host) for host in pair_hosts} == before
    with load(lambda: client(pair, site_certificate[0], key)) as found:
        time.sleep(2)
        done = pair.shell(f"{UPGRADE} --json")
        time.sleep(3)
    assert done.returncode == 0, done.stdout + done.stderr
    order = json.loads(done.stdout)["order"]
    assert [group["hosts"][0]["host"] for group in order] == [first.name, second.name]
    for group in order:
        print(f"{group['hosts'][0]['host']}: drained in {group['drained_s']} s, out for {group['out_s']} s")
    print(f"{found.answered} requests of eight clients while both hosts were upgraded")
    assert (found.lost, found.broken) == ([], [])
    assert before[first.name] < engine_started(first) < engine_started(second)
    for host in pair_hosts:
        assert not drained(host)
        assert not put_back_later(host)
    assert "every host is as the stack says" in pair.shell(UPGRADE).stdout


@pytest.mark.rare
def test_an_upgrade_that_is_killed_goes_on_where_it_was(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    first, second = pair_hosts[1], pair_hosts[0]
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    pair.write(changed(pair.read(), "models.tiny-llama.engine.max_num_seqs", 10))
    with load(lambda: client(pair, site_certificate[0], key)) as found:
        run = subprocess.Popen(
            UPGRADE.split(),
            cwd=pair.project,
            env=pair.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: drained(first) or run.poll() is not None, "the host to be drained", seconds=120)
        finally:
            run.kill()
            run.wait()
        assert drained(first)
        assert put_back_later(first)
        assert not drained(second)
        done = pair.shell(f"{UPGRADE} --json")
        time.sleep(3)
    assert done.returncode == 0, done.stdout + done.stderr
    order = json.loads(done.stdout)["order"]
    assert [(group["hosts"][0]["host"], group["hosts"][0]["drained_before"]) for group in order] == [
        (first.name, True),
        (second.name, False),
    ]
    assert (found.lost, found.broken) == ([], [])
    for host in pair_hosts:
        assert "--max-num-seqs=10" in engine_command(host)
        assert not drained(host)
        assert not put_back_later(host)


@pytest.mark.rare
def test_an_upgrade_stops_at_the_first_host_that_fails_and_goes_back(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    first, second = pair_hosts[1], pair_hosts[0]
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    settings, before = pair.read(), engine_started(second)
    # Nothing but the engine itself knows that there is no such flag.
    pair.write(changed(settings, "models.tiny-llama.engine.flags", {"no-such-flag": True}))
    with load(lambda: client(pair, site_certificate[0], key)) as found:
        failed = pair.shell(UPGRADE)
        print(failed.stderr[-2000:])
        assert failed.returncode == 1
        assert f"{first.name}: the change failed" in failed.stderr
        assert f"as they were: {second.name}" in failed.stderr
        assert f"still served: tiny-llama by {second.name}/tiny-llama" in failed.stderr
        assert engine_started(second) == before
        assert drained(first)
        pair.write(settings)
        back = pair.shell(f"{UPGRADE} --json")
        time.sleep(3)
    assert back.returncode == 0, back.stdout + back.stderr
    assert [group["hosts"][0]["host"] for group in json.loads(back.stdout)["order"]] == [first.name]
    assert (found.lost, found.broken) == ([], [])
    assert engine_started(second) == before
    assert not drained(first)
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, first)


@pytest.mark.rare
def test_a_host_gets_its_packages_and_reboots_and_no_request_fails(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    """The other one has the only gateway and front, so it would not reboot without leave."""
    host = pair_hosts[1]
    asks = "#!/bin/sh\ntouch /run/reboot-required\necho probe >/run/reboot-required.pkgs\n"
    prepared = [
        f"sudo mkdir -p {ARCHIVE}\n",
        put("/etc/apt/sources.list.d/archive.list", SOURCE),
        package("probe", "1"),
        index(),
        "sudo apt-get update -q && sudo apt-get dist-upgrade -y -q && sudo apt-get install -y -q probe\n",
        package("probe", "2", script=asks),
        index(),
        "sudo apt-get update -q\n",
    ]
    ssh(host.address, "".join(prepared))
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, host)
    boot, command = ("cat /proc/sys/kernel/random/boot_id", f"{UPGRADE} --packages --host {host.name}")
    booted = ssh(host.address, boot)
    shown = pair.shell(f"{command} --preview")
    assert shown.returncode == 0, shown.stderr
    assert f"1. {host.name}: packages: 1 package" in shown.stdout
    with load(lambda: client(pair, site_certificate[0], key)) as found:
        time.sleep(2)
        done = pair.shell(f"{command} --json")
        time.sleep(3)
    assert done.returncode == 0, done.stdout + done.stderr
    ((group,),) = [group["hosts"] for group in json.loads(done.stdout)["order"]]
    print(f"{found.answered} requests of eight clients while {host.name} got its packages and rebooted: {group}")
    assert (found.lost, found.broken) == ([], [])
    assert group["host"] == host.name
    assert ssh(host.address, "dpkg-query -W -f '${Version}' probe") == "2"
    back = ssh(host.address, boot)
    assert back != booted
    assert not drained(host)
    assert not put_back_later(host)
    with client(pair, site_certificate[0], key) as api:
        until_asked(api, host)
    again = pair.shell(command)
    assert again.returncode == 0, again.stderr
    assert ssh(host.address, boot) == back


@pytest.mark.rare
def test_a_host_that_nobody_puts_back_does_so_itself(
    pair: Stack, workspace: Workspace, pair_hosts: tuple[HostSpec, HostSpec], site_certificate: tuple[Path, Path]
) -> None:
    host = pair_hosts[1]
    order: dict[str, object] = {
        "action": "drain",
        "owner": "nobody",
        "host": "gone",
        "units": ["slipway-tiny-llama.service"],
    }
    # Longer than the engine's stop takes: a lease that ends before would start what is still stopping.
    order |= {"lease_s": 30, "address": None}
    program = (pair.project / "playbooks/module_utils/slipway_drain.py").read_text()
    call = f"print(run({order!r}))"
    told = subprocess.run(
        ["ssh", "-i", str(KEY_FILE), *UNKNOWN, f"slipway@{host.address}", "sudo -n /usr/bin/python3 -I -B -"],
        input=f"{program}\n{call}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "seconds" in told.stdout
    wait_for(lambda: not drained(host), "the host to put itself back", seconds=90)
    with client(pair, site_certificate[0], workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
        until_asked(api, host)
    assert not put_back_later(host)


UNKNOWN = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


def engine_command(host: HostSpec) -> str:
    """The running engine's command line."""
    pid = ssh(host.address, "systemctl show -p MainPID --value slipway-tiny-llama").strip()
    return ssh(host.address, f"sudo cat /proc/{pid}/cmdline | tr '\\0' ' '")


LOADING_S = 5
"""What vLLM takes at least from its start to its first answer."""


def engine_started(host: HostSpec) -> float:
    """When the engine's unit was last started, in seconds of a clock that all lab hosts share."""
    return int(ssh(host.address, "systemctl show -p ExecMainStartTimestampMonotonic --value slipway-tiny-llama")) / 1e6


def test_secrets_are_found_nowhere(
    pair: Stack, watched: CommandLineWatch, canaries: dict[str, str], pair_hosts: tuple[HostSpec, HostSpec]
) -> None:
    # What could show a secret has run: a first up, a check with diffs, and an up that fails in a task with secrets.
    pair.pulumi("preview", "--refresh", "--diff")
    settings = pair.read()
    # Nothing but the engine itself knows that there is no such flag.
    pair.write(changed(settings, "models.tiny-llama.engine.flags", {"no-such-flag": True}))
    started = [engine_started(host) for host in pair_hosts]
    refused = pair.refused()
    assert "layer tiny-llama" in refused
    # The first one fails, and the other goes on as it is.
    assert "was left as it is" in refused
    assert sum(engine_started(host) == at for host, at in zip(pair_hosts, started, strict=True)) == 1
    pair.write(settings)
    assert watched.looks > 100
    assert watched.scratch_modes == {0o700}
    assert watched.seen == set()
    places = {
        "the state": pair.exported_state(),
        "the engine's output": pair.transcript.read_text(),
        "the plugin's log": pair.log.read_text(),
    }
    for host in pair_hosts:
        places[f"the journal of {host.name}"] = ssh(
            host.address, "sudo journalctl --no-pager -o cat; sudo cat -A /var/log/*log || true"
        )
    assert (
        "slipway-litellm" in places[f"the journal of {pair_hosts[0].name}"]
        or "LiteLLM" in places[f"the journal of {pair_hosts[0].name}"]
    )
    found = {
        f"{name} in {place}" for place, text in places.items() for name, canary in canaries.items() if canary in text
    }
    assert found == set()
    site_key = Path(pair.read()["front"]["key_file"])
    for folder in (Path("/tmp"), Path("/dev/shm"), Path("/run"), pair.log.parent):
        for file in files_below(folder):
            if file == site_key:
                continue  # this test's own input
            try:
                text = file.read_bytes().decode(errors="replace")
            except FileNotFoundError:
                continue  # what vanishes meanwhile is passed over
            assert not [name for name, canary in canaries.items() if canary in text], file


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files below `folder` of up to 16 MiB; what vanishes meanwhile is passed over."""
    for directory, _, names in os.walk(folder):
        for name in names:
            file = Path(directory) / name
            try:
                if file.is_file() and not file.is_symlink() and file.stat().st_size < 16 << 20:
                    yield file
            except OSError:
                continue
