"""qnetem.runtime.allocator: how this process keeps memory that it is done with. Edge.

Messages and click arrays of about a megabyte come and go all the time. As it stands, glibc hands them back to the
kernel each time, and a fresh page costs 3 us on a virtual machine: half of what a click costs outside the sampler.
It also takes arrays of up to 32 MB from the heap once one of them was freed, where they leave holes behind.
"""

import contextlib
import ctypes
from typing import Final

__all__ = ["keep_small_blocks"]

# of mallopt(3)
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 4 << 20
_KEPT_BYTES: Final = 16 << 20
_ARENAS: Final = 2


def keep_small_blocks() -> None:
    """Keep what is smaller than 4 MiB for the next taker, and give what is larger back to the kernel at once.

    Without glibc nothing happens.
    """
    # another C library has no mallopt, or does nothing in it
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, _ARENAS)):
            mallopt(option, value)
