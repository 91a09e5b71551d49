"""Emulated time never goes back, however the last run ended."""

from hypothesis import given
from hypothesis import strategies as st

from qnetem.testbed.timekeeping import ClockRecord, epoch_of

S_NS = 10**9
S_PS = 10**12


def emulated_ps(epoch_ns: int, now_ns: int, scale: float) -> float:
    return (now_ns - epoch_ns) * 1000 * scale


def test_time_starts_at_the_first_run() -> None:
    assert epoch_of(None, "boot", 77 * S_NS, 1.0) == 77 * S_NS


def test_time_stands_still_between_runs_that_ended_well() -> None:
    record = ClockRecord("boot", 0, 1.0, 10 * S_PS, is_final=True)
    epoch_ns = epoch_of(record, "boot", 500 * S_NS, 1.0)
    assert 10 * S_PS <= emulated_ps(epoch_ns, 500 * S_NS, 1.0) <= 10 * S_PS + S_PS // 100


def test_time_went_on_in_a_run_that_was_killed() -> None:
    record = ClockRecord("boot", 100 * S_NS, 2.0, 10 * S_PS, is_final=False)
    epoch_ns = epoch_of(record, "boot", 500 * S_NS, 2.0)
    # 400 s of the host at twice the pace
    assert 800 * S_PS <= emulated_ps(epoch_ns, 500 * S_NS, 2.0) <= 800 * S_PS + S_PS // 100


def test_after_a_reboot_the_record_counts_and_not_the_new_clock() -> None:
    record = ClockRecord("boot", 100 * S_NS, 1.0, 70 * S_PS, is_final=False)
    epoch_ns = epoch_of(record, "another boot", 3 * S_NS, 1.0)
    assert 70 * S_PS <= emulated_ps(epoch_ns, 3 * S_NS, 1.0) <= 70 * S_PS + S_PS // 100


@given(
    st.integers(0, 10**8 * S_PS),
    st.integers(0, 10**6 * S_NS),
    st.floats(0.001, 1000),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6 * S_NS),
)
def test_time_never_goes_back(
    reached_ps: int, now_ns: int, scale: float, is_final: bool, is_same_boot: bool, ran_ns: int
) -> None:
    record = ClockRecord("boot", now_ns - ran_ns, 3.0, reached_ps, is_final)
    boot_id = "boot" if is_same_boot else "other"
    epoch_ns = epoch_of(record, boot_id, now_ns, scale)
    last_ps = ran_ns * 1000 * 3 if is_same_boot and not is_final else reached_ps
    assert int((now_ns - epoch_ns) * 1000 * scale) >= last_ps
