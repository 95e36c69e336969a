"""The client that fetches models from a hub."""

from slipway.engines.base import Program
from slipway.engines.programs import ROLES, files_digest

PROGRAM = Program(
    name="hub",
    role="hub",
    release="",
    digest=files_digest(ROLES / "hub" / "files" / "requirements.txt", otherwise="hub"),
)
