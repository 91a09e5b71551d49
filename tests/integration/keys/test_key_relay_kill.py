"""kill -9 at every named crash point of relaying, then what the three stores hold."""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from node.keys.records import KeysNotFoundError, NotNamedError, StoreLimits
from node.keys.relay_conservation import imbalances
from node.keys.relay_store import RelayStore
from node.keys.store import KeyStore, open_store
from qnetem.runtime import crashpoint

WORKER = Path(__file__).with_name("relay_kill_worker.py")
POINTS = [name for name in crashpoint.names() if name.startswith("relay.")]
# at the middle node, at the target; the second delivery
CASES = (
    POINTS
    + [f"relay.arrive.{when}:{nth}" for when in ("before", "after") for nth in (2, 3)]
    + ["relay.release.after:2"]
)


def run_worker(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(WORKER), str(folder)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES)
async def test_killed_at(tmp_path: Path, case: str) -> None:
    (tmp_path / "crash-at").write_text(case)
    ran = await asyncio.to_thread(run_worker, tmp_path)
    assert ran.returncode == -signal.SIGKILL, f"{case} was not reached: {ran.stderr}"
    told: dict[str, dict[str, str]] = {"delivered": {}, "collected": {}}
    for line in map(json.loads, ran.stdout.splitlines()):
        told[line["event"]][line["key_id"]] = line["digest"]
    async with AsyncExitStack() as stack:
        limits = StoreLimits(key_lifetime_s=1e9, tombstone_s=1e9)
        stores = {
            name: await stack.enter_async_context(open_store(tmp_path / name / "keys.db", limits)) for name in "abc"
        }
        relays = {name: RelayStore(store, name) for name, store in stores.items()}
        for one in relays.values():
            await one.start()
        await relays["b"].sweep(0.0)  # as after a minute without a word
        for near, far in (("a", "b"), ("b", "c")):
            burns = await relays[near].pending_burns(far, 99)
            if burns:
                await relays[far].burn(near, burns)
                await relays[near].confirm_burns([burn.transfer_id for burn in burns])
        voids = await relays["a"].pending_voids("c", 99)
        if voids:
            await relays["c"].void("a", voids)
            await relays["a"].confirm_voids(voids)
        for one in relays.values():
            assert not await one.in_flight()
            assert not await one.peers_to_burn()
            assert not await one.targets_to_void()

        # every key that its master was given is there once, and equal; the collection that was cut may have cost one
        lost = 0
        for key_id, digest in told["delivered"].items():
            if key_id in told["collected"]:
                assert told["collected"][key_id] == digest
                with pytest.raises(KeysNotFoundError):
                    await stores["c"].collect("app-c", "app-a", [key_id])
                continue
            try:
                [key] = await stores["c"].collect("app-c", "app-a", [key_id])
            except KeysNotFoundError:
                lost += 1
                continue
            assert hashlib.sha256(key.key.reveal()).hexdigest() == digest
        assert lost == 0
        await check_that_nothing_else_is_given(stores["c"], told["delivered"])
        pools = {name: await store.pools() for name, store in stores.items()}
        assert imbalances(pools, is_settled=False) == []
        # a block that was held and then voided is quarantined at its target, and unknown at its source
        links = {name: [pool for pool in ones if {name, pool.peer_node} != {"a", "c"}] for name, ones in pools.items()}
        assert imbalances(links, is_settled=True) == []


async def check_that_nothing_else_is_given(store: KeyStore, delivered: dict[str, str]) -> None:
    """What the master was not told of is not there, but for keys whose release was durable and its answer lost."""
    rows = await store.run(
        None, lambda db: db.execute("SELECT key_id FROM keys WHERE state = 'assigned' AND is_master = 0").fetchall()
    )
    unknown = {key_id for (key_id,) in rows} - delivered.keys()
    assert len(unknown) in (0, 2)  # those of one release
    for key_id in unknown:
        with pytest.raises(NotNamedError):
            await store.collect("app-x", "app-a", [key_id])


async def test_the_worker_reaches_its_end_when_nobody_kills_it(tmp_path: Path) -> None:
    ran = await asyncio.to_thread(run_worker, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {"event": "end"}


async def test_the_conservation_of_a_store_that_lost_bits_is_seen(tmp_path: Path) -> None:
    """Planted: one pool forgets what it relayed; one end has given bits that the other does not know of."""
    ran = await asyncio.to_thread(run_worker, tmp_path)
    assert ran.returncode == 0, ran.stderr
    for planted in (
        "relayed_bits = relayed_bits - 8",
        "peer_available_bits = peer_available_bits + 8, made_bits = made_bits + 8",
    ):
        async with AsyncExitStack() as stack:
            stores = {name: await stack.enter_async_context(open_store(tmp_path / name / "keys.db")) for name in "abc"}

            async def found() -> list[str]:
                pools = {name: await store.pools() for name, store in stores.items()}  # noqa: B023
                return imbalances(pools, is_settled=True)

            assert await found() == []
            await stores["b"].run(None, lambda db: db.execute(f"UPDATE pools SET {planted} WHERE peer_node = 'a'"))  # noqa: S608, B023
            assert await found() != []
            back = planted.translate(str.maketrans("+-", "-+"))
            await stores["b"].run(None, lambda db: db.execute(f"UPDATE pools SET {back} WHERE peer_node = 'a'"))  # noqa: S608, B023
