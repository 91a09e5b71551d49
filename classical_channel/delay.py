"""classical_channel.delay: bytes under way, in order, each until its time. Pure: the caller brings the clock.

A delay line does not limit bandwidth: it holds whatever was sent within the delay, up to a capacity that guards the
process. Past it the sender is asked to wait, as a full window would make it.
"""

from collections import deque
from typing import Final, NamedTuple

__all__ = ["CAPACITY_BYTES", "DelayLine", "Entry"]

# 640 MB/s over 100 ms
CAPACITY_BYTES: Final = 64 << 20
# what an entry costs beside its bytes, so that a flood of tiny ones is bounded too
_ENTRY_BYTES: Final = 256


class Entry(NamedTuple):
    """Something under way: bytes, or a mark (anything else) that travels in order with them.

    `lost_count` is how often it was lost: it is under way again, and may be lost again when it is due.
    """

    sent_s: float
    due_s: float
    content: object
    cost_bytes: int
    lost_count: int


class DelayLine:
    """A first-in first-out line whose entries come out when they are due."""

    __slots__ = ("_capacity_bytes", "_entries", "_last_due_s", "held_bytes")

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        """Hold up to `capacity_bytes`; one more entry may always exceed it, so that any size passes."""
        self._entries: deque[Entry] = deque()
        self._capacity_bytes = capacity_bytes
        self._last_due_s = float("-inf")
        self.held_bytes = 0

    def push(self, now_s: float, delay_s: float, content: object, size_bytes: int = 0, lost_count: int = 0) -> None:
        """Take `content` at `now_s`, due `delay_s` later, but never before what was taken earlier."""
        self._last_due_s = max(self._last_due_s, now_s + delay_s)
        cost_bytes = size_bytes + _ENTRY_BYTES
        self._entries.append(Entry(now_s, self._last_due_s, content, cost_bytes, lost_count))
        self.held_bytes += cost_bytes

    def put_back(self, entry: Entry, due_s: float) -> None:
        """Have what was popped last under way again, first of all: it was lost once more."""
        self._entries.appendleft(entry._replace(due_s=due_s, lost_count=entry.lost_count + 1))
        self.held_bytes += entry.cost_bytes

    def pop_due(self, now_s: float) -> Entry | None:
        """Return the next entry if it is due at `now_s`."""
        if not self._entries or self._entries[0].due_s > now_s:
            return None
        entry = self._entries.popleft()
        self.held_bytes -= entry.cost_bytes
        return entry

    def clear(self) -> None:
        """Drop everything under way."""
        self._entries.clear()
        self.held_bytes = 0

    @property
    def next_due_s(self) -> float | None:
        """When the next entry is due; None when nothing is under way."""
        return self._entries[0].due_s if self._entries else None

    @property
    def is_full(self) -> bool:
        """Whether the sender should wait."""
        return self.held_bytes >= self._capacity_bytes

    @property
    def has_room(self) -> bool:
        """Whether a waiting sender should go on: half the capacity, so that it does not flutter."""
        return self.held_bytes * 2 <= self._capacity_bytes

    def __bool__(self) -> bool:
        """Whether anything is under way."""
        return bool(self._entries)
