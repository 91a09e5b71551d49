"""Relaying over three KMEs in one process, to be killed at a named point: python relay_kill_worker.py FOLDER.

Writes a JSON line for every answer that somebody outside was given.
"""

import asyncio
import hashlib
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from node.keys.records import BlockRole, IssuedKey, StoreLimits
from node.keys.relay_frame import pieces_of
from node.keys.relay_source import Delivery, Route
from node.keys.relay_store import RelayStore
from node.keys.store import KeyStore, open_store
from qnetem.runtime import crashpoint

PATH = ("a", "b", "c")
ROUTE = Route("c", ("app-c",), (PATH,))


def tell(event: str, key: IssuedKey) -> None:
    digest = hashlib.sha256(key.key.reveal()).hexdigest()
    sys.stdout.write(json.dumps({"event": event, "key_id": key.key_id, "digest": digest}) + "\n")
    sys.stdout.flush()


async def link(near: str, giver: KeyStore, far: str, taker: KeyStore) -> None:
    secret, link_id = os.urandom(2048), f"{near}-{far}"
    await taker.prepare(link_id, link_id, near, secret, 16384, BlockRole.RECEIVER)
    await giver.prepare(link_id, link_id, far, secret, 16384, BlockRole.TRANSMITTER)
    await giver.commit(link_id)
    await taker.commit(link_id)
    await giver.confirm(link_id)


async def run(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        limits = StoreLimits(key_lifetime_s=1e9, tombstone_s=1e9)
        stores = {name: await stack.enter_async_context(open_store(folder / name / "keys.db", limits)) for name in PATH}
        relays = {name: RelayStore(store, name) for name, store in stores.items()}
        a, b, c = (relays[name] for name in PATH)
        for near, far in (("a", "b"), ("b", "c")):
            await link(near, stores[near], far, stores[far])
        crashpoint.arm(folder)

        async def through(delivery: Delivery) -> str:
            [sent] = delivery.transfers
            onward = (await b.arrive(sent.request)).onward
            assert onward is not None
            await c.arrive(onward)
            return sent.transfer_id

        for index in range(2):
            delivery = await a.open_keys("app-a", [], [ROUTE], 2, 256)
            done = await through(delivery)
            keys = await a.release(delivery.delivery_id, [done])
            for key in keys:
                tell("delivered", key)
            await b.settle([done])
            if index == 0:
                for key in await stores["c"].collect("app-c", "app-a", [keys[0].key_id]):
                    tell("collected", key)
        block = await a.open_block(PATH, 1024)
        await a.release(block.delivery_id, [await through(block)])

        await a.forget_tag_key("b", pieces_of(block.transfers[0].request.tag_key))
        lost = await a.open_keys("app-a", [], [ROUTE], 1, 256)
        await through(lost)
        await a.abandon(lost.delivery_id, "test")
        stuck = await a.open_keys("app-a", [], [ROUTE], 1, 256)
        await b.arrive(stuck.transfers[0].request)
        await a.abandon(stuck.delivery_id, "test")
        await b.give_up_pad(stuck.transfers[0].transfer_id)
        for near, far in (("a", "b"), ("b", "c")):
            burns = await relays[near].pending_burns(far, 9)
            await relays[far].burn(near, burns)
            await relays[near].confirm_burns([one.transfer_id for one in burns])
        voids = await a.pending_voids("c", 9)
        await c.void("a", voids)
        await a.confirm_voids(voids)
        await b.sweep(0.0)
    sys.stdout.write(json.dumps({"event": "end"}) + "\n")


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
