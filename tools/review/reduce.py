"""`python -m tools.review.reduce [FILE]`: the engine's JSON on standard input, cut down to what a review shows.

Values stay behind, and so does every secret of the environment. FILE is given where the preview failed, and holds what the
engine said besides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.review.preview import read_preview, reduced, secrets_of


def main(arguments: Sequence[str]) -> None:
    """From standard input to standard output; why it failed goes to the job's log as well."""
    words = Path(arguments[0]).read_text(encoding="utf-8", errors="replace") if arguments else None
    kept = reduced(sys.stdin.read(), words=words, secrets=secrets_of(os.environ))
    print(kept)
    print("\n".join(read_preview(kept).errors), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
