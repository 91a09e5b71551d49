"""Dispersion, drift, Raman light, air, pairs, clocks, bins and Eve, against expectations of other origin."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from quantum_channel import (
    clock,
    dispersion,
    eve,
    freespace,
    isolated_bins,
    loss_drift,
    pairs,
    polarisation,
    raman,
)
from quantum_channel.alias import word_counts
from quantum_channel.parameters import BadLinkError


def test_dispersion_and_warmth_are_of_the_size_that_is_known() -> None:
    assert dispersion.beta2_ps2_per_km(17) == pytest.approx(-21.68, abs=0.005)
    assert dispersion.dispersed_fwhm_ps(100, 0, 17) == 100
    # far away a pulse grows as the length, by its spectrum: 4 ln2 |beta2|/FWHM per km
    far = dispersion.dispersed_fwhm_ps(1, 1000, 17)
    assert far == pytest.approx(4 * math.log(2) * 21.68 * 1000, rel=3e-4)
    assert dispersion.linewidth_sigma_ps(50, -17, 0.05) == pytest.approx(42.5, rel=1e-12)
    assert dispersion.thermal_delay_ps(50, 10) == pytest.approx(16_500, rel=1e-12)
    assert dispersion.thermal_delay_ps(50, -10) == pytest.approx(-16_500, rel=1e-12)


def test_loss_follows_the_day_and_its_steps() -> None:
    assert loss_drift.day_loss_db(0, 0.5) == 0
    assert loss_drift.day_loss_db(loss_drift.DAY_S / 4, 0.5) == pytest.approx(0.5, rel=1e-12)
    assert loss_drift.day_loss_db(loss_drift.DAY_S * 3 / 4, 0.5) == pytest.approx(-0.5, rel=1e-12)
    assert loss_drift.day_loss_db(0, 0.5, phase_rad=math.pi / 6) == pytest.approx(0.25, rel=1e-12)
    steps = ((10.0, 1.5), (20.0, -0.5))
    found = [loss_drift.step_loss_db(t, steps) for t in (9.9, 10.0, 20.0)]
    assert found == [0, 1.5, 1.0]


@pytest.mark.parametrize("step_count", [1, 7])
def test_wandering_loss_keeps_its_spread_and_forgets_however_time_is_cut(step_count: int) -> None:
    rng = np.random.default_rng(19_300_101)
    count, tau_s, sigma_db = 20_000, 100.0, 0.2
    begin = rng.normal(0, sigma_db, count)
    now = begin.copy()
    for _ in range(step_count):
        normals = rng.normal(size=count)
        step = zip(now.tolist(), normals.tolist(), strict=True)
        now = np.array([loss_drift.wandering_loss_db(x, 70.0 / step_count, tau_s, sigma_db, n) for x, n in step])
    assert now.std() == pytest.approx(sigma_db, abs=5 * sigma_db / (2 * count) ** 0.5)
    correlation = float((begin * now).mean()) / sigma_db**2
    assert correlation == pytest.approx(math.exp(-0.7), abs=5 * (1 + math.exp(-1.4)) ** 0.5 / count**0.5)


@pytest.mark.parametrize(("taus", "step_count"), [(0.02, 1), (0.5, 1), (2.0, 1), (0.5, 4), (6.0, 3)])
def test_the_mean_rotation_forgets_as_said_however_time_is_cut(taus: float, step_count: int) -> None:
    count = 100_000
    normals = np.random.default_rng(20_070_602).normal(size=(step_count, count, 3))
    rotations = polarisation.walked(polarisation.ALIGNED, taus, 1.0, normals)
    # entries lie within -1 .. 1
    assert np.abs(rotations.mean(axis=0) - math.exp(-taus) * np.eye(3)).max() < 5 / count**0.5
    assert np.abs(rotations @ np.swapaxes(rotations, 1, 2) - np.eye(3)).max() < 1e-12
    assert np.linalg.det(rotations[:100]) == pytest.approx(1, abs=1e-12)


def test_a_rotation_is_that_of_its_axis_and_angle() -> None:
    quarter = polarisation.turned(np.array([0.0, 0.0, math.pi / 2]))
    assert np.abs(quarter - [[0, -1, 0], [1, 0, 0], [0, 0, 1]]).max() < 1e-15
    error_z, error_x = polarisation.basis_errors(quarter)
    assert (float(error_z), float(error_x)) == (0, pytest.approx(0.5, abs=1e-15))
    tiny = polarisation.turned(np.array([0.0, 1e-9, 0.0]))
    assert tiny[0, 2] == pytest.approx(1e-9, rel=1e-12)


def test_no_time_is_no_drift() -> None:
    still = polarisation.walked(polarisation.ALIGNED, 0.0, 1.0, np.ones((1, 3)))
    assert np.array_equal(still, polarisation.ALIGNED)


def test_a_drift_of_many_time_constants_takes_as_many_steps() -> None:
    with pytest.raises(BadLinkError, match="too few"):
        polarisation.walked(polarisation.ALIGNED, 6.0, 1.0, np.zeros((2, 3)))


def test_raman_light_is_that_of_slices_of_the_fibre() -> None:
    launch_w, length_km, attenuation, beta, filter_nm = 1e-3, 40.0, 0.2, 3e-9, 0.6
    places = (np.arange(40_000) + 0.5) * 1e-3
    slices = launch_w * 10 ** (-attenuation * places / 10) * beta * filter_nm * 1e-3
    forward = (slices * 10 ** (-attenuation * (length_km - places) / 10)).sum()
    backward = (slices * 10 ** (-attenuation * places / 10)).sum()
    given = (launch_w, length_km, attenuation, beta, filter_nm)
    assert raman.forward_w(*given) == pytest.approx(forward, rel=1e-6)
    assert raman.backward_w(*given) == pytest.approx(backward, rel=1e-6)
    lossless = (launch_w, length_km, 0.0, beta, filter_nm)
    assert raman.backward_w(*lossless) == raman.forward_w(*lossless)
    # a watt at 1550 nm is 7.8e18 photons a second
    assert raman.detected_per_gate(1.0, 1e-18, 0.5) == pytest.approx(3.9, abs=0.005)


def test_a_beam_is_clipped_missed_and_absorbed() -> None:
    all_of_it = freespace.freespace_survival_prob(1, 1e-6, 10)
    assert all_of_it == pytest.approx(1, rel=1e-12)
    assert freespace.beam_radius_m(500, 10e-6) == pytest.approx(5, rel=1e-12)
    low = freespace.freespace_survival_prob(1, 1e-6, 10, zenith_loss_db=1, elevation_rad=math.pi / 6)
    assert low == pytest.approx(10**-0.2, rel=1e-12)
    # a beam whose centre wanders by sigma = w/2 on each axis is half as bright on a small aperture
    still, wandering = (freespace.freespace_survival_prob(500, 1e-5, 0.01, pointing_sigma_rad=s) for s in (0, 5e-6))
    assert wandering == pytest.approx(still / 2, rel=1e-12)


def test_pairs_are_counted_in_both_polarisations_alike_and_bunch() -> None:
    brightness, pulses = 0.3, 1_000_000
    # two thermal modes
    counts = np.random.default_rng(20_070_702).geometric(1 / (1 + brightness), (2, pulses)) - 1
    total = counts.sum(axis=0)
    seen = np.bincount(total, minlength=4)
    for n in range(4):
        expected = pairs.pair_number_prob(brightness, n) * pulses
        assert seen[n] == pytest.approx(expected, abs=5 * expected**0.5)
    # m of n = 2 is uniform on 0, 1, 2, not binomial
    of_two = np.bincount(counts[0][total == 2], minlength=3)
    assert of_two == pytest.approx(seen[2] / 3, abs=5 * (seen[2] * 2 / 9) ** 0.5)
    assert sum(pairs.pair_number_prob(brightness, n) for n in range(200)) == pytest.approx(1, rel=1e-12)
    assert (pairs.pair_number_prob(0, 0), pairs.pair_number_prob(0, 2)) == (1, 0)


def test_gain_and_error_of_pairs_are_those_of_a_dense_link() -> None:
    # photon by photon, without darks and misalignment; both ends give a double click a random bit
    brightness, efficiencies, pulses = 0.4, (0.3, 0.5), 4_000_000
    rng = np.random.default_rng(20_070_703)
    modes = rng.geometric(1 / (1 + brightness), (2, pulses)) - 1
    bits, has_clicked = [], []
    for eta in efficiencies:
        clicks = rng.binomial(modes, eta) > 0
        has_clicked.append(clicks.any(axis=0))
        bits.append(np.where(clicks.all(axis=0), rng.integers(0, 2, pulses), clicks[1]))
    both = has_clicked[0] & has_clicked[1]
    found = pairs.pair_gain(brightness, efficiencies, (0.0, 0.0), 0.0)
    count = int(both.sum())
    assert count == pytest.approx(found.gain_prob * pulses, abs=5 * count**0.5)
    wrong = int((bits[0] != bits[1])[both].sum())
    assert wrong == pytest.approx(found.error_prob * count, abs=5 * wrong**0.5)


def test_darks_alone_are_random_and_accidentals_dilute() -> None:
    darks = pairs.pair_gain(0.0, (0.1, 0.1), (1e-3, 2e-3), 0.01)
    assert darks.gain_prob == pytest.approx(2e-6, rel=1e-9)
    assert darks.error_prob == 0.5
    found = pairs.coincidences(1e6, (0.1, 0.2), (1e3, 2e3), 1e-9, 0.01)
    assert found.true_hz == pytest.approx(2e4, rel=1e-12)
    assert found.accidental_hz == pytest.approx(101e3 * 202e3 * 1e-9, rel=1e-12)
    assert found.error_prob == pytest.approx((200 + 20.402 / 2) / 20_020.402, rel=1e-9)


def test_a_clock_runs_away_and_ages() -> None:
    assert clock.time_error_ps(100, 5, 1e-9, 1e-12) == pytest.approx(5 + 1e5 + 5e3, rel=1e-12)
    assert clock.white_fm_sigma_ps(4, 1e-12) == pytest.approx(2, rel=1e-12)
    assert clock.click_sync_sigma_ps(50, 10_000) == pytest.approx(0.5, rel=1e-12)


def test_a_first_order_loop_follows_noise_and_lags_skew_as_said() -> None:
    gain, measurement_ps, walk_ps, clocks = 0.2, 30.0, 4.0, 20_000
    rng = np.random.default_rng(19_950_101)
    error_ps = np.zeros(clocks)
    for _ in range(60):
        error_ps = error_ps - gain * (error_ps + rng.normal(0, measurement_ps, clocks))
        error_ps += rng.normal(0, walk_ps, clocks)
    rms = float(np.sqrt((error_ps**2).mean()))
    assert rms == pytest.approx(clock.tracking_rms_ps(gain, measurement_ps, walk_ps), rel=5 / (2 * clocks) ** 0.5)
    lag_ps = 0.0
    for _ in range(400):
        lag_ps = lag_ps - gain * lag_ps + 1e-9 * 1e-3 * 1e12
    assert lag_ps == pytest.approx(clock.tracking_lag_ps(gain, 1e-9, 1e-3), rel=1e-9)


@pytest.mark.parametrize(
    ("sigma_share", "offset_share", "listed", "half_digit"),
    [
        (0.10, 0, 2.9e-7, 0.05e-7),
        (0.15, 0, 4.3e-4, 0.05e-4),
        (0.20, 0, 6.2e-3, 0.05e-3),
        (0.25, 0, 2.3e-2, 0.05e-2),
        (0.30, 0, 5.0e-2, 0.05e-2),
        (0.15, 0.2, 1.15e-2, 0.005e-2),
    ],
)
def test_isolated_bins_err_as_the_table_says(
    sigma_share: float, offset_share: float, listed: float, half_digit: float
) -> None:
    period_ps = 400.0
    found = isolated_bins.bin_outcome(sigma_share * period_ps, period_ps, period_ps, offset_share * period_ps)
    assert found.error_prob == pytest.approx(listed, abs=half_digit * 1.01)


def test_without_jitter_a_click_is_where_it_was_sent_unless_the_clock_is_a_bin_off() -> None:
    assert isolated_bins.bin_outcome(0, 400, 300) == isolated_bins.BinOutcome(1, 0)
    # the early bit is then read as the late one, the late one not at all
    assert isolated_bins.bin_outcome(0, 400, 300, 400) == isolated_bins.BinOutcome(0.5, 1)
    assert isolated_bins.bin_shares(0, 400, 300, 400).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("offset_ps", [0.0, 60.0])
def test_kept_clicks_arrive_in_their_bin_as_light_of_both_bins_does(offset_ps: float) -> None:
    table = isolated_bins.bin_landing(120.0, 400.0, 300.0, offset_ps)
    probs = word_counts(table.cells)[: len(table.shifts)] / 2**32
    assert not table.shifts.any()
    assert np.abs(table.arrivals_ps).max() == 150
    rng = np.random.default_rng(20_180_602)
    bits = rng.integers(0, 2, 400_000)
    arrivals = rng.normal(offset_ps, 120.0, len(bits))
    # into its own bin, or the other one, which is behind that of bit 0
    read = np.concatenate([arrivals, arrivals - np.where(bits == 0, 400.0, -400.0)])
    kept = read[np.abs(read) < 150]
    shares = isolated_bins.bin_shares(120.0, 400.0, 300.0, offset_ps)
    assert len(kept) == pytest.approx(len(bits) * shares.sum() / 2, abs=5 * len(bits) ** 0.5 / 2)
    for low_ps in range(-150, 150, 50):
        inside = (table.arrivals_ps >= low_ps) & (table.arrivals_ps < low_ps + 50)
        count = int(((kept >= low_ps - 0.5) & (kept < low_ps + 49.5)).sum())
        # half of a picosecond at the edge
        assert count == pytest.approx(float(probs[inside].sum()) * len(kept), abs=5 * count**0.5 + 0.01 * count)


def test_eve_shows_where_she_must() -> None:
    assert eve.intercept_resend_error_prob(1) == 0.25
    assert eve.intercept_resend_error_prob(0, 0.02) == 0.02
    assert eve.intercept_resend_chsh(0) == pytest.approx(2.828427, abs=1e-6)
    # the share at which a Bell violation is gone
    assert eve.intercept_resend_chsh(2 - math.sqrt(2)) == pytest.approx(2, rel=1e-12)
    assert eve.honest_match_prob(0.78, 0.78) == pytest.approx(0.6568, rel=1e-12)
    honest = [1 - math.exp(-0.045 * k) for k in (0.05, 0.48)]
    assert honest[0] / honest[1] == pytest.approx(0.105, abs=0.001)
    split = [eve.photon_number_splitting_gain_prob(k, 0.045) for k in (0.05, 0.48)]
    assert split[0] / split[1] == pytest.approx(0.0125, abs=0.0001)


def test_splitting_photon_numbers_gains_what_its_photons_make() -> None:
    mean, eta, dark, pulses = 0.9, 0.3, 0.01, 2_000_000
    rng = np.random.default_rng(20_000_101)
    sent = rng.poisson(mean, pulses)
    clicks = (rng.binomial(np.maximum(sent - 1, 0), eta) > 0) | (rng.random(pulses) < dark)
    expected = eve.photon_number_splitting_gain_prob(mean, eta, dark) * pulses
    assert int(clicks.sum()) == pytest.approx(expected, abs=5 * expected**0.5)
    # a faint pulse is as a square, to all digits
    assert eve.photon_number_splitting_gain_prob(1e-9, 0.5) == pytest.approx(0.25e-18, rel=1e-8)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_nature_refuses_what_cannot_be(bad: float) -> None:
    walk: list[Callable[[], object]] = [
        lambda: dispersion.beta2_ps2_per_km(17, bad),
        lambda: dispersion.dispersed_fwhm_ps(bad, 1, 17),
        lambda: dispersion.dispersed_fwhm_ps(1, bad, 17),
        lambda: dispersion.linewidth_sigma_ps(bad, 17, 0.1),
        lambda: dispersion.thermal_delay_ps(bad, 1),
        lambda: loss_drift.day_loss_db(1, bad),
        lambda: loss_drift.wandering_loss_db(0, bad, 1, 1, 0),
        lambda: loss_drift.wandering_loss_db(0, 1, bad, 1, 0),
        lambda: polarisation.error_prob_mean(bad, 1),
        lambda: polarisation.walked(polarisation.ALIGNED, 1, bad, np.zeros((1, 3))),
        lambda: raman.forward_w(bad, 1, 0.2, 3e-9, 1),
        lambda: raman.backward_w(1, bad, 0.2, 3e-9, 1),
        lambda: raman.detected_per_gate(1, 1, bad),
        lambda: freespace.freespace_survival_prob(bad, 1e-5, 1),
        lambda: freespace.freespace_survival_prob(1, 1e-5, bad),
        lambda: freespace.freespace_survival_prob(1, 1e-5, 1, elevation_rad=bad),
        lambda: pairs.pair_number_prob(bad, 1),
        lambda: pairs.pair_gain(0.1, (bad, 0.1), (0, 0), 0),
        lambda: pairs.pair_gain(0.0, (0.1, 0.1), (0, 0), 0),
        lambda: pairs.coincidences(bad, (0.1, 0.1), (0, 0), 1e-9, 0),
        lambda: clock.time_error_ps(bad, 0, 0),
        lambda: clock.white_fm_sigma_ps(1, bad),
        lambda: clock.random_walk_fm_sigma_ps(bad, 1),
        lambda: clock.random_walk_fm_path_ps(bad, 1, np.zeros((2, 1))),
        lambda: clock.random_walk_fm_path_ps(1, 1, np.zeros((3, 1))),
        lambda: clock.tracking_rms_ps(bad, 1, 1),
        lambda: clock.tracking_rms_ps(2.0, 1, 1),
        lambda: clock.tracking_lag_ps(bad, 1, 1),
        lambda: clock.two_way_bias_ps(bad, 1),
        lambda: clock.click_sync_sigma_ps(1, 0),
        lambda: isolated_bins.bin_outcome(bad, 400, 300),
        lambda: isolated_bins.bin_outcome(1, 400, bad),
        lambda: isolated_bins.bin_outcome(1, 300, 400),
        lambda: isolated_bins.bin_landing(bad, 400, 300),
        lambda: eve.blinded_detection_prob(bad, 0.5),
        lambda: eve.shifted_probs((0.1, bad), 0.5),
        lambda: eve.shifted_probs((0.1, 0.1), bad),
        lambda: eve.intercept_resend_error_prob(bad),
        lambda: eve.intercept_resend_chsh(1, bad),
        lambda: eve.photon_number_splitting_gain_prob(bad, 0.1),
        lambda: eve.beam_splitting_prob(1, bad),
        lambda: eve.honest_match_prob(bad, 0.5),
    ]
    for wrong in walk:
        with pytest.raises(BadLinkError):
            wrong()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nature_refuses_what_is_not_finite_where_a_sign_is_free(bad: float) -> None:
    walk: list[Callable[[], object]] = [
        lambda: dispersion.beta2_ps2_per_km(bad),
        lambda: dispersion.linewidth_sigma_ps(1, bad, 0.1),
        lambda: dispersion.thermal_delay_ps(1, bad),
        lambda: loss_drift.day_loss_db(bad, 1),
        lambda: loss_drift.wandering_loss_db(bad, 1, 1, 1, 0),
        lambda: loss_drift.step_loss_db(1, ((0.0, bad),)),
        lambda: loss_drift.step_loss_db(1, ((2.0, 1.0), (1.0, 1.0))),
        lambda: clock.time_error_ps(1, bad, 0),
        lambda: isolated_bins.bin_outcome(1, 400, 300, bad),
    ]
    for wrong in walk:
        with pytest.raises(BadLinkError):
            wrong()
