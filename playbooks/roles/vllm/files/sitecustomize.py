"""Runs first in every Python process of the engine: asks the kernel for the AMX tile registers.

Linux hands them out only on request, per process, and a program started with exec starts without them again. vLLM's CPU
attention uses them without asking; where no library happened to ask before, its worker dies of an illegal instruction at
the first request, while /health goes on answering 200. On processors and kernels without AMX the request fails and
nothing else happens.
"""

import ctypes
import platform

ARCH_PRCTL = 158
ARCH_REQ_XCOMP_PERM = 0x1023
XFEATURE_XTILEDATA = 18

if platform.machine() == "x86_64":
    ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
