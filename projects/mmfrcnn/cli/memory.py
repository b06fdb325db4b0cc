"""Freed memory stays with the process, on a CPU."""

from __future__ import annotations

import ctypes
import platform

# <malloc.h>; mallopt takes a C int.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have the C library keep large blocks that are freed, for the next ones.

    By default it hands each feature map's pages back to the system, which has to clear
    as many for the next one: a tenth of an inference's time. Only glibc is told.
    """
    if platform.libc_ver()[0] == 'glibc':
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, LARGEST)
