"""Hybrid and PQC keys between two KMEs in one process, to be killed at a named point: python hybrid_worker.py FOLDER.

Writes a JSON line for every key that its master was given.
"""

import asyncio
import hashlib
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from node.keys.agreement import AgreementDesk
from node.keys.directory import Directory
from node.keys.hybrid_keys import HybridKeys
from node.keys.kem import Kem
from node.keys.policy import Terms
from node.keys.records import BlockRole
from node.keys.store import KeyStore, open_store
from qnetem.runtime import crashpoint, identity, pki, rpc

PLACES = {"app-1": "alice", "app-2": "bob"}


class DirectCourier:
    """Hands a message to the other KME, as the wire would, and its answer back."""

    def __init__(self, own_node: str, desks: dict[str, AgreementDesk]) -> None:
        self.own_node = own_node
        self.desks = desks

    async def ask(self, target: str, message: Any, timeout_s: float | None = None) -> Any:
        """Return the answer of the other's desk."""
        asked = type(message).FromString(message.SerializeToString())
        return await self.desks[target].answer(self.own_node, asked)


async def run(folder: Path) -> None:
    """Give two hybrid keys and two of ML-KEM alone."""
    authority = pki.create_authority("metro")
    desks = {node: AgreementDesk() for node in ("alice", "bob")}
    stores: dict[str, KeyStore] = {}
    keys: dict[str, HybridKeys] = {}
    kems: dict[str, Kem] = {}
    async with AsyncExitStack() as stack:
        for node in desks:
            issued = authority.issue(identity.uri("metro", "node", node))
            credentials = rpc.Credentials(issued.certificate, issued.key, authority.pem.certificate)
            stores[node] = await stack.enter_async_context(open_store(folder / node / "keys.db", now_s=lambda: 1000.0))
            directory = Directory("metro", node, PLACES, frozenset(desks) - {node})
            kems[node] = Kem("metro", credentials)
            courier: Any = DirectCourier(node, desks)
            keys[node] = HybridKeys(stores[node], directory, kems[node], courier, desks[node])
        secret = os.urandom(256)
        await stores["bob"].prepare("b1", "alice-bob", "alice", secret, 2048, BlockRole.RECEIVER)
        await stores["alice"].prepare("b1", "alice-bob", "bob", secret, 2048, BlockRole.TRANSMITTER)
        for node in ("alice", "bob"):
            await stores[node].commit("b1")
        await stores["alice"].confirm("b1")
        crashpoint.arm(folder)
        agreed = await keys["alice"].agreed("app-1", ["bob"])
        reserved = await stores["alice"].reserve("app-1", [], "bob", 2, 256)
        ids = [key.key_id for key in reserved]
        await stores["alice"].hold_agreed(ids, agreed.secret)
        await stores["bob"].hold_agreed(ids, kems["bob"].opened(agreed.shares["bob"], "alice", "app-1"))
        await stores["bob"].assign("alice", "app-1", ["app-2"], reserved)
        given = await stores["alice"].deliver(ids)
        given += await keys["alice"].issue_pqc("app-1", ["app-2"], 2, 128, Terms())
        for key in given:
            digest = hashlib.sha256(key.key.reveal()).hexdigest()
            sys.stdout.write(json.dumps({"key_id": key.key_id, "digest": digest, "mode": key.mode}) + "\n")
        sys.stdout.write("end\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
