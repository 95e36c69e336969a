"""`python -m cli.pipeline.reduce STACK STATE [FILE]`: the engine's JSON on standard input, cut down to what a review shows.

Values stay behind, and so does every secret of the environment. STATE says what the stack was held against. FILE is given where
the preview failed, and holds what the engine said besides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.pipeline.variables import named
from slipway.review.preview import State, read_preview, reduced, secrets_of


def main(arguments: Sequence[str]) -> None:
    """From standard input to standard output; why it failed goes to the job's log as well."""
    stack, state, *files = arguments
    words = Path(files[0]).read_text(encoding="utf-8", errors="replace") if files else None
    # A variable that a stack takes a secret from is one, whatever it is called.
    secrets = [*secrets_of(os.environ), *(os.environ[name] for name in named(stack) if name in os.environ)]
    kept = reduced(sys.stdin.read(), words=words, secrets=secrets, state=State(state))
    print(kept)
    print("\n".join(read_preview(kept).errors), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
