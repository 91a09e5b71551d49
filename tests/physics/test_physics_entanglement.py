"""Replay of the listed cases about entangled pairs: made, joined, purified, kept, waited for."""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from node.entanglement import bell, distillation, heralding, memory, waiting

CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {
    "swap-werner-F0.95-n2",
    "swap-werner-F0.98-n8",
    "swap-noisy-Briegel",
    "dejmps-bd-out",
    "dejmps-w75-out",
    "dejmps-w90-out",
    "bbpssw-F0.8",
    "mem-t0.1-T110.0-T21.0-2",
    "teleport-F0.9",
    "singleclick-F-a0.05-e0.001",
    "singleclick-F-a0.1-e0.0004",
    "singleclick-F-a0.1-e0.3",
    "linkrate-20km",
}


def agrees(case: dict[str, Any], value: float) -> None:
    scale = abs(case["expected"]) if case["tolerance_kind"].startswith("rel") else 1.0
    assert value == pytest.approx(case["expected"], abs=case["tolerance"] * scale, rel=0)


@pytest.mark.parametrize("name", ["swap-werner-F0.95-n2", "swap-werner-F0.98-n8"])
def test_swapped_werner_links_are_as_good_as_listed(name: str) -> None:
    given = CASES[name]["inputs"]
    agrees(CASES[name], bell.werner_chain_fidelity(given["F"], given["links"]))
    link = state = bell.werner(given["F"])
    for _ in range(given["links"] - 1):
        state = bell.swapped(state, link)
    agrees(CASES[name], float(bell.fidelity(state)))


def test_noisy_swaps_cost_as_much_as_listed() -> None:
    given = CASES["swap-noisy-Briegel"]["inputs"]
    found = bell.noisy_chain_fidelity(given["F"], given["links"], given["p2"], given["readout_eta"])
    agrees(CASES["swap-noisy-Briegel"], found)


@pytest.mark.parametrize("name", ["dejmps-bd-out", "dejmps-w75-out", "dejmps-w90-out"])
def test_a_round_of_dejmps_gives_the_listed_state(name: str) -> None:
    case = CASES[name]
    found = distillation.dejmps(case["inputs"]["v"])
    assert found.state.tolist() == pytest.approx(case["expected"], abs=case["tolerance"], rel=0)


def test_a_round_of_bbpssw_gives_the_listed_fidelity() -> None:
    agrees(CASES["bbpssw-F0.8"], distillation.bbpssw(CASES["bbpssw-F0.8"]["inputs"]["F"])[1])


def test_a_pair_in_memories_that_decay_is_as_good_as_listed() -> None:
    case = CASES["mem-t0.1-T110.0-T21.0-2"]
    given = case["inputs"]
    assert given["sides"] == 2
    rho = memory.damped(memory.density([1, 0, 0, 0]), (given["t"], given["t"]), given["T1"], given["T2"])
    agrees(case, memory.phi_plus_fidelity(rho))


def test_teleportation_is_as_good_as_listed() -> None:
    agrees(CASES["teleport-F0.9"], bell.teleportation_fidelity(CASES["teleport-F0.9"]["inputs"]["F"]))


@pytest.mark.parametrize("name", sorted(name for name in REPLAYED if name.startswith("singleclick-")))
def test_a_single_click_heralds_the_listed_fidelity(name: str) -> None:
    given = CASES[name]["inputs"]
    attempt = heralding.single_click(given["alpha"], given["eta"], visibility=given["V"], dark_prob=given["pd"])
    agrees(CASES[name], attempt.fidelity)


def test_a_link_makes_pairs_at_the_listed_rate() -> None:
    given = CASES["linkrate-20km"]["inputs"]
    period_s = heralding.attempt_period_s(given["L_km"], given["t_prep_us"] * 1e-6)
    agrees(CASES["linkrate-20km"], heralding.pair_rate_hz(given["p"], period_s))


@pytest.mark.parametrize("name", ["chain-wait-n4-p0.05", "chain-wait-n4-p0.0001"])
def test_a_chain_waits_as_long_as_listed(name: str) -> None:
    case = CASES[name]
    given = case["inputs"]
    agrees(case, waiting.longest_wait(given["n_links"], given["p"]))
    uniforms = 1.0 - np.random.default_rng(20_110_101).random((given["n_links"], case["sample_size"]))
    agrees(case, float(waiting.attempt_counts(given["p"], uniforms).max(axis=0).mean()))


def test_two_links_with_a_cutoff_wait_as_long_as_listed() -> None:
    case = CASES["chain-cutoff-2link"]
    p, cutoff, trials = case["inputs"]["p"], case["inputs"]["cutoff"], case["sample_size"]
    found = waiting.wait_with_cutoff(p, cutoff, math.exp(-1 / 30))
    agrees(case, found.mean_attempts)
    assert found.mean_decay == pytest.approx(0.857417, abs=0.6e-6)
    rng = np.random.default_rng(20_070_101)
    spent, waits = np.zeros(trials), np.zeros(trials)
    open_trials = np.arange(trials)
    while len(open_trials):
        first, second = np.sort(waiting.attempt_counts(p, 1.0 - rng.random((2, len(open_trials)))), axis=0)
        is_met = second - first <= cutoff
        spent[open_trials] += np.where(is_met, second, first + cutoff)
        waits[open_trials] = second - first
        open_trials = open_trials[~is_met]
    agrees(case, float(spent.mean()))
    decays = np.exp(-waits / 30)
    assert decays.mean() == pytest.approx(0.857417, abs=5 * float(decays.std()) / trials**0.5)
