"""What the front offers before a request is read: Mozilla's intermediate profile, judged by sslyze."""

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.front import ROLE, Front
from tests.integration.security.fuzz import environment


def test_tls_is_that_of_mozillas_intermediate_profile(tmp_path: Path) -> None:
    """With a certificate that the role's own program made, of an authority that the client trusts."""
    settings = {"folder": str(tmp_path / "tls"), "names": ["127.0.0.1"]}
    program = [sys.executable, str(ROLE / "files/certificate.py"), "ensure", "--settings", "-"]
    subprocess.run(program, input=json.dumps(settings), text=True, check=True, capture_output=True)
    front = Front(tmp_path / "nginx")
    front.start()
    try:
        front.wait()
        (front.folder / "tls/server.pem").write_bytes((tmp_path / "tls/server.pem").read_bytes())
        front.stop()
        front.again()
        front.wait()
        command = [environment() / "bin/python", "-m", "sslyze", "--mozilla_config=intermediate"]
        command += [f"--certinfo_ca_file={tmp_path}/tls/authority.crt", f"127.0.0.1:{front.port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        front.close()
    verdict = done.stdout.partition("COMPLIANCE AGAINST")[2]
    assert f"127.0.0.1:{front.port}: OK - Compliant." in verdict, done.stdout[-3000:] + done.stderr
    assert done.returncode == 0
