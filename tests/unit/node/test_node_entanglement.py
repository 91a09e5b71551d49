"""Swaps, purification and memories against density matrices; heralds and waits against counts and limits."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from node.entanglement import bell, distillation, heralding, memory, waiting
from node.ranges import refuse_unless_prob
from qnetem.runtime.errors import BadInputError

I2: Final = np.eye(2)
X: Final = np.array([[0, 1], [1, 0]])
Z: Final = np.diag([1, -1])
BELL: Final = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / math.sqrt(2)
STATE: Final = (0.7, 0.1, 0.15, 0.05)
OTHER: Final = (0.6, 0.05, 0.05, 0.3)


def weights(rho: Any) -> list[float]:
    return [float((vector @ rho @ vector).real) for vector in BELL]


def test_a_swap_is_that_of_density_matrices_whatever_is_measured() -> None:
    pairs = np.kron(memory.density(STATE), memory.density(OTHER)).reshape((2,) * 8)
    expected = bell.swapped(STATE, OTHER).tolist()
    # qubits a b c d; the middle ones are measured, and the last corrected by what was found
    for vector, correction in zip(BELL, (I2, Z, X, Z @ X), strict=True):
        middle = vector.reshape(2, 2)
        rho = np.einsum("abcdefgh,bc,fg->adeh", pairs, middle, middle).reshape(4, 4)
        rho = np.kron(I2, correction) @ rho @ np.kron(I2, correction).T
        assert float(np.trace(rho).real) == pytest.approx(0.25, rel=1e-12)
        assert weights(rho / np.trace(rho)) == pytest.approx(expected, abs=1e-12)


def test_dejmps_is_that_of_density_matrices() -> None:
    rotate = [(I2 + sign * 1j * X) / math.sqrt(2) for sign in (-1, 1)]
    both = np.kron(*rotate)
    turned = [both @ memory.density(state) @ both.conj().T for state in (STATE, OTHER)]
    # qubits a1 b1 a2 b2; both ends flip the second pair's qubit if the first's is 1, and measure it
    rho = np.kron(*turned).reshape((2,) * 8)
    kept, agree = np.zeros((2,) * 4, dtype=complex), 0.0
    for found in (0, 1):
        for row in np.ndindex(2, 2):
            for column in np.ndindex(2, 2):
                rows, columns = [found ^ bit for bit in row], [found ^ bit for bit in column]
                kept[(*row, *column)] += rho[(*row, *rows, *column, *columns)]
    agree = float(np.trace(kept.reshape(4, 4)).real)
    result = distillation.dejmps(STATE, OTHER)
    assert result.success_prob == pytest.approx(agree, rel=1e-12)
    assert weights(kept.reshape(4, 4) / agree) == pytest.approx(result.state.tolist(), abs=1e-12)


def test_purification_gives_the_known_figures() -> None:
    result = distillation.dejmps(bell.werner(0.75))
    assert (result.success_prob, float(result.state[0])) == (
        pytest.approx(0.7222, abs=5e-5),
        pytest.approx(0.7885, abs=5e-5),
    )
    # a Werner state is one for both protocols
    success_prob, fidelity = distillation.bbpssw(0.75)
    assert (success_prob, fidelity) == (pytest.approx(result.success_prob), pytest.approx(float(result.state[0])))
    # from 1/2 up a round helps, at 1/2 and at 1 it changes nothing
    assert [distillation.bbpssw(f)[1] for f in (0.5, 1.0)] == pytest.approx([0.5, 1.0])
    with pytest.raises(bell.BadStateError, match="never agree"):
        distillation.dejmps([1, 0, 0, 0], [0, 0, 1, 0])


@pytest.mark.parametrize(("links", "listed"), [(2, 0.9033), (4, 0.8191), (8, 0.6819)])
def test_chains_of_werner_links_are_as_good_as_the_table_says(links: int, listed: float) -> None:
    assert bell.werner_chain_fidelity(0.95, links) == pytest.approx(listed, abs=0.6e-4)


def test_what_a_pair_is_good_for_follows_its_fidelity() -> None:
    assert bell.werner_error_prob(0.25) == 0.5
    assert bell.werner_error_prob(1) == 0
    assert bell.teleportation_fidelity(0.5) == pytest.approx(2 / 3, rel=1e-12)  # what no entanglement reaches
    state = bell.werner(0.85)
    # bits differ in Z for Psi+ and Psi-
    assert bell.werner_error_prob(0.85) == pytest.approx(float(state[2] + state[3]), rel=1e-12)
    assert bell.noisy_chain_fidelity(0.9, 1, 0.5, 0.6) == pytest.approx(0.9, rel=1e-12)


def test_memories_that_decay_are_as_the_closed_form_says() -> None:
    t, t1, t2 = 0.3, 2.0, 1.1
    x, y = math.exp(-t / t1), math.exp(-t / t2)
    both = memory.damped(memory.density([1, 0, 0, 0]), (t, t), t1, t2)
    closed = (1 + (1 - x) ** 2 + x**2) / 4 + y**2 / 2
    assert memory.phi_plus_fidelity(both) == pytest.approx(closed, rel=1e-12)
    assert float(np.trace(both).real) == pytest.approx(1, rel=1e-12)
    # one qubit's relaxation towards I/2 is, on Phi+, as good as that to |0>
    one = memory.damped(memory.density([1, 0, 0, 0]), (t, 0), t1, t2)
    engine = memory.stored([1, 0, 0, 0], (t, 0), t1, t2)
    assert memory.phi_plus_fidelity(one) == pytest.approx(float(engine[0]), rel=1e-12)


def test_one_qubit_in_a_memory_relaxes_and_loses_its_phase() -> None:
    t, t1, t2 = 0.3, 2.0, 1.1
    plus_zero = np.kron([1, 1], [1, 0]) / math.sqrt(2)
    rho = memory.damped(np.outer(plus_zero, plus_zero).astype(complex), (t, 0.0), t1, t2)
    assert rho[0, 2] == pytest.approx(math.exp(-t / t2) / 2, rel=1e-12)
    assert rho[2, 2] == pytest.approx(math.exp(-t / t1) / 2, rel=1e-12)


def test_memories_forget_by_dephasing_or_altogether() -> None:
    long = memory.stored(STATE, (1e9, 0.0), 1.0, 1.0)
    assert long.tolist() == pytest.approx([0.25] * 4, abs=1e-12)
    dephased = memory.dephased([1, 0, 0, 0], 0.5, 2.0)
    assert dephased.tolist() == pytest.approx([(1 + math.exp(-0.25)) / 2, (1 - math.exp(-0.25)) / 2, 0, 0], abs=1e-15)
    assert memory.stored(STATE, (0, 0), 1.0, 2.0).tolist() == list(STATE)
    # waiting in two parts is waiting
    parts = memory.stored(memory.stored(STATE, (0.1, 0.2), 3.0, 1.0), (0.4, 0.1), 3.0, 1.0)
    assert parts.tolist() == pytest.approx(memory.stored(STATE, (0.5, 0.3), 3.0, 1.0).tolist(), abs=1e-15)


def test_a_faint_single_click_link_is_as_the_limit_says() -> None:
    alpha, eta, visibility, sigma_rad = 0.1, 1e-6, 0.9, 0.2
    found = heralding.single_click(alpha, eta, visibility=visibility, phase_sigma_rad=sigma_rad)
    c = math.sqrt(visibility) * math.exp(-(sigma_rad**2) / 2)
    assert found.success_prob == pytest.approx(2 * alpha * eta, rel=1e-5)
    limit = [(1 - alpha) * (1 + c) / 2, (1 - alpha) * (1 - c) / 2, alpha / 2, alpha / 2]
    assert found.state.tolist() == pytest.approx(limit, abs=1e-6)


def test_a_single_click_heralds_as_often_as_photons_and_darks_are_counted() -> None:
    alpha, eta, p, visibility, trials = 0.3, 0.4, 0.05, 0.8, 2_000_000
    rng = np.random.default_rng(20_050_101)
    emitted = rng.random((2, trials)) < alpha
    seen = (emitted & (rng.random((2, trials)) < eta)).sum(axis=0)
    # two photons leave by the same port when they interfere: (1+V)/2 of the time
    port = rng.integers(0, 2, trials)
    bunch = rng.random(trials) < (1 + visibility) / 2
    lit_0 = (seen == 1) & (port == 0) | (seen == 2) & (~bunch | (port == 0))
    lit_1 = (seen == 1) & (port == 1) | (seen == 2) & (~bunch | (port == 1))
    clicks = [lit | (rng.random(trials) < p) for lit in (lit_0, lit_1)]
    heralded = clicks[0] ^ clicks[1]
    found = heralding.single_click(alpha, eta, visibility=visibility, dark_prob=p)
    count = int(heralded.sum())
    assert count == pytest.approx(found.success_prob * trials, abs=5 * (found.success_prob * trials) ** 0.5)
    # Psi+ and Psi- have exactly one bright qubit
    odd = int((heralded & (emitted.sum(axis=0) == 1)).sum())
    assert odd == pytest.approx(float(found.state[:2].sum()) * count, abs=5 * odd**0.5)


def test_a_double_click_has_no_bright_pairs() -> None:
    found = heralding.double_click((0.1, 0.2), 0.9)
    assert found.success_prob == pytest.approx(0.01, rel=1e-12)
    assert found.state.tolist() == pytest.approx([0.95, 0.05, 0, 0], abs=1e-12)


def test_links_try_as_fast_as_light_and_modes_allow() -> None:
    assert heralding.attempt_period_s(20, 5e-6) == pytest.approx(102.95e-6, abs=1e-8)
    assert heralding.attempt_period_s(20, 5e-6, is_midpoint=False) == pytest.approx(200.9e-6, abs=1e-7)
    assert heralding.multiplexed_prob(0.1, 3) == pytest.approx(1 - 0.9**3, rel=1e-12)
    assert heralding.multiplexed_prob(1e-18, 1000) == pytest.approx(1e-15, rel=1e-9)
    assert heralding.multiplexed_prob(1, 3) == 1
    assert heralding.pair_rate_hz(0.01, 1e-4, 0.41) == pytest.approx(41, rel=1e-12)


@pytest.mark.parametrize(("links", "listed"), [(1, 100), (2, 149.75), (4, 207.79), (8, 270.92)])
def test_chains_wait_as_long_as_the_table_says(links: int, listed: float) -> None:
    assert waiting.longest_wait(links, 0.01) == pytest.approx(listed, abs=0.0051)


@pytest.mark.parametrize("links", [2, 20, 21, 60])
def test_the_three_sums_of_a_wait_join(links: int) -> None:
    # the sum serves from p = 1e-3 up, the closed forms below
    above, below = waiting.longest_wait(links, 1e-3), waiting.longest_wait(links, 1e-3 * (1 - 1e-9))
    assert below == pytest.approx(above, rel=3e-9)
    assert below > above


def test_waits_have_their_limits() -> None:
    assert waiting.longest_wait(5, 1) == 1
    certain = waiting.wait_with_cutoff(1, 0, 0.5)
    assert (certain.mean_attempts, certain.mean_decay) == (1, 1)
    # with no time to wait both have to come at once
    assert waiting.wait_with_cutoff(0.1, 0).mean_attempts == pytest.approx(100, rel=1e-12)
    # a cutoff that is never reached is none
    free = waiting.wait_with_cutoff(0.05, 100_000, 0.9)
    assert free.mean_attempts == pytest.approx(waiting.longest_wait(2, 0.05), rel=1e-12)
    assert free.mean_decay == pytest.approx(waiting.pair_decay(0.05, 0.9), rel=1e-12)
    assert waiting.pair_decay(0.05, 1.0) == pytest.approx(1, rel=1e-12)
    assert waiting.chain_rate_hz(3, 1, 0.5, 1e-3) == pytest.approx(250, rel=1e-12)


@pytest.mark.parametrize("bad", [-0.1, math.nan, 1.1])
def test_entanglement_refuses_what_cannot_be(bad: float) -> None:
    one = np.ones(1)
    walk: list[Callable[[], object]] = [
        lambda: refuse_unless_prob(anything=bad),
        lambda: bell.werner(bad),
        lambda: bell.checked([bad, 0, 0, 0]),
        lambda: bell.checked([1, 0, 0]),
        lambda: bell.checked(1.0),
        lambda: bell.swapped([0.5, 0.4, 0, 0], STATE),
        lambda: bell.noisy_chain_fidelity(0.9, 0, 1, 1),
        lambda: bell.noisy_chain_fidelity(0.9, 2, bad, 1),
        lambda: bell.noisy_chain_fidelity(0.9, 2, 1, 0.4),
        lambda: bell.teleportation_fidelity(bad),
        lambda: bell.werner_error_prob(bad),
        lambda: distillation.bbpssw(bad),
        lambda: distillation.dejmps([STATE, STATE]),
        lambda: memory.relaxation_errors(bad - 2, 1, 1),
        lambda: memory.relaxation_errors(1, 1, 2.1),
        lambda: memory.relaxation_errors(1, math.nan, 1),
        lambda: memory.density([STATE, STATE]),
        lambda: memory.damped(memory.density(STATE), (1, bad - 2), 1, 1),
        lambda: heralding.single_click(bad, 0.1),
        lambda: heralding.single_click(0.1, bad),
        lambda: heralding.single_click(0.1, 0.0),
        lambda: heralding.single_click(0.1, 0.1, dark_prob=1.0),
        lambda: heralding.double_click((0.1, bad)),
        lambda: heralding.attempt_period_s(bad - 2, 1),
        lambda: heralding.attempt_period_s(0, 0),
        lambda: heralding.multiplexed_prob(bad, 2),
        lambda: heralding.multiplexed_prob(0.1, 0),
        lambda: heralding.pair_rate_hz(bad, 1),
        lambda: heralding.pair_rate_hz(0.1, 0),
        lambda: waiting.attempt_counts(bad, one),
        lambda: waiting.attempt_counts(0.1, one * bad),
        lambda: waiting.longest_wait(0, 0.1),
        lambda: waiting.longest_wait(2, 0.0),
        lambda: waiting.pair_decay(0.1, bad),
        lambda: waiting.wait_with_cutoff(bad, 1),
        lambda: waiting.wait_with_cutoff(0.1, -1),
        lambda: waiting.chain_rate_hz(2, 0.1, bad, 1),
        lambda: waiting.chain_rate_hz(2, 0.1, 1, 0),
    ]
    for wrong in walk:
        with pytest.raises(BadInputError):
            wrong()
