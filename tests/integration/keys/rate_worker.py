"""A pair takes all that its policy grants, to be killed at a named point: python rate_worker.py FOLDER EMULATED_S.

Writes a line with its id for every key that the master was given, and then why it was refused.
"""

import asyncio
import sys
from pathlib import Path

from node.keys.directory import Directory
from node.keys.etsi014_request import EncRequest
from node.keys.key_delivery import KeyDelivery
from node.keys.policy import Policies, Policy
from node.keys.relaying import Relaying
from node.keys.store import open_store
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import UnavailableError

RATE_HZ, BURST_BITS, KEY_BITS = 1000.0, 1024, 128


async def run(folder: Path, emulated_s: float) -> None:
    policies = Policies([(frozenset(("app-1", "app-1b")), Policy(max_secret_hz=RATE_HZ, burst_bits=BURST_BITS))])
    directory = Directory("metro", "alice", {"app-1": "alice", "app-1b": "alice"}, frozenset())
    async with open_store(folder / "keys.db", emulated_s=lambda: emulated_s) as store:
        relaying = Relaying.of(store, directory, lambda node: None)
        delivery = KeyDelivery(store, relaying.exchange, directory, policies=policies, emulated_s=lambda: emulated_s)
        crashpoint.arm(folder)
        while True:
            try:
                [key] = await delivery.enc_keys("app-1", EncRequest(1, KEY_BITS, ("app-1b",)))
            except UnavailableError as error:
                print(error.reason, flush=True)
                return
            print(key.key_id, flush=True)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), float(sys.argv[2])))
