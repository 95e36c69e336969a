"""Becomes the command it is given, after asking Linux to end it when the language host ends.

usage: python -I -S launcher.py PARENT_PID COMMAND [ARGUMENT ...]

A host that is killed with SIGKILL can end nobody. The request has to be made by the child itself, between fork and
exec; `preexec_fn` would run Python in a fork of a process full of gRPC's threads, which deadlocks now and then, so a
process of its own makes it (8 ms, standard library only, no `site`).

The signal is tied to the *thread* that forked, which is why this is safe here (the host forks in its main thread only)
and would not be for the host itself: the engine's Go runtime ends threads as it likes.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Sets the signal and replaces this process by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the host ended before the request was made
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"could not start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
