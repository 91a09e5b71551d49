"""Hybrid keys and keys of ML-KEM alone: both ends the same, marked, over links and relays; kills and forgeries."""

import asyncio
import base64
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import node.keys.hybrid_keys  # noqa: F401 declares the crash points
from node.keys.hybrid import hybrid_key
from node.keys.kem import Kem, KemUnknownError
from node.keys.policy import KeyMode, Policies, Policy, WhenDry
from node.keys.records import KeysNotFoundError, PoolExhaustedError
from node.keys.store import open_store
from qnetem.runtime import crashpoint, identity, pki, rpc
from qnetem.runtime.errors import ConflictError, DeniedError
from qnetem.v1 import key_agreement_pb2 as pb

WORKER = Path(__file__).with_name("hybrid_worker.py")
POINTS = [name for name in crashpoint.names() if name.startswith("hybrid.")]
HYBRID = Policies(other=Policy(mode=KeyMode.HYBRID))
PQC_WHEN_DRY = Policies(other=Policy(when_dry=WhenDry.PQC))


async def enc(kmes: Any, master: str, slave: str, node: str = "alice", **body: Any) -> tuple[int, dict[str, Any]]:
    async with kmes.sae(master).post(kmes.url(node, f"/api/v1/keys/{slave}/enc_keys"), json=body) as response:
        return response.status, await response.json()


async def dec(kmes: Any, slave: str, master: str, keys: list[dict[str, Any]], node: str = "bob") -> Any:
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    async with kmes.sae(slave).post(kmes.url(node, f"/api/v1/keys/{master}/dec_keys"), json=body) as response:
        return response.status, await response.json()


async def test_both_ends_derive_the_same_key_and_mark_it(open_kmes: Any) -> None:
    async with open_kmes(policies=HYBRID) as kmes:
        await kmes.add_block("alice", "bob")
        status, given = await enc(kmes, "app-1", "app-2", number=3, size=512)
        assert status == 200
        assert all(key["key_extension"] == {"qnetem_key_mode": "hybrid"} for key in given["keys"])
        assert await dec(kmes, "app-2", "app-1", given["keys"]) == (200, given)
        # as many bits of the pool are spent as the keys have
        assert (await kmes["alice"].store.pool("bob")).delivered_bits == 3 * 512


async def test_the_key_is_not_the_bits_of_the_link(open_kmes: Any) -> None:
    """The derivation is there: the bits of the pool alone do not give the key, the agreed secret with them does."""
    async with open_kmes(policies=HYBRID) as kmes:
        secrets: list[bytes] = []
        held = kmes["alice"].store.hold_agreed

        async def hold(key_ids: list[str], secret: bytes) -> None:
            secrets.append(secret)
            await held(key_ids, secret)

        kmes["alice"].store.hold_agreed = hold
        block = await kmes.add_block("alice", "bob")
        bits = kmes.secrets[block][:32]
        _, given = await enc(kmes, "app-1", "app-2")
        [key] = given["keys"]
        value = base64.b64decode(key["key"])
        assert value != bits
        assert value == bytes(hybrid_key(bits, secrets[0], key["key_ID"]))


async def test_an_sae_may_ask_for_hybrid_keys_where_the_policy_does_not(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        for member in ("extension_mandatory", "extension_optional"):
            _, given = await enc(kmes, "app-1", "app-2", **{member: [{"qnetem_key_mode": "hybrid"}]})
            assert given["keys"][0]["key_extension"] == {"qnetem_key_mode": "hybrid"}
            assert await dec(kmes, "app-2", "app-1", given["keys"]) == (200, given)
        _, given = await enc(kmes, "app-1", "app-2")
        assert "key_extension" not in given["keys"][0]


async def test_hybrid_keys_over_a_relay_and_to_several_kmes(open_kmes: Any) -> None:
    async with open_kmes(policies=HYBRID) as kmes:
        kmes.install("alice bob carol")
        for ends in (("alice", "bob"), ("bob", "carol")):
            await kmes.add_block(*ends)
        status, given = await enc(kmes, "app-1", "app-3")
        assert (status, given["keys"][0]["key_extension"]["qnetem_key_mode"]) == (200, "hybrid")
        assert await dec(kmes, "app-3", "app-1", given["keys"], "carol") == (200, given)
        status, given = await enc(kmes, "app-1", "app-2", number=2, additional_slave_SAE_IDs=["app-3", "app-1b"])
        assert status == 200
        for slave, node in (("app-2", "bob"), ("app-3", "carol"), ("app-1b", "alice")):
            assert await dec(kmes, slave, "app-1", given["keys"], node) == (200, given)


async def test_a_dry_pool_gives_pqc_keys_where_the_policy_lets_it(open_kmes: Any) -> None:
    async with open_kmes(policies=PQC_WHEN_DRY) as kmes:
        kmes.install("alice bob carol")
        await kmes.add_block("alice", "bob", 1024)  # two keys for alice
        _, given = await enc(kmes, "app-1", "app-2", number=2)
        assert all("key_extension" not in key for key in given["keys"])
        for slave, node, more in (("app-2", "bob", ["app-2b", "app-1b"]), ("app-3", "carol", [])):
            status, given = await enc(kmes, "app-1", slave, number=2, size=192, additional_slave_SAE_IDs=more)
            assert status == 200
            assert all(key["key_extension"] == {"qnetem_key_mode": "pqc"} for key in given["keys"])
            assert {len(base64.b64decode(key["key"])) for key in given["keys"]} == {24}
            for collector in (slave, *more):
                at = "alice" if collector == "app-1b" else node
                assert await dec(kmes, collector, "app-1", given["keys"], at) == (200, given)
                assert (await dec(kmes, collector, "app-1", given["keys"], at))[0] == 400
        # whoever insists on QKD is told that there is none
        assert (await enc(kmes, "app-1", "app-2", extension_mandatory=[{"qnetem_key_mode": "qkd"}]))[0] == 503
        trail = (kmes.folder / "alice" / "keys.audit.jsonl").read_text()
        assert trail.count('"decision":"pqc"') == 2


async def test_a_dry_pool_is_503_where_the_policy_does_not(open_kmes: Any) -> None:
    async with open_kmes(policies=HYBRID) as kmes:
        assert (await enc(kmes, "app-1", "app-2"))[0] == 503


async def test_a_key_pair_that_is_gone_costs_the_request_and_its_bits_alone(open_kmes: Any) -> None:
    async with open_kmes(policies=HYBRID) as kmes:
        await kmes.add_block("alice", "bob")
        hybrid = kmes["alice"].hybrid
        agreed = await hybrid.agreed("app-1", ["bob"])
        kmes["bob"].kem._pairs.clear()  # as a restart does
        with pytest.raises(KemUnknownError):
            kmes["bob"].kem.opened(agreed.shares["bob"], "alice", "app-1")
        [reserved] = await kmes["alice"].store.reserve("app-1", [], "bob", 1, 256)
        assert (await enc(kmes, "app-1", "app-2"))[0] == 200
        await kmes["alice"].store.void([reserved.key_id])


async def test_an_agreed_secret_is_one_and_ends_with_its_key(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        store = kmes["alice"].store
        await kmes.add_block("alice", "bob")
        [reserved] = await store.reserve("app-1", [], "bob", 1, 256)
        await store.hold_agreed([reserved.key_id], b"s" * 32)
        await store.hold_agreed([reserved.key_id], b"s" * 32)
        with pytest.raises(ConflictError, match="another secret"):
            await store.hold_agreed([reserved.key_id], b"t" * 32)
        await store.void([reserved.key_id])
        with pytest.raises(ConflictError, match="has ended"):
            await store.hold_agreed([reserved.key_id], b"s" * 32)


async def test_what_is_agreed_has_to_be_signed_by_whom_it_is_from(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        bob, alice = kmes["bob"].kem, kmes["alice"].kem
        offer = bob.offer()
        _, share = alice.share(offer, "bob", "app-1")
        bob.opened(share, "alice", "app-1")
        for node, master in (("carol", "app-1"), ("alice", "app-1b")):
            with pytest.raises(DeniedError):
                bob.opened(share, node, master)
        with pytest.raises(DeniedError):
            alice.share(offer, "carol", "app-1")
        for field in ("ciphertext", "signature", "certificate", "kem_id"):
            forged = type(share).FromString(share.SerializeToString())
            value = getattr(forged, field)
            setattr(forged, field, "x" if field == "kem_id" else bytes([value[0] ^ 1]) + value[1:])
            with pytest.raises(DeniedError):
                bob.opened(forged, "alice", "app-1")
        # another authority of the same name, as a relay of another make could set up
        foreign = pki.create_authority("metro").issue(identity.uri("metro", "node", "alice"))
        stranger = Kem("metro", rpc.Credentials(foreign.certificate, foreign.key, kmes.authority.pem.certificate))
        _, share = stranger.share(offer, "bob", "app-1")
        with pytest.raises(DeniedError):
            bob.opened(share, "alice", "app-1")


async def test_strangers_assign_no_pqc_keys(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        _, share = kmes["carol"].kem.share(kmes["bob"].kem.offer(), "bob", "app-1")
        request = pb.AssignPqcKeysRequest(
            master_sae_id="app-1",
            slave_sae_ids=["app-2"],
            key_ids=["0" * 8 + "-0000-4000-8000-" + "0" * 12],
            size_bits=256,
            kem=share,
        )
        with pytest.raises(DeniedError, match="not attached to carol"):
            await kmes["carol"].relaying.courier.ask("bob", pb.AgreeRequest(assign_pqc_keys=request))


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point_of_hybrid_keys(tmp_path: Path, point: str) -> None:
    """Every key that its master was told of is there for its slave, the same; no other was ever told."""
    (tmp_path / "crash-at").write_text(point)
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(WORKER), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, f"{point} was not reached: {ran.stderr}"
    assert ran.stdout == ""
    async with (
        open_store(tmp_path / "alice" / "keys.db", now_s=lambda: 1060.0) as alice,
        open_store(tmp_path / "bob" / "keys.db", now_s=lambda: 1060.0) as bob,
    ):
        voids = await alice.pending_voids("bob", 100)
        await bob.void_assigned("alice", voids)
        await alice.confirm_voids([void.key_id for void in voids])
        for store, peer in ((alice, "bob"), (bob, "alice")):
            pool = await store.pool(peer)
            assert pool.made_bits == pool.held_bits + pool.delivered_bits + pool.voided_bits
        left = (await alice.pool("bob")).available_bits // 256
        reserved = await alice.reserve("app-1", [], "bob", left, 256)
        await bob.assign("alice", "app-1", ["app-2"], reserved)
        ids = [key.key_id for key in reserved]
        assert await alice.deliver(ids) == await bob.collect("app-2", "app-1", ids)


async def test_the_worker_of_hybrid_keys_reaches_its_end(tmp_path: Path) -> None:
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(WORKER), str(tmp_path)], capture_output=True, text=True, check=True
    )
    *told, end = ran.stdout.splitlines()
    assert (len(told), end) == (4, "end")
    async with open_store(tmp_path / "bob" / "keys.db", now_s=lambda: 1060.0) as bob:
        for line in map(json.loads, told):
            [key] = await bob.collect("app-2", "app-1", [line["key_id"]])
            assert (hashlib.sha256(key.key.reveal()).hexdigest(), key.mode) == (line["digest"], line["mode"])
            with pytest.raises(KeysNotFoundError):
                await bob.collect("app-2", "app-1", [line["key_id"]])
    async with open_store(tmp_path / "alice" / "keys.db", now_s=lambda: 1060.0) as alice:
        with pytest.raises(PoolExhaustedError):
            await alice.reserve("app-1", [], "bob", 3, 256)
