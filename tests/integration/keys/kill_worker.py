"""The key pipeline of two KMEs in one process, to be killed at a named point: python kill_worker.py FOLDER.

Writes a JSON line for every answer that somebody outside was given.
"""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

from node.keys.records import BlockRole, IssuedKey, StoreLimits
from node.keys.store import open_store
from qnetem.runtime import crashpoint
from qnetem.runtime.storage_key_file import make_storage_key

PRESHARED = bytes(range(256)) * 2


def tell(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def digest(key: IssuedKey) -> str:
    return hashlib.sha256(key.key.reveal()).hexdigest()


async def run(folder: Path) -> None:
    now = [1000.0]
    limits = StoreLimits(key_lifetime_s=100)
    async with (
        open_store(folder / "alice" / "keys.db", limits, now_s=lambda: now[0]) as alice,
        open_store(folder / "bob" / "keys.db", limits, now_s=lambda: now[0]) as bob,
    ):
        crashpoint.arm(folder)
        tell("incarnation", value=await alice.next_incarnation())
        tell("pulses", first=await alice.reserve_blocks("alice-bob", 10), count=10)
        await alice.audit.record("key.refused", party="app-1", call="enc_keys", reason="DENIED")
        # no block is there yet: pads come from what was shared beforehand
        for store, peer, role in ((bob, "alice", BlockRole.RECEIVER), (alice, "bob", BlockRole.TRANSMITTER)):
            await store.authentication.install("alice-bob", peer, role, 0, PRESHARED, is_shared=True)
        for _ in range(2):
            pad = await alice.authentication.take_pad("bob", 256, "alice-bob")
            [piece] = pad.pieces
            tell("pad", offset_bits=piece.offset_bits, digest=hashlib.sha256(pad.value).hexdigest())
            claimed = await bob.authentication.claim_pad("alice", pad.pieces, 256, "alice-bob")
            tell("claimed", offset_bits=piece.offset_bits, digest=hashlib.sha256(claimed).hexdigest())
        for name in ("b1", "b2", "b3"):
            secret = os.urandom(256)
            await bob.prepare(name, "alice-bob", "alice", secret, 2048, BlockRole.RECEIVER)
            await alice.prepare(name, "alice-bob", "bob", secret, 2048, BlockRole.TRANSMITTER)
            await alice.commit(name)
            await bob.commit(name)
            await alice.confirm(name)
        await bob.prepare("b4", "alice-bob", "alice", bytes(range(128)), 1024, BlockRole.RECEIVER)
        await bob.abort("b4")
        await alice.quarantine("b3")
        await bob.quarantine("b3")

        for master, slave, sae, other, node in (
            (alice, bob, "app-1", "app-2", "bob"),
            (bob, alice, "app-2", "app-1", "alice"),
        ):
            own = "alice" if node == "bob" else "bob"
            for _ in range(2):
                reserved = await master.reserve(sae, [], node, 2, 256)
                ids = [key.key_id for key in reserved]
                await slave.assign(own, sae, [other], reserved)
                for key in await master.deliver(ids):
                    tell("delivered", key_id=key.key_id, digest=digest(key), master=sae, at=own)
                for key in await slave.collect(other, sae, ids[:1]):
                    tell("collected", key_id=key.key_id, digest=digest(key), at=node)
        given_up = await alice.reserve("app-1", [], "bob", 1, 64)
        await bob.assign("alice", "app-1", ["app-2"], given_up)
        await alice.void([given_up[0].key_id])
        await bob.void_assigned("alice", given_up)
        await alice.confirm_voids([given_up[0].key_id])
        uncollected = await alice.reserve("app-1", [], "bob", 1, 64)
        await bob.assign("alice", "app-1", ["app-2"], uncollected)
        for key in await alice.deliver([uncollected[0].key_id]):
            tell("delivered", key_id=key.key_id, digest=digest(key), master="app-1", at="alice")
        make_storage_key(folder / "bob" / "keys.db.key.next")
        await bob.rotate_storage_key()
        now[0] += 60
        await bob.sweep()
    tell("end")


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
