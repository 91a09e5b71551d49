"""Memory that comes and goes: no new pages from the kernel each time."""

import subprocess
import sys
from typing import Final

import pytest

_ROUNDS: Final = 50
_COUNT: Final = f"""
import resource, sys
import numpy as np
from qnetem.runtime.allocator import keep_small_blocks

if sys.argv[1] == "kept":
    keep_small_blocks()

def come_and_go():
    messages = [np.ones(1_000_000, dtype=np.uint8) for _ in range(8)]

come_and_go()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({_ROUNDS}):
    come_and_go()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the GNU C library")
def test_messages_come_and_go_without_new_pages() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", _COUNT, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "given back")
    )
    assert given_back >= _ROUNDS
    assert kept < given_back / 10
