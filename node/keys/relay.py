"""node.keys.relay: relaying keys, as their source: open, send, release; or give up, and take another path. Edge: gRPC.

An attempt that fails is given up for good, its keys with it; the next attempt makes new keys. Only where no other path
is left are the same bytes sent again until the deadline.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from node.keys.hybrid import Agreed
from node.keys.records import BlockPendingError, IssuedKey, PoolExhaustedError
from node.keys.relay_courier import Courier, NoRouteError
from node.keys.relay_hops import Hops, Outcome
from node.keys.relay_paths import RelayPath
from node.keys.relay_source import Delivery, Route, Sent
from node.keys.relay_store import RelayStore
from node.keys.relay_times import Usual
from qnetem.runtime.errors import ConflictError, QnetemError, UnavailableError
from qnetem.runtime.log import get_logger

__all__ = ["Relay", "RelayWish"]

_T = TypeVar("_T")
_OTHER_BITS_ROUNDS: Final = 4
_log = get_logger("node.keys.relay")


@dataclass(frozen=True, slots=True)
class RelayWish:
    """How keys are to be relayed.

    Attributes:
        share_count: Each key goes in so many shares over paths that share no middle node: all of those relays together
            learn it, fewer learn nothing. 1: whole.
        allowed_relays: The nodes that may relay it; None: any.
        lifetime_s: Emulated; None: as the store's limits say.
        agreed: They are hybrid: a secret, and the shares of the targets.
        is_held: As of policy.Terms.
    """

    share_count: int = 1
    allowed_relays: frozenset[str] | None = None
    lifetime_s: float | None = None
    agreed: Agreed | None = None
    is_held: bool = False


@dataclass
class _Attempts:
    """What was tried for one request."""

    bits: int
    deadline_s: float
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        return self.deadline_s - time.monotonic()

    @property
    def is_stubborn(self) -> bool:
        """Whether other bits were tried often enough."""
        return sum(one.wants_other_bits for one in self.outcomes) >= _OTHER_BITS_ROUNDS

    def error(self, targets: Collection[str], asked: str) -> QnetemError:
        """Return what to raise when nothing is left to try."""
        names = ", ".join(sorted(targets))
        last = self.outcomes[-1] if self.outcomes else None
        if last is None:
            return NoRouteError(f"no route to KME {names}: stored 0 keys, asked {asked}")
        if all(one.is_dry for one in self.outcomes):
            return PoolExhaustedError(
                f"not enough key material on the way to KME {names}: stored 0 keys, asked {asked}"
                f" (the hop {' to '.join(last.hop)} has not enough)"
            )
        where = f" ({last.reason} between {last.hop[0]} and {last.hop[1]})" if last.hop[0] else f" ({last.reason})"
        return UnavailableError(f"keys were not relayed to KME {names}{where}")


class Relay:
    """Relays from one KME."""

    def __init__(self, relays: RelayStore, hops: Hops, courier: Courier) -> None:
        """Send what `relays` opens; the paths are the courier's."""
        self._relays = relays
        self._hops = hops
        self._courier = courier
        self.book: Final = courier.book
        # by path: how long what went through took
        self._usual: dict[tuple[str, ...], Usual] = {}

    def paths(self, target: str, wish: RelayWish = RelayWish()) -> list[RelayPath]:
        """Return the paths to a target over relays as they are wished for, in the order to try them."""
        known = self.book.paths(target, time.monotonic(), wish.allowed_relays)
        return [path for path in known if path.relays]

    def has_detour(self, target: str, wish: RelayWish = RelayWish()) -> bool:
        """Return whether a sound path to a target over relays is known."""
        now_s = time.monotonic()
        return any(self.book.is_sound(path, now_s) for path in self.paths(target, wish))

    async def issue(
        self,
        master_sae_id: str,
        local_saes: Sequence[str],
        remote_saes: Mapping[str, Sequence[str]],
        number: int,
        size_bits: int,
        wish: RelayWish = RelayWish(),
    ) -> list[IssuedKey]:
        """Return new keys for a master attached here, which every slave's KME holds by then.

        Args:
            master_sae_id: Who asks.
            local_saes: The slaves that are attached here.
            remote_saes: The others, by their node; at least one.
            number: How many keys.
            size_bits: Of each; a multiple of 8.
            wish: How.

        Raises:
            NoRouteError: There is no path to a target.
            PoolExhaustedError: Hops on every path have less than it takes.
            UnavailableError: No attempt went through in time; its keys are void.
            StorageError: The store cannot be written.
        """

        async def opened(paths: Mapping[str, Sequence[RelayPath]]) -> Delivery:
            routes = [
                Route(target, tuple(saes), tuple(path.nodes for path in paths[target]))
                for target, saes in remote_saes.items()
            ]
            return await self._relays.open_keys(
                master_sae_id, local_saes, routes, number, size_bits, wish.lifetime_s, wish.agreed
            )

        asked = f"{number} of {size_bits} bits"
        return await self._deliver(remote_saes, wish, opened, number * size_bits, asked)

    async def fill(self, target: str, size_bits: int) -> None:
        """Add a block of fresh bits to the pool shared with a target; half of it is each end's to give.

        Raises:
            QnetemError: As issue.
        """

        async def opened(paths: Mapping[str, Sequence[RelayPath]]) -> Delivery:
            return await self._relays.open_block(paths[target][0].nodes, size_bits)

        await self._deliver([target], RelayWish(), opened, size_bits, f"{size_bits} bits")

    async def _deliver(
        self,
        targets: Collection[str],
        wish: RelayWish,
        opened: Callable[[Mapping[str, Sequence[RelayPath]]], Awaitable[Delivery]],
        bits: int,
        asked: str,
    ) -> list[IssuedKey]:
        attempts = _Attempts(bits, time.monotonic() + self._courier.times.total_s)
        pause_s = self._courier.times.retry_s
        while True:
            now_s = time.monotonic()
            paths = {t: self.book.choice(t, wish.share_count, now_s, wish.allowed_relays) for t in targets}
            missing = [target for target, chosen in paths.items() if not chosen]
            if missing:
                raise NoRouteError(f"no route to KME {', '.join(sorted(missing))}: stored 0 keys, asked {asked}")
            outcome, keys = await self._attempt(paths, wish, opened, attempts)
            if outcome is None:
                return keys
            attempts.outcomes.append(outcome)
            _log.warning("relay.attempt.failed", targets=sorted(targets), reason=outcome.reason, hop=list(outcome.hop))
            is_fresh = self._has_sound(targets, wish)
            # a refusal is the same again, and has cost the hops before it
            is_final = (outcome.is_refused and not outcome.is_silent and not is_fresh) or attempts.is_stubborn
            if attempts.left_s < self._courier.times.attempt_s or is_final:
                raise attempts.error(targets, asked)
            if not is_fresh:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                pause_s *= 2

    def _has_sound(self, targets: Collection[str], wish: RelayWish) -> bool:
        """Return whether every target has paths left that no suspect hop is on."""
        now_s = time.monotonic()
        chosen = [self.book.choice(t, wish.share_count, now_s, wish.allowed_relays) for t in targets]
        return all(paths and all(self.book.is_sound(path, now_s) for path in paths) for paths in chosen)

    def _has_other(self, paths: Mapping[str, Sequence[RelayPath]], wish: RelayWish) -> bool:
        """Return whether every target has a sound path beside those that are tried."""
        now_s = time.monotonic()
        return all(self.book.has_other(t, chosen, now_s, wish.allowed_relays) for t, chosen in paths.items())

    async def _attempt(
        self,
        paths: Mapping[str, Sequence[RelayPath]],
        wish: RelayWish,
        opened: Callable[[Mapping[str, Sequence[RelayPath]]], Awaitable[Delivery]],
        attempts: _Attempts,
    ) -> tuple[Outcome | None, list[IssuedKey]]:
        """Try once with fresh keys: None and the keys, or why it failed. What failed is void by then."""
        # before a bit is spent: what failed lately is asked whether it is back
        for path in (path for chosen in paths.values() for path in chosen):
            failure = await self._trouble(path, attempts.bits)
            if failure is not None:
                return failure, []
        firsts = sorted({path.nodes[1] for chosen in paths.values() for path in chosen})
        for neighbour, failed in zip(firsts, await _all([self._hops.ready(one) for one in firsts]), strict=True):
            if isinstance(failed, NoRouteError):
                outcome = Outcome(False, True, failed.reason, (self._courier.own_node, neighbour))
                self._hops.learn(outcome, attempts.bits)
                return outcome, []
            if isinstance(failed, BaseException):
                raise failed
        try:
            delivery = await opened(paths)
        except PoolExhaustedError as error:
            outcome = Outcome(False, True, error.reason, (self._courier.own_node, _named(error, firsts)))
            self._hops.learn(outcome, attempts.bits)
            return outcome, []
        round_trips = {path.nodes: path.round_trip_s for chosen in paths.values() for path in chosen}
        try:
            ended = await asyncio.gather(
                *(self._sent(one, round_trips[one.path], paths, wish, attempts) for one in delivery.transfers)
            )
        except BaseException:
            # whoever asked has gone, or an error nobody foresaw: void before it is forgotten
            await asyncio.shield(self._give_up(delivery, "interrupted", {}))
            raise
        outcomes = {one.transfer_id: outcome for one, outcome in zip(delivery.transfers, ended, strict=True)}
        failure = next((outcome for outcome in ended if not outcome.is_acknowledged), None)
        if failure is None:
            for chosen in paths.values():
                for path in chosen:
                    self.book.trust_path(path)
            try:
                return None, await self._relays.release(delivery.delivery_id, outcomes, is_held=wish.is_held)
            except ConflictError as error:  # the store gave it up as too old
                failure = Outcome(False, False, error.reason, ("", ""))
        await self._give_up(delivery, failure.reason, outcomes)
        return failure, []

    async def _trouble(self, path: RelayPath, bits: int) -> Outcome | None:
        """Return why a path is no use now, as far as can be known without spending anything."""
        now_s = time.monotonic()
        dry = self.book.dry_hop(path, bits, now_s)
        if dry is not None:
            return Outcome(False, True, PoolExhaustedError.reason, dry)
        if self.book.is_sound(path, now_s) or await self._courier.ping(path):
            return None
        return Outcome(False, True, NoRouteError.reason, ("", ""))

    async def _sent(
        self,
        one: Sent,
        round_trip_s: float,
        paths: Mapping[str, Sequence[RelayPath]],
        wish: RelayWish,
        attempts: _Attempts,
    ) -> Outcome:
        """Send one transfer until it is acknowledged, refused, or better given up."""
        times = self._courier.times
        pause_s, is_first = times.retry_s, True
        usual = self._usual.setdefault(one.path, Usual())
        while True:
            usual_s = max(times.attempt_s, usual.limit_s)
            if self._has_other(paths, wish):
                usual_s = min(usual_s, times.detour_s)
            timeout_s = max(times.hop_s, min(usual_s + 3 * round_trip_s, attempts.left_s))
            started_s = time.monotonic()
            outcome = await self._hops.attempt(one.path[1], one.request, timeout_s, is_first=is_first)
            self._hops.learn(outcome, attempts.bits)
            if outcome.is_acknowledged:
                usual.note(time.monotonic() - started_s)
            if outcome.is_acknowledged or outcome.is_refused:
                return outcome
            is_first = False
            if attempts.left_s < pause_s:
                return outcome
            is_pending = outcome.reason == BlockPendingError.reason
            if not is_pending and self._has_sound(paths, wish):
                return outcome
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s *= 2

    async def _give_up(self, delivery: Delivery, reason: str, outcomes: Mapping[str, Outcome]) -> None:
        acknowledged = {key for key, outcome in outcomes.items() if outcome.is_acknowledged}
        refused = {key for key, outcome in outcomes.items() if outcome.is_refused}
        await self._relays.abandon(delivery.delivery_id, reason, acknowledged, refused)
        await self._hops.to_burn([one.path[1] for one in delivery.transfers if one.transfer_id not in acknowledged])


async def _all(waiting: Sequence[Awaitable[_T]]) -> list[_T | BaseException]:
    return await asyncio.gather(*waiting, return_exceptions=True)


def _named(error: QnetemError, neighbours: Sequence[str]) -> str:
    """Return which of the neighbours an exhausted pool is shared with."""
    return next((one for one in neighbours if f"KME {one}:" in str(error)), neighbours[0])
