"""What the transmitter's own detectors saw waits for the receiver's report, in whatever order the two come."""

import asyncio

import numpy as np
import pytest

from node.qkd.errors import LinkTroubleError
from node.qkd.partners import Partners
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.client import PartnerClicks

TRAIN = 8


def stretch(first_block: int, counts: list[int], offsets: list[int], detectors: list[int]) -> PartnerClicks:
    return PartnerClicks(
        TRAIN,
        first_block,
        np.array(counts, dtype=np.uint32),
        np.array(offsets, dtype=np.int32),
        np.array(detectors, dtype=np.uint8),
        False,
    )


def pulses(*slots: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array([TRAIN * BLOCK_PULSES + slot for slot in slots], dtype=np.uint64)


RANDOM = np.array([1, 1, 1, 1], dtype=np.uint8)


async def test_coincidences_have_a_bit_and_other_clicks_none() -> None:
    partners = Partners()
    partners.take(stretch(TRAIN, [2, 1], [5, 9, 3], [1, 2, 3]))
    has_bit, bits = await partners.outcomes(TRAIN, TRAIN + 2, pulses(5, 7, 9, BLOCK_PULSES + 3), RANDOM)
    assert has_bit.tolist() == [True, False, True, True]
    assert bits.tolist() == [0, 0, 1, 1]


async def test_a_report_waits_for_what_the_channel_still_has_to_say() -> None:
    partners = Partners()
    partners.take(stretch(TRAIN, [1], [5], [2]))
    asked = asyncio.create_task(partners.outcomes(TRAIN, TRAIN + 2, pulses(5, BLOCK_PULSES - 2), RANDOM[:2]))
    await asyncio.sleep(0)
    assert not asked.done()
    # jitter carried the last pulse of the first block into the receiver's second
    partners.take(stretch(TRAIN + 1, [1], [-2], [2]))
    has_bit, bits = await asked
    assert (has_bit.tolist(), bits.tolist()) == ([True, True], [1, 1])


async def test_a_channel_that_does_not_say_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.qkd.partners._PATIENCE_S", 0.05)
    with pytest.raises(LinkTroubleError, match="quantum-channel-lost"):
        await Partners().outcomes(TRAIN, TRAIN + 1, pulses(5), RANDOM[:1])


async def test_no_click_at_all_is_no_bit_at_all() -> None:
    partners = Partners()
    partners.take(stretch(TRAIN, [0], [], []))
    has_bit, bits = await partners.outcomes(TRAIN, TRAIN + 1, pulses(5, 6), RANDOM[:2])
    assert (has_bit.tolist(), bits.tolist()) == ([False, False], [0, 0])
    assert (await partners.outcomes(TRAIN, TRAIN + 1, pulses(), RANDOM[:0]))[0].tolist() == []


async def test_a_train_that_is_over_is_forgotten_and_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.qkd.partners._PATIENCE_S", 0.05)
    partners = Partners()
    partners.take(stretch(TRAIN, [1], [5], [1]))
    partners.forget(TRAIN)
    partners.take(stretch(TRAIN + 1, [1], [5], [1]))
    with pytest.raises(LinkTroubleError):
        await partners.outcomes(TRAIN, TRAIN + 1, pulses(5), RANDOM[:1])


def test_clicks_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(BadInputError, match="add up"):
        Partners().take(stretch(TRAIN, [3], [5], [1]))
