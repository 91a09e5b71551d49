"""node.keys.policy_gate: who may take how many bits now: maximum rates, and what others are guaranteed. Pure.

A maximum rate is a token bucket of its pair. A guaranteed (minimum) rate is one too, of bits that others leave in the
pool that the pair's two KMEs share: it fills at the rate up to what `GUARANTEE_S` seconds bring. A pair takes its own
guaranteed bits whatever others are left; more than that only what the pool holds beyond the guarantees of pairs of the
same or a higher priority. Who takes notes what is left (node.keys.rates), so that a restart fills no bucket.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import quote

from node.keys.directory import Directory
from node.keys.policy import Policies
from node.keys.records import PoolExhaustedError
from node.keys.token_bucket import TokenBucket
from qnetem.runtime.errors import BadInputError, UnavailableError

__all__ = ["GUARANTEE_S", "Charge", "KeptForOthersError", "OverBurstError", "PolicyGate", "RateExceededError"]

GUARANTEE_S: Final = 10.0
Pair = tuple[str, str]


class RateExceededError(UnavailableError):
    """The pair has had what its maximum rate grants by now; nothing was taken."""

    reason = "RATE_EXCEEDED"
    is_definite: ClassVar[bool] = True


class KeptForOthersError(PoolExhaustedError):
    """What the pool holds is guaranteed to other pairs; nothing was taken."""

    reason = "POOL_KEPT"


class OverBurstError(BadInputError):
    """More at once than the pair's policy ever grants."""

    reason = "OVER_BURST"


@dataclass(frozen=True, slots=True)
class Charge:
    """What was taken out of buckets, by their names, to give back when no key comes of it."""

    taken: tuple[tuple[str, TokenBucket, float], ...] = ()

    @property
    def buckets(self) -> dict[str, TokenBucket]:
        """The buckets, by name."""
        return {name: bucket for name, bucket, _ in self.taken}

    def give_back(self) -> None:
        """Undo it."""
        for _, bucket, bits in self.taken:
            bucket.give_back(bits)


class PolicyGate:
    """Admits requests of the SAEs of one KME."""

    def __init__(
        self,
        policies: Policies,
        directory: Directory,
        longest_key_bits: int,
        emulated_s: Callable[[], float],
        noted: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        """Hold every bucket as it was noted, others full, as of now.

        Args:
            policies: What holds for which pair.
            directory: Who is where.
            longest_key_bits: The least that a maximum rate lets through at once when its policy does not say.
            emulated_s: Emulated time, seconds.
            noted: What an earlier life left in buckets, by name.
        """
        self._policies = policies
        self._directory = directory
        self._longest_key_bits = longest_key_bits
        self._emulated_s = emulated_s
        self._noted = noted
        self._limits: dict[Pair, TokenBucket] = {}
        self._guarantees: dict[Pair, TokenBucket] = {}
        now_s = emulated_s()
        for pair, policy in policies.named():
            first, second = sorted(pair)
            for master, slave in ((first, second), (second, first)):
                if policy.min_secret_hz > 0 and directory.is_attached(master) and not directory.is_attached(slave):
                    burst_bits = policy.min_secret_hz * GUARANTEE_S
                    left = noted.get(_name("guarantee", (master, slave)))
                    self._guarantees[master, slave] = TokenBucket(policy.min_secret_hz, burst_bits, now_s, left)

    @property
    def has_guarantees(self) -> bool:
        """Whether any pair is guaranteed anything, so that pools have to be looked at."""
        return bool(self._guarantees)

    def grantable_bits(self, master_sae_id: str, slave_sae_id: str, pool_bits: int) -> int:
        """Return how many bits of a pool that holds `pool_bits` the pair could get now."""
        now_s = self._emulated_s()
        pair = (master_sae_id, slave_sae_id)
        granted = float(pool_bits)
        own, others = self._split([pair], self._directory.places[slave_sae_id], now_s)
        granted = min(granted, max(own, granted - others))
        limit = self._limit(pair)
        if limit is not None:
            granted = min(granted, limit.level_bits(now_s))
        return int(granted)

    def take(
        self,
        master_sae_id: str,
        slave_saes: Sequence[str],
        number: int,
        size_bits: int,
        pool_bits: Mapping[str, int],
    ) -> Charge:
        """Take what a request needs out of the buckets of its pairs.

        Args:
            master_sae_id: Attached here.
            slave_saes: Known SAEs, each once.
            number: Of keys.
            size_bits: Of each.
            pool_bits: What the pools shared with other KMEs hold, by node; one that is not given is not looked at.

        Raises:
            OverBurstError: A pair is never granted so much at once.
            RateExceededError: A pair's maximum rate does not grant it now.
            KeptForOthersError: The rest of a pool is guaranteed to others.
        """
        now_s, bits = self._emulated_s(), number * size_bits
        pairs = [(master_sae_id, slave) for slave in slave_saes]
        limits = [(pair, limit) for pair in pairs if (limit := self._limit(pair)) is not None]
        for (master, slave), limit in limits:
            self._demand_rate(limit, f"{master} and {slave}", number, size_bits, now_s)
        by_peer: dict[str, list[Pair]] = {}
        for pair in pairs:
            by_peer.setdefault(self._directory.places[pair[1]], []).append(pair)
        for peer_node, asking in by_peer.items():
            if peer_node in pool_bits:
                self._demand_left(peer_node, asking, number, size_bits, pool_bits[peer_node], now_s)
        buckets = [(_name("limit", pair), limit) for pair, limit in limits]
        buckets += [(_name("guarantee", pair), self._guarantees[pair]) for pair in pairs if pair in self._guarantees]
        return Charge(tuple((name, bucket, bucket.take(bits, now_s)) for name, bucket in buckets))

    def _limit(self, pair: Pair) -> TokenBucket | None:
        policy = self._policies.of(*pair)
        if policy.max_secret_hz <= 0:
            return None
        if pair not in self._limits:
            burst_bits = policy.max_burst_bits(self._longest_key_bits)
            left = self._noted.get(_name("limit", pair))
            self._limits[pair] = TokenBucket(policy.max_secret_hz, burst_bits, self._emulated_s(), left)
        return self._limits[pair]

    def _demand_rate(self, limit: TokenBucket, pair: str, number: int, size_bits: int, now_s: float) -> None:
        bits = number * size_bits
        if bits > limit.burst_bits:
            raise OverBurstError(
                f"the policy of {pair} grants at most {limit.burst_bits:.0f} bits at once, asked {bits}"
            )
        if limit.level_bits(now_s) < bits:
            stored = int(limit.level_bits(now_s) // size_bits)
            raise RateExceededError(
                f"the policy of {pair} grants {limit.rate_hz:g} bit/s: stored {stored} keys of {size_bits} bits for"
                f" them now, asked {number}; all in {limit.wait_s(bits, now_s):.3g} s"
            )

    def _demand_left(
        self, peer_node: str, asking: Sequence[Pair], number: int, size_bits: int, pool_bits: int, now_s: float
    ) -> None:
        bits = number * size_bits
        own, others = self._split(asking, peer_node, now_s)
        if bits > pool_bits or bits <= own or pool_bits - bits >= others:
            return  # whether the pool holds it is the store's to say
        stored = int(max(own, pool_bits - others, 0) // size_bits)
        raise KeptForOthersError(
            f"key material shared with KME {peer_node} is guaranteed to other SAEs:"
            f" stored {stored} keys of {size_bits} bits for these, asked {number}"
        )

    def _split(self, asking: Sequence[Pair], peer_node: str, now_s: float) -> tuple[float, float]:
        """Return the bits of a pool that the asking pairs are guaranteed, and that others are whom they heed."""
        priority = min(self._policies.of(*pair).priority for pair in asking)
        own = self._sum((pair for pair in asking if pair in self._guarantees), now_s)
        heeded = (
            pair
            for pair in self._guarantees
            if pair not in asking
            and self._directory.places[pair[1]] == peer_node
            and self._policies.of(*pair).priority >= priority
        )
        return own, self._sum(heeded, now_s)

    def _sum(self, pairs: Iterable[Pair], now_s: float) -> float:
        return sum(self._guarantees[pair].level_bits(now_s) for pair in pairs)


def _name(kind: str, pair: Pair) -> str:
    return " ".join((kind, *map(quote, pair)))
