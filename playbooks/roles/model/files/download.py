"""Fetch one commit of a repository from a model hub, whole; run by the hub's client's own Python as a user without rights.

What to fetch comes as JSON on standard input, the token among it: arguments can be read by everybody on the machine.
The mark is made last. The client by itself calls a download done when it cannot reach the hub and anything is in the folder.
"""

import json
import os
import sys
from pathlib import Path

HOME = "/var/lib/slipway/hub"


def main() -> None:
    """Read what is wanted, fetch it, and mark the folder; a line of error and status 1 where it does not work."""
    given = json.load(sys.stdin)
    os.umask(0o022)
    os.chdir("/")
    os.environ |= {
        "HOME": HOME,
        "HF_ENDPOINT": given["endpoint"],
        **({"HF_TOKEN": given["token"]} if given["token"] else {}),
        **dict.fromkeys(("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "DO_NOT_TRACK"), "1"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    reason = fetch(given)
    if reason:
        line = " ".join(reason.split())
        sys.exit(line.replace(given["token"], "[token]") if given["token"] else line)
    Path(given["folder"], given["mark"]).touch()


def fetch(given: "dict[str, str | list[str]]") -> str:
    """Why the files could not be fetched; empty when all are there."""
    # Only now, as it reads its settings from the environment at its import.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    patterns = given["patterns"] or None
    try:
        listed = HfApi().list_repo_files(given["repository"], revision=given["revision"])
        wanted = list(filter_repo_objects(listed, allow_patterns=patterns))
        if not wanted:
            return f"none of its {len(listed)} files matches {', '.join(given['patterns'])}"
        snapshot_download(
            given["repository"], revision=given["revision"], local_dir=given["folder"], allow_patterns=patterns
        )
    except Exception as error:  # noqa: BLE001 -- whatever it is, a person has to read it
        return f"{type(error).__name__}: {error}"
    missing = [name for name in wanted if not Path(given["folder"], name).is_file()]
    return f"{missing[0]} did not come; the hub stopped answering" if missing else ""


if __name__ == "__main__":
    main()
