"""A delay line: order, due times, capacity."""

from hypothesis import given
from hypothesis import strategies as st

from classical_channel.delay import DelayLine


def drained(line: DelayLine, now_s: float) -> list[object]:
    out = []
    while (entry := line.pop_due(now_s)) is not None:
        out.append(entry.content)
    return out


def test_content_comes_out_when_it_is_due_and_not_before() -> None:
    line = DelayLine()
    line.push(10.0, 0.5, b"a", 1)
    assert line.next_due_s == 10.5
    assert line.pop_due(10.4999) is None
    entry = line.pop_due(10.5)
    assert entry is not None
    assert (entry.content, entry.sent_s, entry.due_s) == (b"a", 10.0, 10.5)
    assert line.next_due_s is None


def test_a_shorter_delay_does_not_overtake() -> None:
    line = DelayLine()
    line.push(0.0, 1.0, b"slow", 4)
    line.push(0.1, 0.0, b"fast", 4)
    assert drained(line, 0.99) == []
    assert drained(line, 1.0) == [b"slow", b"fast"]


def test_it_is_full_at_its_capacity_and_has_room_again_at_half() -> None:
    line = DelayLine(capacity_bytes=10_000)
    line.push(0.0, 1.0, b"", 4_000)
    assert not line.is_full
    line.push(0.0, 2.0, b"", 6_000)
    assert line.is_full
    assert not line.has_room
    line.pop_due(1.0)
    assert not line.is_full
    assert not line.has_room
    line.pop_due(2.0)
    assert line.has_room
    assert line.held_bytes == 0


def test_a_flood_of_empty_entries_fills_it_too() -> None:
    line = DelayLine(capacity_bytes=2560)
    for _ in range(9):
        line.push(0.0, 1.0, b"")
    assert not line.is_full
    line.push(0.0, 1.0, b"")
    assert line.is_full


def test_cleared_means_empty() -> None:
    line = DelayLine()
    line.push(0.0, 1.0, b"x", 1)
    line.clear()
    assert not line
    assert line.held_bytes == 0
    assert line.pop_due(9.0) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 5), st.integers(0, 1000), st.floats(0, 3)),
        max_size=40,
    )
)
def test_whatever_the_delays_content_keeps_its_order_and_its_time(
    steps: list[tuple[float, float, int, float]],
) -> None:
    line, now_s = DelayLine(), 0.0
    pushed: list[float] = []
    popped: list[object] = []
    for number, (wait_s, delay_s, size_bytes, look_ahead_s) in enumerate(steps):
        now_s += wait_s
        line.push(now_s, delay_s, number, size_bytes)
        pushed.append(now_s + delay_s)
        while (entry := line.pop_due(now_s + look_ahead_s)) is not None:
            assert entry.due_s >= pushed[len(popped)]
            popped.append(entry.content)
    popped += drained(line, float("inf"))
    assert popped == list(range(len(steps)))
    assert line.held_bytes == 0


def test_what_was_lost_again_stays_first_and_counts() -> None:
    line = DelayLine()
    line.push(0.0, 1.0, b"first", 5, lost_count=1)
    line.push(0.0, 1.0, b"second", 6)
    held_bytes = line.held_bytes
    entry = line.pop_due(1.0)
    assert entry is not None
    line.put_back(entry, 3.0)
    assert (line.next_due_s, line.held_bytes, line.pop_due(2.0)) == (3.0, held_bytes, None)
    again = line.pop_due(3.0)
    assert again is not None
    assert (again.content, again.lost_count, again.sent_s) == (b"first", 2, 0.0)
    second = line.pop_due(3.0)
    assert second is not None
    assert (second.content, second.lost_count, line.held_bytes) == (b"second", 0, 0)
