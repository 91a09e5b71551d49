"""Which protocol a link speaks, and what a block of each is worth."""

from math import log2
from typing import Any

import numpy as np
import pytest

from node.links import ReceiverLink, TransmitterLink
from node.qkd.bbm92 import outcome_bits, pair_key_estimate
from node.qkd.estimation import binary_entropy, one_decoy_key_estimate
from node.qkd.protocols import (
    ASYMPTOTIC,
    BBM92,
    ONE_DECOY,
    PROTOCOLS,
    TWO_DECOYS,
    BlockCounts,
    level_count,
    protocol_of,
)
from node.qkd.sampling import sampling_deviation
from node.qkd.study import asymptotic_key_estimate
from node.qkd.two_decoy import two_decoy_key_estimate
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2, process_pb2

EPSILONS: dict[str, Any] = {"eps_sec": 1e-10, "eps_cor": 1e-15}
TWO = BlockCounts([54_000, 46_000], [540, 460], [4_300, 3_700], [43, 37])
THREE = BlockCounts([80_000, 18_000, 2_000], [800, 200, 200], [8_000, 1_800, 200], [80, 20, 20])
PAIRS = BlockCounts([20_000], [600], [20_000], [500])


def sent(protocol: str) -> dict[str, Any]:
    if protocol == TWO_DECOYS:
        return {"intensities": (0.5, 0.1, 0.001), "intensity_probs": (0.5, 0.3, 0.2)}
    return {"intensities": (0.4, 0.13), "intensity_probs": (0.35, 0.65)}


def config(protocol: str, intensities: tuple[float, ...] = (0.4, 0.13), brightness: float = 0.0) -> Any:
    return process_pb2.NodeLinkConfig(
        link_id="alice-bob",
        planned=parameters_pb2.LinkParameters(intensities=intensities, pair_brightness=brightness),
        protocol=parameters_pb2.ProtocolParameters(protocol=protocol),
    )


@pytest.mark.parametrize(
    ("given", "name", "levels"),
    [
        (config(ONE_DECOY), ONE_DECOY, 2),
        (config(TWO_DECOYS, (0.5, 0.1, 0.001)), TWO_DECOYS, 3),
        (config(ASYMPTOTIC), ASYMPTOTIC, 2),
        (config(ASYMPTOTIC, (0.5, 0.1, 0.001)), ASYMPTOTIC, 3),
        (config(BBM92, brightness=0.1), BBM92, 1),
    ],
)
def test_a_link_speaks_what_it_is_configured_for(given: Any, name: str, levels: int) -> None:
    assert (protocol_of(given).name, level_count(given)) == (name, levels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config("b92"), "link alice-bob: protocol 'b92' is none of bb84-one-decoy, bb84-two-decoys, bb84-asymptotic, "),
        (config(""), "protocol ''"),
        (config(ONE_DECOY, (0.5, 0.1, 0.001)), "bb84-one-decoy takes 2 intensities, got 3"),
        (config(TWO_DECOYS), "bb84-two-decoys takes 3 intensities, got 2"),
        (config(ASYMPTOTIC, (0.5,)), "bb84-asymptotic takes 2 or 3 intensities, got 1"),
        (config(BBM92), "bbm92 needs a source of pairs, pair_brightness is 0"),
        (config(ONE_DECOY, brightness=0.1), "cannot use a source of pairs, pair_brightness is 0.1"),
    ],
)
def test_a_protocol_that_is_not_known_or_that_the_source_does_not_fit_is_refused(given: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        protocol_of(given)


def test_each_protocol_has_the_bound_of_its_own() -> None:
    one, two, pairs = (
        PROTOCOLS[name].key_estimate(counts, **sent(name), **EPSILONS, leaked_bits=2_000)
        for name, counts in ((ONE_DECOY, TWO), (TWO_DECOYS, THREE), (BBM92, PAIRS))
    )
    assert one == one_decoy_key_estimate(
        z_counts=TWO.z,
        z_error_counts=TWO.z_errors,
        x_counts=TWO.x,
        x_error_counts=TWO.x_errors,
        leaked_bits=2_000,
        **sent(ONE_DECOY),
        **EPSILONS,
    )
    assert two == two_decoy_key_estimate(
        key_counts=THREE.z,
        test_counts=THREE.x,
        test_error_counts=THREE.x_errors,
        leaked_bits=2_000,
        **sent(TWO_DECOYS),
        **EPSILONS,
    )
    assert pairs == pair_key_estimate(
        z_counts=PAIRS.z, x_counts=PAIRS.x, x_error_counts=PAIRS.x_errors, leaked_bits=2_000, **EPSILONS
    )
    assert min(one.secret_bits, two.secret_bits, pairs.secret_bits) > 0


def test_only_the_asymptotic_one_is_not_secure_and_its_blocks_say_so() -> None:
    assert {name: (p.is_secure, p.block_suffix) for name, p in PROTOCOLS.items()} == {
        ONE_DECOY: (True, ""),
        TWO_DECOYS: (True, ""),
        ASYMPTOTIC: (False, ".insecure"),
        BBM92: (True, ""),
    }


def test_a_key_of_pairs_is_what_the_formula_says() -> None:
    error_prob = 500 / 20_000 + sampling_deviation(20_000, 20_000, 1e-10)
    expected = 20_000 * (1 - binary_entropy(error_prob)) - 2_000 - log2(2 / (1e-20 * 1e-15))
    found = PROTOCOLS[BBM92].key_estimate(PAIRS, **sent(BBM92), **EPSILONS, leaked_bits=2_000)
    assert found.secret_bits == int(expected)
    assert found.phase_error_prob == pytest.approx(error_prob, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"z_counts": [0]}, "no-counts"),
        ({"x_counts": [0], "x_error_counts": [0]}, "phase-error-bound"),
        ({"x_error_counts": [9_999]}, "phase-error-bound"),
        ({"leaked_bits": 20_000}, "leak"),
    ],
)
def test_a_block_of_pairs_that_makes_no_key_says_why(changes: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"z_counts": [20_000], "x_counts": [20_000], "x_error_counts": [500], "leaked_bits": 2_000}
    found = pair_key_estimate(**{**given, **EPSILONS, **changes})
    assert (found.secret_bits, found.reason) == (0, reason)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_counts": [1, 2]}, "no intensities"),
        ({"x_error_counts": [20_001]}, "20001 errors"),
        ({"z_counts": [-1]}, "-1 Z bits"),
        ({"z_counts": [float("nan")]}, "nan Z bits"),
        ({"eps_sec": 0.0}, "eps_sec"),
        ({"leaked_bits": -1}, "leaked"),
    ],
)
def test_counts_of_pairs_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"z_counts": [20_000], "x_counts": [20_000], "x_error_counts": [500], "leaked_bits": 2_000}
    with pytest.raises(BadInputError, match=message):
        pair_key_estimate(**{**given, **EPSILONS, **changes})


def test_outcomes_are_detectors_and_random_where_both_clicked() -> None:
    detectors = np.array([1, 2, 3, 3, 1], dtype=np.uint8)
    assert outcome_bits(detectors, np.array([1, 0, 1, 0, 0], dtype=np.uint8)).tolist() == [0, 1, 1, 0, 0]


def asymptotic(counts: BlockCounts, name: str, leaked_bits: float = 2_000) -> Any:
    return asymptotic_key_estimate(
        z_counts=counts.z,
        z_error_counts=counts.z_errors,
        x_counts=counts.x,
        x_error_counts=counts.x_errors,
        leaked_bits=leaked_bits,
        **sent(name),
    )


@pytest.mark.parametrize(("name", "counts"), [(ONE_DECOY, TWO), (TWO_DECOYS, THREE)])
def test_finite_keys_come_near_the_asymptotic_one_from_below_as_blocks_grow(name: str, counts: BlockCounts) -> None:
    fractions = []
    for factor in (1, 10, 100, 10_000, 10**8):
        grown = BlockCounts(
            *([n * factor for n in part] for part in (counts.z, counts.z_errors, counts.x, counts.x_errors))
        )
        total = sum(grown.z)
        finite = PROTOCOLS[name].key_estimate(grown, **sent(name), **EPSILONS, leaked_bits=0.1 * total)
        limit = asymptotic(grown, name, 0.1 * total)
        assert finite.secret_bits < limit.secret_bits
        fractions.append((limit.secret_bits - finite.secret_bits) / total)
    assert fractions == sorted(fractions, reverse=True)
    assert fractions[-1] < 1e-3


@pytest.mark.parametrize(
    "counts",
    [
        BlockCounts([1, 2, 3], [0, 0], [1, 2], [0, 0]),
        BlockCounts([1, 2], [0, 0], [1, 2], [0]),
        BlockCounts([1, 2], [0, 3], [1, 2], [0, 0]),
        BlockCounts([1, 2], [0, 0], [1, 2], [-1, 0]),
    ],
)
def test_counts_that_do_not_go_together_are_refused(counts: BlockCounts) -> None:
    with pytest.raises(BadInputError, match=r"intensities with counts|errors than counts"):
        asymptotic(counts, ONE_DECOY)


def test_a_study_without_light_or_with_nothing_but_errors_says_why() -> None:
    assert asymptotic(BlockCounts([0, 0], [0, 0], [0, 0], [0, 0]), ONE_DECOY).reason == "no-counts"
    wrong = BlockCounts(TWO.z, TWO.z_errors, TWO.x, [2_150, 1_850])
    assert asymptotic(wrong, ONE_DECOY).reason in ("phase-error-bound", "single-photon-bound")
    assert asymptotic(TWO, ONE_DECOY, 1e6).reason == "leak"


@pytest.mark.parametrize("end", [TransmitterLink, ReceiverLink])
def test_either_end_refuses_a_protocol_that_it_does_not_know(end: Any) -> None:
    with pytest.raises(BadInputError, match="link alice-bob: protocol 'b92' is none of"):
        end(config("b92"), None, None)
