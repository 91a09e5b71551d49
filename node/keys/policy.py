"""node.keys.policy: what pairs of SAEs may have, and what a request gets of it. Pure.

A pair is a master and a slave; a policy holds in both directions, and each direction counts for itself, at the KME of
its master. What no policy names has the default one: no limits, QKD keys, refused when the pool is dry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = ["DEFAULT_POLICY", "DEFAULT_TERMS", "KeyMode", "Policies", "Policy", "Terms", "WhenDry", "terms_of"]


class KeyMode(StrEnum):
    """What a key is made of. PQC keys are given only where a policy lets them take the place of others."""

    QKD = "qkd"
    HYBRID = "hybrid"
    PQC = "pqc"


class WhenDry(StrEnum):
    """What becomes of a request that the pool cannot meet."""

    REFUSE = "refuse"
    PQC = "pqc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Of one pair.

    Attributes:
        name: How it is told of: "app-1/app-2", or "default".
        min_secret_hz: Bits a second, emulated, that other pairs leave to this one.
        max_secret_hz: Bits a second that it gets at most; 0: no limit.
        burst_bits: That it may take at once within the maximum; 0: see `max_burst_bits`.
        priority: Pairs of a higher one are not held back by what this one is left.
        key_lifetime_s: Emulated seconds; None: as the KME's own rule says.
        allowed_relays: Middle nodes that its keys may pass; None: all.
        mode: QKD or HYBRID.
        when_dry: What becomes of a request that the pool cannot meet.
    """

    name: str = "default"
    min_secret_hz: float = 0.0
    max_secret_hz: float = 0.0
    burst_bits: int = 0
    priority: int = 0
    key_lifetime_s: float | None = None
    allowed_relays: frozenset[str] | None = None
    mode: KeyMode = KeyMode.QKD
    when_dry: WhenDry = WhenDry.REFUSE

    def max_burst_bits(self, longest_key_bits: int) -> float:
        """Return what may be taken at once: as said, else a second's worth and no less than the longest key."""
        return self.burst_bits or max(self.max_secret_hz, longest_key_bits)


DEFAULT_POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the keys of one request, all its pairs taken together; of conflicting ones, the stricter.

    Attributes:
        mode: QKD or HYBRID.
        key_lifetime_s: The shortest; None: as the KME's own rule says.
        allowed_relays: What all allow; None: any node.
        is_pqc_allowed: All let PQC keys take the place of others when the pool is dry.
        is_held: The master is not handed the keys now: it is one of the slaves, and collects them as these do.
    """

    mode: KeyMode = KeyMode.QKD
    key_lifetime_s: float | None = None
    allowed_relays: frozenset[str] | None = None
    is_pqc_allowed: bool = False
    is_held: bool = False


DEFAULT_TERMS: Final = Terms()


class Policies:
    """The policies that one KME applies."""

    __slots__ = ("_by_pair", "_other")

    def __init__(self, by_pair: Iterable[tuple[frozenset[str], Policy]] = (), other: Policy = DEFAULT_POLICY) -> None:
        """Hold policies by the two SAEs of a pair; `other` for all other pairs.

        Raises:
            BadInputError: A pair has two policies, or is none.
        """
        self._by_pair: dict[frozenset[str], Policy] = {}
        self._other = other
        for pair, policy in by_pair:
            if len(pair) != 2 or pair in self._by_pair:
                raise BadInputError(f"policy {policy.name}: names no pair of SAEs, or one that has a policy")
            self._by_pair[pair] = policy

    def of(self, master_sae_id: str, slave_sae_id: str) -> Policy:
        """Return what holds for a pair."""
        return self._by_pair.get(frozenset((master_sae_id, slave_sae_id)), self._other)

    def named(self) -> list[tuple[frozenset[str], Policy]]:
        """Return the pairs that have a policy of their own."""
        return list(self._by_pair.items())


def terms_of(policies: Sequence[Policy]) -> Terms:
    """Return the terms of a request that is under all these policies (at least one)."""
    lifetimes = [policy.key_lifetime_s for policy in policies if policy.key_lifetime_s is not None]
    bounds = [policy.allowed_relays for policy in policies if policy.allowed_relays is not None]
    return Terms(
        mode=KeyMode.HYBRID if any(policy.mode is KeyMode.HYBRID for policy in policies) else KeyMode.QKD,
        key_lifetime_s=min(lifetimes, default=None),
        allowed_relays=frozenset.intersection(*bounds) if bounds else None,
        is_pqc_allowed=all(policy.when_dry is WhenDry.PQC for policy in policies),
    )
