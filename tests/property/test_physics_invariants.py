"""Whatever a link is made of: probabilities are some, states stay states, more loss is never better."""

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from node.entanglement import bell, distillation, heralding, memory, waiting
from node.planning.measurement_device_independent import MdiLink
from node.planning.twin_field import PhaseMatchingLink, repeaterless_bound
from node.qkd.asymptotic import DecoyLink
from node.qkd.two_decoy import two_decoy_key_estimate
from qnetem.runtime.intervals import wilson_interval
from quantum_channel import clock, dispersion, eve, freespace, isolated_bins, pairs, polarisation, raman

PROB = st.floats(0, 1)
MEAN = st.floats(1e-6, 3)
SMALL = st.floats(1e-12, 0.1)
TIME = st.floats(0, 1e6)
STATES = (
    st.lists(st.floats(0, 1), min_size=4, max_size=4)
    .filter(lambda w: sum(w) > 1e-3)
    .map(lambda w: [weight / sum(w) for weight in w])
)
ROUNDING = 1e-12
many = settings(deadline=None, derandomize=True, max_examples=200)


def is_prob(value: float) -> bool:
    return -ROUNDING <= value <= 1 + ROUNDING


def is_state(state: object) -> bool:
    weights = np.asarray(state)
    return bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-9


@given(STATES, STATES, STATES)
@many
def test_swaps_keep_states_and_their_order_is_free(a: list[float], b: list[float], c: list[float]) -> None:
    assert is_state(bell.swapped(a, b))
    assert np.allclose(bell.swapped(a, b), bell.swapped(b, a), atol=ROUNDING)
    left, right = bell.swapped(bell.swapped(a, b), c), bell.swapped(a, bell.swapped(b, c))
    assert np.allclose(left, right, atol=ROUNDING)
    assert float(bell.fidelity(bell.swapped(a, b))) <= max(a) + ROUNDING


@given(STATES, STATES)
@many
def test_purification_keeps_states(a: list[float], b: list[float]) -> None:
    assume((a[0] + a[3]) * (b[0] + b[3]) + (a[1] + a[2]) * (b[1] + b[2]) > 1e-6)
    result = distillation.dejmps(a, b)
    assert is_prob(result.success_prob)
    assert is_state(result.state)


@given(st.floats(0.5, 1))
@many
def test_purification_of_werner_pairs_never_hurts_above_a_half(fidelity: float) -> None:
    assert distillation.bbpssw(fidelity)[1] >= fidelity - ROUNDING
    assert float(distillation.dejmps(bell.werner(fidelity)).state[0]) >= fidelity - ROUNDING


@given(STATES, TIME, TIME, st.floats(1e-3, 1e6), st.floats(1e-3, 2))
@many
def test_memories_keep_states_and_only_lose_the_best_pair(
    state: list[float], first: float, second: float, t1: float, share: float
) -> None:
    kept = memory.stored(state, (first, second), t1, share * t1)
    assert is_state(kept)
    assert float(kept.max()) <= max(state) + ROUNDING
    perfect = [memory.stored([1, 0, 0, 0], (t, 0), t1, share * t1)[0] for t in sorted((first, second))]
    assert perfect[1] <= perfect[0] + ROUNDING
    rho = memory.damped(memory.density(state), (first, second), t1, share * t1)
    assert abs(float(np.trace(rho).real) - 1) < 1e-9
    assert float(np.linalg.eigvalsh(rho).min()) >= -1e-9


@given(st.floats(1e-3, 0.999), st.floats(1e-9, 1), PROB, st.floats(0, 0.5), st.floats(0, 3))
@many
def test_heralded_pairs_are_states(alpha: float, eta: float, visibility: float, dark: float, sigma: float) -> None:
    found = heralding.single_click(alpha, eta, visibility=visibility, dark_prob=dark, phase_sigma_rad=sigma)
    assert is_prob(found.success_prob)
    assert is_state(found.state)


@given(st.integers(1, 100), st.floats(1e-6, 1), st.integers(0, 10_000), PROB)
@many
def test_waits_grow_with_links_and_shrink_with_cutoffs_only_by_decay(
    links: int, prob: float, cutoff: int, decay: float
) -> None:
    wait = waiting.longest_wait(links, prob)
    # rounding of inclusion and exclusion: ten digits
    assert 1 / prob * (1 - 1e-9) <= wait <= links / prob * (1 + 1e-9)
    assert waiting.longest_wait(links + 1, prob) >= wait * (1 - 1e-9)
    strict, free = waiting.wait_with_cutoff(prob, cutoff, decay), waiting.wait_with_cutoff(prob, cutoff + 1, decay)
    assert strict.mean_attempts >= free.mean_attempts * (1 - 1e-9)
    assert waiting.pair_decay(prob, decay) - 1e-9 <= free.mean_decay <= strict.mean_decay + 1e-9 <= 1 + 2e-9


@given(st.floats(1e-9, 1), st.floats(1e-12, 0.1), st.floats(0, 0.5), MEAN, st.floats(0.01, 0.9))
@many
def test_decoy_links_are_probable_and_decoys_prove_what_is_true(
    eta: float, dark: float, misaligned: float, signal: float, share: float
) -> None:
    assume(dark + eta <= 1)
    link = DecoyLink(eta, dark, misaligned)
    assert 0 < link.gain_prob(signal) <= 1 + dark
    assert link.error_prob(signal) <= 0.5 + ROUNDING
    true, proven = link.single, link.vacuum_weak(signal, share * signal)
    # the bound is a difference of gains over the decoy's square: so much of it may be rounding
    rounding = 1e-14 / (share * signal) ** 2 / (1 - share)
    assert proven.yield_prob <= true.yield_prob * (1 + 1e-9) + rounding
    if proven.yield_prob > 100 * rounding:
        assert proven.error_prob >= min(true.error_prob, 0.5) * 0.97


@given(st.floats(1e-6, 1), st.floats(0, 0.4), MEAN)
@many
def test_stations_half_way_are_probable(eta: float, dark: float, mean: float) -> None:
    twin = PhaseMatchingLink(eta, dark)
    assert is_prob(twin.gain_prob(mean))
    assert is_prob(twin.error_prob(mean))
    assert is_prob(twin.phase_error_prob(mean))
    mdi = MdiLink((eta, eta / 2), dark, 0.01)
    gain, error = mdi.gain_and_error(mean)
    assert is_prob(gain)
    assert is_prob(error)
    assert is_prob(mdi.single.yield_prob)
    assert 0 <= mdi.single.error_prob <= 0.5


@given(st.floats(0, 0.999), st.floats(0, 0.999))
@many
def test_the_bound_falls_with_loss(a: float, b: float) -> None:
    assert (repeaterless_bound(a) <= repeaterless_bound(b)) == (a <= b)


@given(st.lists(st.integers(0, 10**8), min_size=6, max_size=6), st.lists(PROB, min_size=3, max_size=3), TIME)
@many
def test_any_counts_of_two_decoys_give_a_length_within_the_block(
    counts: list[int], shares: list[float], leaked: float
) -> None:
    found = two_decoy_key_estimate(
        key_counts=counts[:3],
        test_counts=counts[3:],
        test_error_counts=[int(n * share) for n, share in zip(counts[3:], shares, strict=True)],
        intensities=(0.45, 0.15, 0.001),
        intensity_probs=(0.6, 0.25, 0.15),
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=leaked,
    )
    total = sum(counts[:3])
    assert 0 <= found.secret_bits <= max(total - leaked, 0)
    assert (found.secret_bits == 0) == (found.reason != "")
    assert 0 <= found.vacuum_count + found.single_count <= total * (1 + ROUNDING)
    assert 0 <= found.phase_error_prob <= 0.5


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0.5, 0.999))
@many
def test_the_interval_of_a_share_holds_what_was_counted(hits: int, trials: int, confidence: float) -> None:
    assume(hits <= trials)
    low, high = wilson_interval(hits, trials, confidence)
    assert 0 <= low <= hits / trials <= high <= 1


@given(SMALL, PROB, PROB, SMALL, SMALL, st.floats(0, 0.5))
@many
def test_pairs_click_and_err_with_a_probability(
    brightness: float, eta_a: float, eta_b: float, dark_a: float, dark_b: float, misaligned: float
) -> None:
    found = pairs.pair_gain(brightness * 10, (eta_a, eta_b), (dark_a, dark_b), misaligned)
    assert is_prob(found.gain_prob)
    brightness, a, b = brightness * 10, eta_a * brightness * 10, eta_b * brightness * 10
    # as printed, which is the same but for rounding
    printed = 1 - (1 - dark_a) / (1 + a) ** 2 - (1 - dark_b) / (1 + b) ** 2
    printed += (1 - dark_a) * (1 - dark_b) / (1 + a + b - a * b / brightness) ** 2
    assert abs(found.gain_prob - printed) < ROUNDING
    assert found.error_prob <= 0.5 + ROUNDING
    # never better than misalignment; the printed error is of first order in the darks
    assert found.error_prob >= misaligned - max(dark_a, dark_b)


@given(st.floats(1, 1e3), st.floats(0.1, 1), st.floats(0, 1))
@many
def test_bins_keep_and_err_with_a_probability_and_more_jitter_is_worse(
    sigma: float, width_share: float, offset_share: float
) -> None:
    bins = (400.0, 400.0 * width_share, 200.0 * width_share * offset_share)
    here, more = isolated_bins.bin_outcome(sigma, *bins), isolated_bins.bin_outcome(2 * sigma, *bins)
    assert is_prob(here.kept_prob)
    assert is_prob(here.error_prob)
    assert more.error_prob >= here.error_prob - ROUNDING


@given(st.floats(0, 500), st.floats(0, 1), st.floats(0, 1))
@many
def test_raman_light_is_never_more_than_was_scattered(km: float, attenuation: float, launch: float) -> None:
    scattered = launch * km * 3e-9
    for power in (raman.forward_w, raman.backward_w):
        assert 0 <= power(launch, km, attenuation, 3e-9, 1.0) <= scattered * (1 + ROUNDING)


@given(st.floats(0.1, 40_000), st.floats(0.1, 40_000), st.floats(0, 1e-4), st.floats(0.05, math.pi / 2))
@many
def test_a_beam_arrives_with_a_probability_that_falls_with_distance(
    near: float, far: float, pointing: float, elevation: float
) -> None:
    found = [
        freespace.freespace_survival_prob(
            km, 1e-5, 0.5, pointing_sigma_rad=pointing, zenith_loss_db=0.5, elevation_rad=elevation
        )
        for km in sorted((near, far))
    ]
    assert all(is_prob(prob) for prob in found)
    assert found[1] <= found[0] * (1 + ROUNDING)


@given(st.floats(1, 1e4), st.floats(0, 1e4), st.floats(-30, 30))
@many
def test_a_pulse_only_widens_whatever_the_sign(fwhm: float, km: float, per_nm: float) -> None:
    width = dispersion.dispersed_fwhm_ps(fwhm, km, per_nm)
    assert width >= fwhm * (1 - ROUNDING)
    assert width == dispersion.dispersed_fwhm_ps(fwhm, km, -per_nm)


@given(st.lists(st.floats(-4, 4), min_size=6, max_size=6), st.floats(0, 4))
@many
def test_a_drift_is_a_rotation_and_its_errors_probabilities(normals: list[float], taus: float) -> None:
    rotation = polarisation.walked(polarisation.ALIGNED, taus, 1.0, np.array(normals).reshape(2, 3))
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=ROUNDING)
    assert all(is_prob(float(error)) for error in polarisation.basis_errors(rotation))


@given(MEAN, PROB, PROB, st.floats(0, 0.5))
@many
def test_what_eve_does_is_probable(mean: float, eta: float, fraction: float, honest: float) -> None:
    error = eve.intercept_resend_error_prob(fraction, honest)
    assert honest - ROUNDING <= error <= 0.5
    split = eve.photon_number_splitting_gain_prob(mean, eta, fraction)
    assert fraction - ROUNDING <= split <= 1 + ROUNDING
    # she gains less than the light that was sent would
    assert split <= 1 - (1 - fraction) * math.exp(-eta * mean) + ROUNDING
    assert is_prob(eve.beam_splitting_prob(mean, eta))
    assert eve.intercept_resend_chsh(fraction) <= eve.intercept_resend_chsh(0)


@given(st.floats(0.01, 1.9), st.floats(0, 100), st.floats(0, 100))
@many
def test_a_loop_is_never_better_than_the_walk_between_its_corrections(gain: float, noise: float, walk: float) -> None:
    assert clock.tracking_rms_ps(gain, noise, walk) >= walk * (1 - ROUNDING)
