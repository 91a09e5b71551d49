"""Both samplers: the same bytes, however a train is cut; what they promise about slots, words and logarithms."""

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from qnetem.runtime.rng import BLOCK_PULSES, transmitter_choices
from quantum_channel import sampler, sampler_compiled
from quantum_channel.conditions import Attack, conditions
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Carry, Keys, Sample

KEYS: Final = Keys.of(bytes(range(16)), bytes(range(1, 17)), bytes(range(2, 18)))
ARRAYS: Final = ("block_counts", "offsets", "detectors", "arrivals_ps", "partners")
PLAIN: Final = Parameters(
    length_km=25,
    attenuation_db_per_km=0.2,
    connector_count=2,
    connector_loss_db=0.3,
    extra_loss_db=0,
    receiver_loss_db=2,
    clock_hz=1e9,
    intensities=(0.4, 0.13),
    intensity_probs=(0.35, 0.65),
    transmitter_p_z=0.78,
    receiver_p_z=0.6,
    misalignment_prob=0.01,
    efficiency=0.2,
    dark_count_hz=1000,
    dead_time_ps=50_000,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)
LINKS: Final = {
    "plain": PLAIN,
    "skipping": replace(PLAIN, dead_time_ps=10_000_000),
    "far": replace(PLAIN, length_km=120),
    "dark": replace(PLAIN, efficiency=0, dark_count_hz=0),
    "darks": replace(PLAIN, efficiency=0, dark_count_hz=1e5),
    "no jitter": replace(PLAIN, detector_jitter_fwhm_ps=0),
    "wide jitter": replace(PLAIN, link_jitter_fwhm_ps=1800, dead_time_ps=0),
    "wide jitter, skipping": replace(PLAIN, link_jitter_fwhm_ps=1800, dead_time_ps=2_000_000),
    "afterpulses": replace(PLAIN, afterpulse_prob=0.3, afterpulse_tau_ps=2_000_000, dead_time_ps=100_000),
    "afterpulses, skipping": replace(PLAIN, afterpulse_prob=1, afterpulse_tau_ps=10_000, dead_time_ps=5_000_000),
    "afterpulses across blocks": replace(PLAIN, afterpulse_prob=0.01, afterpulse_tau_ps=10**9, dead_time_ps=10**8),
    "one intensity": replace(PLAIN, intensities=(0.5,), intensity_probs=(1.0,)),
    "four intensities": replace(PLAIN, intensities=(0.5, 0.3, 0.1, 0), intensity_probs=(0.1, 0.2, 0.3, 0.4)),
    "intensities that are never sent": replace(
        PLAIN, intensities=(0.9, 0.5, 0.3, 0.2, 0.1), intensity_probs=(0.0, 0.4, 0.0, 0.6, 0.0)
    ),
    "sixteen intensities": replace(
        PLAIN, intensities=tuple(0.8 - 0.05 * n for n in range(16)), intensity_probs=(1 / 16,) * 16
    ),
    "the weaker cannot click": replace(PLAIN, intensities=(0.4, 0.0), dark_count_hz=0),
    "odd clock": replace(PLAIN, clock_hz=1.25e9 / 3, dead_time_ps=62_500),
    "saturated": replace(PLAIN, intensities=(100.0, 50.0), efficiency=1, dead_time_ps=1_000_000),
    "passive": replace(PLAIN, is_passive=True, afterpulse_prob=0.2, afterpulse_tau_ps=100_000, link_jitter_fwhm_ps=900),
    "fluctuating": replace(PLAIN, intensity_sigma_ratio=0.2),
    "time bins": replace(PLAIN, bin_separation_ps=300, bin_width_ps=200, detector_jitter_fwhm_ps=200),
}
PAIRS: Final = replace(
    PLAIN, length_km=5, pair_brightness=0.2, transmitter_efficiency=0.3, transmitter_dark_count_hz=1e5, dead_time_ps=0
)
ATTACKS: Final = {
    "intercepted": (PLAIN, Attack(intercept_prob=0.5)),
    "split": (PLAIN, Attack(splitting_prob=0.5)),
    "blinded": (replace(PLAIN, afterpulse_prob=0.5, afterpulse_tau_ps=50_000), Attack(blinding_prob=0.5)),
    "shifted": (replace(PLAIN, efficiency_mismatch_ratio=0.4), Attack(time_shift_ps=300)),
    "pairs": (PAIRS, Attack()),
    "pairs, skipping": (replace(PAIRS, dead_time_ps=2_000_000, link_jitter_fwhm_ps=900), Attack()),
    "all at once": (
        replace(
            PAIRS,
            is_passive=True,
            link_jitter_fwhm_ps=700,
            afterpulse_prob=0.3,
            afterpulse_tau_ps=2_000_000,
            efficiency_mismatch_ratio=0.3,
            dead_time_ps=5_000,
        ),
        Attack(0.3, 0.3, 0.3, 0.3, 200.0),
    ),
}
RESPONSES: Final = {name: respond(link) for name, link in LINKS.items()} | {
    name: respond(link, replace(conditions(link), attack=attack, transmitter_prob=0.3, transmitter_dark_prob=1e-4))
    for name, (link, attack) in ATTACKS.items()
}


def same(a: Sample, b: Sample) -> None:
    for name in ARRAYS:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes(), name


def same_carry(a: Carry, b: Carry) -> None:
    assert a.blanked_to == b.blanked_to
    for name in ("due_slots", "due_detectors", "due_arrivals_ps"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("first_block", [0, 4095, (1 << 44) - 2])
def test_compiled_and_array_sampler_give_the_same_bytes(name: str, first_block: int) -> None:
    response = RESPONSES[name]
    one, left = sampler.sample(response, KEYS, first_block, 2, COLD)
    other, right = sampler_compiled.sample(response, KEYS, first_block, 2, COLD)
    same(one, other)
    same_carry(left, right)
    assert {len(getattr(one, array)) for array in ARRAYS[1:]} == {one.block_counts.sum()}
    if name != "dark":
        assert len(one.offsets) > 0


@pytest.mark.parametrize("name", RESPONSES)
def test_a_train_cut_in_any_way_gives_the_same_bytes(name: str) -> None:
    response = RESPONSES[name]
    whole, end = sampler_compiled.sample(response, KEYS, 100, 9, COLD)
    for cuts in ((1,) * 9, (4, 5), (8, 1)):
        carry, parts, block = COLD, [], 100
        for count in cuts:
            part, carry = sampler_compiled.sample(response, KEYS, block, count, carry)
            parts.append(part)
            block += count
        same(whole, Sample(*(np.concatenate([getattr(p, a) for p in parts]) for a in ARRAYS)))
        same_carry(end, carry)


@pytest.mark.parametrize("name", [name for name in LINKS if name != "dark"])
def test_clicks_ascend_with_the_dead_time_between_them_over_block_borders(name: str) -> None:
    link, blocks = LINKS[name], 8
    got, _ = sampler_compiled.sample(respond(link), KEYS, 3, blocks, COLD)
    slots = np.repeat(np.arange(blocks) * BLOCK_PULSES, got.block_counts) + got.offsets
    assert slots[0] >= 0
    if len(slots) > 1:
        assert np.diff(slots).min() > math.floor(link.dead_time_ps * link.clock_hz / 1e12 + 1e-6)
    assert np.abs(got.arrivals_ps).max() <= math.ceil(link.period_ps / 2)
    assert set(np.unique(got.detectors)) <= set(range(1, 16 if link.is_passive else 4))
    assert not got.partners.any()


def test_saturation_leaves_one_click_per_dead_time() -> None:
    got, _ = sampler_compiled.sample(respond(LINKS["saturated"]), KEYS, 0, 2, COLD)
    assert len(got.offsets) == pytest.approx(2 * BLOCK_PULSES / 1001, abs=1)


def test_a_carry_is_what_joins_blocks() -> None:
    response = respond(LINKS["afterpulses across blocks"])
    _, carry = sampler.sample(response, KEYS, 0, 1, COLD)
    warm, _ = sampler.sample(response, KEYS, 1, 1, carry)
    cold, _ = sampler.sample(response, KEYS, 1, 1, COLD)
    assert carry.blanked_to > 0
    assert warm.offsets[0] > carry.blanked_to
    assert warm.offsets.tolist() != cold.offsets.tolist()


def test_blocks_links_and_secrets_have_draws_of_their_own() -> None:
    response = respond(PLAIN)
    first, _ = sampler_compiled.sample(response, KEYS, 0, 1, COLD)
    second, _ = sampler_compiled.sample(response, KEYS, 1, 1, COLD)
    assert first.offsets.tolist() != second.offsets.tolist()
    for position in range(3):
        secrets = [bytes(range(n, n + 16)) for n in range(3)]
        secrets[position] = bytes(16)
        other, _ = sampler_compiled.sample(response, Keys.of(*secrets), 0, 1, COLD)
        assert (other.offsets.tolist(), other.detectors.tolist()) != (first.offsets.tolist(), first.detectors.tolist())


def test_logarithm_is_that_of_the_uniform_to_ten_digits() -> None:
    edges = [0, 1, 2**31, 3037000499, 3037000500, 2**32 - 2, 2**32 - 1]
    words = np.concatenate((edges, np.random.default_rng(5).integers(0, 2**32, 10**5))).astype(np.uint32)
    exact = np.array([math.log((int(w) + 0.5) / 2**32) for w in words])
    assert np.abs(sampler.log_uniform(words) / exact - 1).max() < 1e-10


def test_keys_do_not_show_secrets() -> None:
    assert repr(KEYS) == "Keys(...)"
    assert str(KEYS) == "Keys(...)"


def test_the_sampler_asks_the_choices_that_the_ends_make() -> None:
    # all in Z and without misalignment the clicking detector tells the bit that was sent
    link = replace(PLAIN, transmitter_p_z=1, receiver_p_z=1, misalignment_prob=0, dark_count_hz=0)
    got, _ = sampler_compiled.sample(respond(link), KEYS, 0, 1, COLD)
    _, _, bits = transmitter_choices(bytes(range(1, 17)), got.offsets.astype(np.uint64), 1, link.intensity_probs)
    assert (got.detectors == 1 + bits).all()
    assert 0.45 < bits.mean() < 0.55


def test_a_wide_table_holds_all_that_can_happen() -> None:
    response = RESPONSES["all at once"]
    got, _ = sampler_compiled.sample(response, KEYS, 0, 4, COLD)
    assert len(response.ways.detectors) > 200
    assert set(np.unique(got.detectors)) >= {1, 2, 4, 5, 6, 8, 9, 10}
    assert set(np.unique(got.partners)) == {0, 1, 2, 3}


def test_what_is_forced_on_blinded_detectors_leaves_nothing_behind() -> None:
    link = replace(PLAIN, afterpulse_prob=1, afterpulse_tau_ps=50_000)
    for share, has_darks in ((0.0, True), (1.0, False)):
        response = respond(link, replace(conditions(link), attack=Attack(blinding_prob=share)))
        got, carry = sampler_compiled.sample(response, KEYS, 0, 2, COLD)
        # afterpulses come at any moment, forced clicks where jitter leaves them
        assert (np.abs(got.arrivals_ps) > 200).any() == has_darks
        assert len(got.offsets) > 1000
        assert has_darks or not len(carry.due_slots)


def test_darks_fall_where_a_gate_is_open() -> None:
    link = replace(PLAIN, efficiency=0, dark_count_hz=1e7, gate_width_ps=200, dead_time_ps=0)
    got, _ = sampler_compiled.sample(respond(link), KEYS, 0, 8, COLD)
    assert len(got.offsets) > 1000
    assert -100 <= got.arrivals_ps.min() < -95
    assert 95 < got.arrivals_ps.max() < 100
