"""How this process keeps memory between the steps of a training on a CPU."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt (malloc.h)."""


def reuse_memory() -> None:
    """Keeps freed memory for the next allocation instead of giving it back to the system.

    Otherwise every large tensor costs a page fault for each 4 KiB, 0.5 s a GiB, which is more than
    computing many of them. For a program's start; does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
