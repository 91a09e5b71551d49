"""Devices: pulse indices, what a receiver makes of clicks, when trains start."""

import numpy as np
import pytest

from node.devices.pulses import pulse_indices, whole_array
from node.devices.receiver import Receiver
from node.devices.schedule import TrainSchedule
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices
from qnetem.v1 import parameters_pb2, process_pb2

SECRET = bytes(range(16))


def test_slots_are_counted_from_the_first_pulse_of_their_block() -> None:
    indices = pulse_indices(3, np.array([2, 0, 1], np.uint32), np.array([5, -1, BLOCK_PULSES], np.int32))
    assert indices.tolist() == [3 * BLOCK_PULSES + 5, 3 * BLOCK_PULSES - 1, 6 * BLOCK_PULSES]


@pytest.mark.parametrize(
    ("first_block", "counts", "offsets", "message"),
    [(0, [2], [1], "add up to 2, there are 1"), (0, [1], [-1], "before pulse 0")],
)
def test_counts_that_do_not_fit_are_refused(
    first_block: int, counts: list[int], offsets: list[int], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        pulse_indices(first_block, np.array(counts, np.uint32), np.array(offsets, np.int32))


def test_an_array_of_broken_length_is_refused() -> None:
    assert whole_array(b"\x01\x00\x00\x00", "<u4", "counts").tolist() == [1]
    with pytest.raises(BadInputError, match="counts: 5 bytes"):
        whole_array(b"\x01\x00\x00\x00\x00", "<u4", "counts")


def receiver() -> Receiver:
    planned = parameters_pb2.LinkParameters(receiver_p_z=0.8)
    return Receiver(process_pb2.NodeLinkConfig(device_secret=SECRET, planned=planned))


def test_a_receiver_gives_double_clicks_the_bit_that_it_chose() -> None:
    offsets = np.arange(1000, dtype=np.int32)
    detectors = np.resize(np.array([1, 2, 3], np.uint8), 1000)
    found = receiver().detect(7, np.array([1000], np.uint32), offsets, detectors, range(7, 8))
    bases, double_bits = receiver_choices(SECRET, 7 * BLOCK_PULSES + np.arange(1000, dtype=np.uint64), 0.8)
    assert found.bases.tolist() == bases.tolist()
    assert found.bits[detectors == 1].max() == 0
    assert found.bits[detectors == 2].min() == 1
    assert found.bits[detectors == 3].tolist() == double_bits[detectors == 3].tolist()
    assert set(double_bits[detectors == 3].tolist()) == {0, 1}
    assert found.double_click_count == int((detectors == 3).sum())


def test_a_passive_receiver_reads_its_basis_off_the_detector_and_keeps_what_clicks_in_both() -> None:
    planned = parameters_pb2.LinkParameters(receiver_p_z=0.8, is_passive=True)
    made = Receiver(process_pb2.NodeLinkConfig(device_secret=SECRET, planned=planned))
    # Z 0, Z 1, X 0, X 1, both of Z, both of X, across the bases
    detectors = np.resize(np.array([1, 2, 4, 8, 3, 12, 6], np.uint8), 700)
    found = made.detect(7, np.array([700], np.uint32), np.arange(700, dtype=np.int32), detectors, range(7, 8))
    bases, double_bits = receiver_choices(SECRET, 7 * BLOCK_PULSES + np.arange(700, dtype=np.uint64), 0.8)
    for mask, basis, bit in ((1, 0, 0), (2, 0, 1), (4, 1, 0), (8, 1, 1)):
        of_mask = detectors == mask
        assert (set(found.bases[of_mask].tolist()), set(found.bits[of_mask].tolist())) == ({basis}, {bit})
    for mask, basis in ((3, 0), (12, 1)):
        of_mask = detectors == mask
        assert set(found.bases[of_mask].tolist()) == {basis}
        assert found.bits[of_mask].tolist() == double_bits[of_mask].tolist()
    across = detectors == 6
    assert found.bases[across].tolist() == bases[across].tolist()
    # Z 1 and X 0 clicked: the basis that is taken says which counts
    assert found.bits[across].tolist() == (1 - bases[across]).tolist()
    assert (found.double_click_count, found.cross_click_count) == (200, 100)


def test_clicks_that_jitter_carried_out_of_the_train_belong_to_no_pulse() -> None:
    found = receiver().detect(
        7,
        np.array([2, 2], np.uint32),
        np.array([-1, 0, 4, BLOCK_PULSES], np.int32),
        np.array([1, 2, 1, 2], np.uint8),
        range(7, 9),
    )
    assert found.block_counts.tolist() == [1, 1]
    assert found.offsets.tolist() == [0, 4]
    assert found.bits.tolist() == [1, 0]


def test_trains_follow_each_other_without_a_gap() -> None:
    schedule = TrainSchedule(256, 1e9, 1.0)
    assert schedule.duration_ps == 256 * BLOCK_PULSES * 1000
    first = schedule.next_start_ps(0)
    assert [schedule.next_start_ps(first) for _ in range(2)] == [
        first + schedule.duration_ps,
        first + 2 * schedule.duration_ps,
    ]
    assert schedule.take_discarded_count() == 0


def test_a_link_that_cannot_keep_up_gives_up_whole_trains_and_counts_them() -> None:
    schedule = TrainSchedule(256, 1e9, 1.0)
    first = schedule.next_start_ps(0)
    late = schedule.next_start_ps(first + 60 * PS_PER_S)
    discarded = schedule.take_discarded_count()
    assert discarded > 0
    assert schedule.take_discarded_count() == 0
    assert (late - first) == (discarded + 1) * schedule.duration_ps
    assert 0 <= first + 60 * PS_PER_S - late < schedule.duration_ps


def test_a_pause_owes_nothing() -> None:
    schedule = TrainSchedule(256, 1e9, 1.0)
    schedule.next_start_ps(0)
    schedule.pause()
    assert schedule.next_start_ps(90 * PS_PER_S) >= 90 * PS_PER_S
    assert schedule.take_discarded_count() == 0
