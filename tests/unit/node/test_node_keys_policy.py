"""Policies of SAE pairs: rates, guarantees, priorities, and the terms of several pairs at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.keys.directory import Directory
from node.keys.policy import DEFAULT_POLICY, KeyMode, Policies, Policy, Terms, WhenDry, terms_of
from node.keys.policy_gate import GUARANTEE_S, KeptForOthersError, OverBurstError, PolicyGate, RateExceededError
from node.keys.token_bucket import TokenBucket
from qnetem.runtime.errors import BadInputError

PLACES = {"a1": "alice", "a2": "alice", "a3": "alice", "b1": "bob", "b2": "bob", "c1": "carol"}
ALICE = Directory("metro", "alice", PLACES, frozenset({"bob"}))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def gate_of(clock: Clock, *policies: tuple[str, Policy]) -> PolicyGate:
    pairs = [(frozenset(pair.split("/")), policy) for pair, policy in policies]
    return PolicyGate(Policies(pairs), ALICE, 1024, clock)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 2000)), max_size=40))
def test_a_bucket_never_lets_more_through_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    now_s, taken = 0.0, 0.0
    bucket = TokenBucket(100.0, 500.0, now_s)
    for pause_s, bits in steps:
        now_s += pause_s
        level = bucket.level_bits(now_s)
        got = bucket.take(bits, now_s)
        assert got == min(bits, level)
        taken += got
        assert taken <= 500.0 + 100.0 * now_s + 1e-6
        assert bucket.level_bits(now_s) == pytest.approx(level - got)


def test_a_bucket_tells_when_and_takes_back() -> None:
    bucket = TokenBucket(100.0, 500.0, 10.0)
    assert bucket.take(450, 10.0) == 450
    assert bucket.wait_s(150, 10.0) == pytest.approx(1.0)
    assert bucket.wait_s(501, 10.0) == float("inf")
    assert bucket.level_bits(5.0) == 50  # time that goes back fills nothing
    bucket.give_back(1000)
    assert bucket.level_bits(10.0) == 500


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1), (1, float("inf"))])
def test_a_bucket_without_rate_or_burst_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(BadInputError, match="not both above 0"):
        TokenBucket(rate, burst, 0.0)


def test_a_policy_holds_in_both_directions_and_for_nobody_else() -> None:
    policy = Policy(name="a1/b1", priority=3)
    policies = Policies([(frozenset(("a1", "b1")), policy)])
    assert policies.of("a1", "b1") is policies.of("b1", "a1") is policy
    assert policies.of("a1", "b2") is DEFAULT_POLICY
    other = Policy(mode=KeyMode.HYBRID)
    assert Policies(other=other).of("a1", "b1") is other
    for pairs in ([(frozenset(("a1",)), policy)], [(frozenset(("a1", "b1")), policy)] * 2):
        with pytest.raises(BadInputError, match="names no pair of SAEs"):
            Policies(pairs)


def test_terms_are_the_stricter_of_several() -> None:
    lax = Policy(when_dry=WhenDry.PQC)
    strict = Policy(key_lifetime_s=60, allowed_relays=frozenset("rs"), mode=KeyMode.HYBRID, when_dry=WhenDry.PQC)
    stricter = Policy(key_lifetime_s=30, allowed_relays=frozenset("st"))
    assert terms_of([lax]) == Terms(is_pqc_allowed=True)
    assert terms_of([DEFAULT_POLICY]) == Terms()
    assert terms_of([lax, strict]) == Terms(KeyMode.HYBRID, 60, frozenset("rs"), True)
    assert terms_of([lax, strict, stricter]) == Terms(KeyMode.HYBRID, 30, frozenset("s"), False)


def test_a_maximum_rate_holds_per_direction_and_comes_back_with_time() -> None:
    clock = Clock()
    gate = gate_of(clock, ("a1/b1", Policy(max_secret_hz=512.0, burst_bits=1024)))
    gate.take("a1", ["b1"], 4, 256, {"bob": 10_000})
    with pytest.raises(RateExceededError, match=r"stored 0 keys of 256 bits for them now, asked 1; all in 0\.5 s"):
        gate.take("a1", ["b1"], 1, 256, {"bob": 10_000})
    assert gate.grantable_bits("a1", "b1", 10_000) == 0
    gate.take("a1", ["b2"], 30, 256, {"bob": 10_000})  # another pair
    clock.now_s += 0.75
    assert gate.grantable_bits("a1", "b1", 10_000) == 384
    gate.take("a1", ["b1"], 1, 256, {"bob": 10_000})
    with pytest.raises(OverBurstError, match="at most 1024 bits at once, asked 1280"):
        gate.take("a1", ["b1"], 5, 256, {"bob": 10_000})


def test_a_burst_that_is_not_given_holds_a_second_and_the_longest_key() -> None:
    clock = Clock()
    slow = gate_of(clock, ("a1/b1", Policy(max_secret_hz=100.0)))
    slow.take("a1", ["b1"], 1, 1024, {})
    fast = gate_of(clock, ("a1/b1", Policy(max_secret_hz=5000.0)))
    with pytest.raises(OverBurstError, match="at most 5000 bits"):
        fast.take("a1", ["b1"], 5, 1024, {})


def test_what_no_key_came_of_is_given_back() -> None:
    clock = Clock()
    gate = gate_of(clock, ("a1/b1", Policy(min_secret_hz=10.0, max_secret_hz=512.0, burst_bits=1024)))
    gate.take("a1", ["b1"], 4, 256, {}).give_back()
    assert gate.grantable_bits("a1", "b1", 10_000) == 1024
    gate.take("a1", ["b1"], 4, 256, {})


def test_a_guarantee_is_left_by_others_and_taken_by_its_pair() -> None:
    clock = Clock()
    guaranteed = 100.0 * GUARANTEE_S
    gate = gate_of(clock, ("a1/b1", Policy(min_secret_hz=100.0)))
    assert gate.grantable_bits("a2", "b1", 1500) == 500
    gate.take("a2", ["b1"], 1, 496, {"bob": 1500})
    with pytest.raises(KeptForOthersError, match="stored 3 keys of 128 bits for these, asked 4"):
        gate.take("a2", ["b1"], 4, 128, {"bob": 1500})
    with pytest.raises(KeptForOthersError):
        gate.take("a1", ["b2"], 4, 128, {"bob": 1500})  # the master's other slave is another pair
    gate.take("a1", ["c1"], 100, 1024, {})  # another KME has another pool
    assert gate.grantable_bits("a1", "b1", 1000) == 1000
    gate.take("a1", ["b1"], 1, 1000, {"bob": 1000})
    # what it took is no longer kept for it, and comes again at its rate
    assert gate.grantable_bits("a2", "b1", 500) == 500
    clock.now_s += 3
    assert gate.grantable_bits("a2", "b1", 500) == 200
    clock.now_s += 1000
    assert gate.grantable_bits("a2", "b1", 5000) == 5000 - guaranteed


def test_a_pair_beyond_its_guarantee_heeds_the_others() -> None:
    clock = Clock()
    gate = gate_of(clock, ("a1/b1", Policy(min_secret_hz=10.0)), ("a2/b1", Policy(min_secret_hz=100.0)))
    assert gate.grantable_bits("a1", "b1", 1050) == 100  # its own guarantee, more than the 50 beyond the other's
    assert gate.grantable_bits("a1", "b1", 1500) == 500
    with pytest.raises(KeptForOthersError):
        gate.take("a1", ["b1"], 1, 512, {"bob": 1500})
    gate.take("a1", ["b1"], 1, 96, {"bob": 96})


def test_a_higher_priority_is_not_held_back() -> None:
    clock = Clock()
    gate = gate_of(
        clock,
        ("a1/b1", Policy(min_secret_hz=100.0, priority=1)),
        ("a2/b1", Policy(priority=2)),
        ("a3/b1", Policy(priority=1)),
    )
    assert gate.grantable_bits("a2", "b1", 1000) == 1000
    gate.take("a2", ["b1"], 1, 1000, {"bob": 1000})
    assert gate.grantable_bits("a3", "b1", 1000) == 0
    # several pairs at once have the lowest of their priorities
    with pytest.raises(KeptForOthersError):
        gate.take("a2", ["b1", "b2"], 1, 1000, {"bob": 1000})


def test_a_dry_pool_is_the_stores_to_tell() -> None:
    gate = gate_of(Clock(), ("a1/b1", Policy(min_secret_hz=100.0)))
    gate.take("a2", ["b1"], 1, 1024, {"bob": 100})


def test_buckets_are_as_an_earlier_life_left_them() -> None:
    clock = Clock()
    policy = Policy(min_secret_hz=100.0, max_secret_hz=512.0, burst_bits=1024)
    before = gate_of(clock, ("a1/b1", policy))
    noted = {
        name: bucket.noted
        for charge in (before.take("a1", ["b1"], 2, 256, {}), before.take("a1", ["b1"], 2, 256, {}))
        for name, bucket in charge.buckets.items()
    }
    assert set(noted) == {"limit a1 b1", "guarantee a1 b1"}
    clock.now_s += 0.5
    after = PolicyGate(Policies([(frozenset(("a1", "b1")), policy)]), ALICE, 1024, clock, noted)
    assert after.grantable_bits("a1", "b1", 10_000) == before.grantable_bits("a1", "b1", 10_000) == 256
    # of what is guaranteed, 1000 bits, all was taken: 50 have come since
    assert after.grantable_bits("a2", "b1", 1500) == before.grantable_bits("a2", "b1", 1500) == 1450
    # a smaller bucket of a new policy holds no more than it can
    smaller = Policy(max_secret_hz=512.0, burst_bits=128)
    small = PolicyGate(Policies([(frozenset(("a1", "b1")), smaller)]), ALICE, 1024, clock, noted)
    assert small.grantable_bits("a1", "b1", 10_000) == 128
