"""node.keys.relaying: what a KME needs to give keys to KMEs near and far, put together. Wiring."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio

from node.keys.directory import Directory
from node.keys.exchange import ExchangeTimes, KeyExchange
from node.keys.exchange_servicer import KeyExchangeServicer
from node.keys.kem import Kem
from node.keys.relay import Relay
from node.keys.relay_courier import Courier
from node.keys.relay_hops import Hops
from node.keys.relay_paths import PathBook
from node.keys.relay_prefill import Marks, Prefill
from node.keys.relay_servicer import Answer, KeyRelayServicer
from node.keys.relay_store import RelayStore
from node.keys.relay_times import RelayTimes
from node.keys.relay_upkeep import RelayUpkeep
from node.keys.store import KeyStore

__all__ = ["Relaying"]


@dataclass(frozen=True, slots=True)
class Relaying:
    """The parts.

    Attributes:
        book: The paths.
        courier: Asks other KMEs, near or far.
        relays: Transfers in the store. `start` it before anything is served.
        relay: Relays as source.
        exchange: Issues keys; its `run` is a task of the KME.
        exchange_servicer, relay_servicer: For the peer listener.
        upkeep: Its `run` is a task of the KME.
        prefill: Its `run` is a task of the KME that is to keep pools with far ones.
    """

    book: PathBook
    courier: Courier
    relays: RelayStore
    relay: Relay
    exchange: KeyExchange
    exchange_servicer: KeyExchangeServicer
    relay_servicer: KeyRelayServicer
    upkeep: RelayUpkeep
    prefill: Prefill

    @classmethod
    def of(
        cls,
        store: KeyStore,
        directory: Directory,
        channel: Callable[[str], grpc.aio.Channel | None],
        *,
        is_relay: bool = False,
        relay_nodes: Collection[str] = (),
        share_count: int = 1,
        answers: Mapping[str, Answer] | None = None,
        kem: Kem | None = None,
        prefills: Mapping[str, Marks] | None = None,
        times: RelayTimes = RelayTimes(),  # noqa: B008 frozen
        exchange_times: ExchangeTimes = ExchangeTimes(),  # noqa: B008 frozen
        now_s: Callable[[], float] = time.time,
        emulated_s: Callable[[], float] | None = None,
        insecure_hops: Collection[frozenset[str]] = (),
    ) -> "Relaying":
        """Put the parts together.

        Args:
            store: Open.
            directory: Who is where.
            channel: The channel to a neighbour's peer listener; None while there is none.
            is_relay: This node passes keys of others on.
            relay_nodes: The neighbours that do.
            share_count: Keys for other KMEs go in so many shares.
            answers: Who answers further messages that are carried here, by their names in CarryRequest.
            kem: Opens what hybrid keys come with; None: there are none.
            prefills: Pools with far KMEs that are kept filled, by node.
            times: Deadlines of relaying.
            exchange_times: Deadlines of assignments.
            now_s: Wall clock, seconds.
            emulated_s: Emulated time, seconds; None: as `now_s`.
            insecure_hops: As of RelayStore.
        """
        own_node = directory.own_node
        book = PathBook(own_node, directory.neighbours)
        courier = Courier(own_node, channel, book, times)
        relays = RelayStore(store, own_node, now_s, emulated_s, insecure_hops)
        hops = Hops(store, relays, courier)
        relay = Relay(relays, hops, courier)
        prefill = Prefill(store, relay, prefills or {})
        exchange_servicer = KeyExchangeServicer(store, directory, kem)
        all_answers: dict[str, Any] = {
            "assign_keys": exchange_servicer.assign,
            "void_keys": exchange_servicer.void,
            **(answers or {}),
        }
        relay_servicer = KeyRelayServicer(
            directory,
            relays,
            hops,
            courier,
            all_answers,
            exchange_servicer.hold_agreed,
            is_relay=is_relay,
            relay_nodes=relay_nodes,
        )
        return cls(
            book=book,
            courier=courier,
            relays=relays,
            relay=relay,
            exchange=KeyExchange(store, directory, courier, relay, exchange_times, share_count, prefill.asked),
            exchange_servicer=exchange_servicer,
            relay_servicer=relay_servicer,
            upkeep=RelayUpkeep(relays, hops, courier, relay_servicer),
            prefill=prefill,
        )
