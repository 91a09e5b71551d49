"""ETSI GS QKD 014 between SAEs of neighbouring KMEs, over HTTPS with client certificates."""

import asyncio
import base64
import ssl
import uuid
from typing import Any

import aiohttp
import pytest

from node.keys.etsi014_request import DeliveryLimits
from node.keys.records import StoreLimits

NOT_FOUND = "one or more keys specified are not found on KME"


async def answer(response_context: Any) -> tuple[int, dict[str, Any]]:
    async with response_context as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.content_type == "application/json"
        body = await response.json()
        assert response.status == 200 or isinstance(body["message"], str)
        return response.status, body


async def enc(kmes: Any, master: str, slave: str, node: str = "alice", **body: Any) -> list[dict[str, str]]:
    status, found = await answer(kmes.sae(master).post(kmes.url(node, f"/api/v1/keys/{slave}/enc_keys"), json=body))
    assert status == 200, found
    return found["keys"]


async def dec(kmes: Any, slave: str, master: str, key_ids: list[str], node: str = "bob") -> tuple[int, dict[str, Any]]:
    body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
    return await answer(kmes.sae(slave).post(kmes.url(node, f"/api/v1/keys/{master}/dec_keys"), json=body))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_saes_get_the_same_key(open_kmes: Any, version: ssl.TLSVersion) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        app_1, app_2 = kmes.sae("app-1", version), kmes.sae("app-2", version)
        status, given = await answer(app_1.get(kmes.url("alice", "/api/v1/keys/app-2/enc_keys")))
        assert status == 200
        [key] = given["keys"]
        assert key["key_ID"] == str(uuid.UUID(key["key_ID"]))
        assert len(base64.b64decode(key["key"], validate=True)) == 32
        url = kmes.url("bob", f"/api/v1/keys/app-1/dec_keys?key_ID={key['key_ID']}")
        assert await answer(app_2.get(url)) == (200, given)


async def test_either_end_of_a_link_is_master(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", 2048)
        # all that either may give, of one block, at once
        one_way = await enc(kmes, "app-1", "app-2", number=4)
        other_way = await enc(kmes, "app-2", "app-1", "bob", number=4)
        assert (await dec(kmes, "app-2", "app-1", [k["key_ID"] for k in one_way]))[1] == {"keys": one_way}
        assert (await dec(kmes, "app-1", "app-2", [k["key_ID"] for k in other_way], "alice"))[1] == {"keys": other_way}
        values = [key["key"] for key in one_way + other_way]
        assert len(set(values)) == 8


async def test_keys_of_many_sizes_and_numbers_cross_blocks(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        for _ in range(10):
            await kmes.add_block("alice", "bob", 1003)  # 496 bits for each end
        for number, size in ((1, 8), (3, 1024), (5, 72), (1, 256), (2, 136)):
            keys = await enc(kmes, "app-1", "app-2", number=number, size=size)
            assert [len(base64.b64decode(key["key"])) for key in keys] == [size // 8] * number
            status, body = await dec(kmes, "app-2", "app-1", [key["key_ID"].upper() for key in keys])
            assert (status, body) == (200, {"keys": keys})


async def test_a_key_is_collected_once(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        keys = await enc(kmes, "app-1", "app-2", number=2)
        ids = [key["key_ID"] for key in keys]
        assert (await dec(kmes, "app-2", "app-1", ids[:1]))[0] == 200
        # all or nothing: the second is not consumed by a request that names the first
        assert await dec(kmes, "app-2", "app-1", ids) == (400, {"message": NOT_FOUND})
        assert await dec(kmes, "app-2", "app-1", ids[1:]) == (200, {"keys": keys[1:]})


async def test_keys_are_not_for_others(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        [key] = await enc(kmes, "app-1", "app-2")
        assert (await dec(kmes, "app-2b", "app-1", [key["key_ID"]]))[0] == 401
        assert await dec(kmes, "app-2", "app-1b", [key["key_ID"]]) == (400, {"message": NOT_FOUND})
        assert await dec(kmes, "app-2", "app-1", [str(uuid.uuid4())]) == (400, {"message": NOT_FOUND})
        assert (await dec(kmes, "app-2", "app-1", [key["key_ID"]]))[0] == 200
        # the tombstone tells the two apart
        assert (await dec(kmes, "app-2b", "app-1", [key["key_ID"]]))[0] == 401
        assert (await dec(kmes, "app-2", "app-1", [key["key_ID"]]))[0] == 400


async def test_multicast_to_one_kme_and_to_the_own(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        keys = await enc(kmes, "app-1", "app-2", additional_slave_SAE_IDs=["app-2b", "app-1b"])
        ids = [key["key_ID"] for key in keys]
        for slave, node in (("app-2", "bob"), ("app-1b", "alice"), ("app-2b", "bob")):
            assert await dec(kmes, slave, "app-1", ids, node) == (200, {"keys": keys})
            assert await dec(kmes, slave, "app-1", ids, node) == (400, {"message": NOT_FOUND})
        assert (await dec(kmes, "app-2c", "app-1", ids))[0] == 401


async def test_saes_of_one_kme_need_no_link(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        keys = await enc(kmes, "app-1", "app-1b", number=3, size=128)
        assert await dec(kmes, "app-1b", "app-1", [key["key_ID"] for key in keys], "alice") == (200, {"keys": keys})


async def test_a_dry_pool_and_no_route_are_503(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", 1024)  # two keys of 256 bits for alice
        url = kmes.url("alice", "/api/v1/keys/{}/enc_keys")
        status, body = await answer(kmes.sae("app-1").post(url.format("app-2"), json={"number": 3}))
        assert status == 503
        assert "stored 2 keys" in body["message"]
        assert "asked 3" in body["message"]
        for slave, more in (("app-3", []), ("app-2", ["app-3"])):
            asked = {"additional_slave_SAE_IDs": more}
            status, body = await answer(kmes.sae("app-1").post(url.format(slave), json=asked))
            assert status == 503
            assert "stored 0 keys, asked 1" in body["message"]
        assert len(await enc(kmes, "app-1", "app-2", number=2)) == 2


async def test_status_counts_what_the_master_could_get(open_kmes: Any) -> None:
    async with open_kmes(limits=StoreLimits(capacity_bits=100_000)) as kmes:
        await kmes.add_block("alice", "bob", 4096)
        status, body = await answer(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app-2/status")))
        assert status == 200
        assert body == {
            "source_KME_ID": "alice",
            "target_KME_ID": "bob",
            "master_SAE_ID": "app-1",
            "slave_SAE_ID": "app-2",
            "key_size": 256,
            "stored_key_count": 8,
            "max_key_count": 390,
            "max_key_per_request": 128,
            "max_key_size": 1024,
            "min_key_size": 8,
            "max_SAE_ID_count": 8,
        }
        await enc(kmes, "app-1", "app-2", number=3)
        _, body = await answer(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app-2/status")))
        assert body["stored_key_count"] == 5
        _, body = await answer(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app-3/status")))
        assert (body["stored_key_count"], body["target_KME_ID"]) == (0, "carol")
        _, body = await answer(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app-1b/status")))
        assert body["stored_key_count"] == body["max_key_count"]


async def test_an_sae_id_is_url_encoded(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        keys = await enc(kmes, "app-1", "%61pp%204")
        assert await dec(kmes, "app 4", "%61pp%2D1", [key["key_ID"] for key in keys]) == (200, {"keys": keys})
        status, body = await answer(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app%2F%C3%A9/status")))
        assert (status, body["details"]) == (400, [{"slave_SAE_ID": "app/é"}])


async def test_self_association_is_a_switch(open_kmes: Any) -> None:
    async with open_kmes(delivery_limits=DeliveryLimits(allow_self_association=True)) as kmes:
        keys = await enc(kmes, "app-1", "app-1")
        assert await dec(kmes, "app-1", "app-1", [key["key_ID"] for key in keys], "alice") == (200, {"keys": keys})


async def test_uncollected_keys_expire(open_kmes: Any) -> None:
    now = [1000.0]
    async with open_kmes(limits=StoreLimits(key_lifetime_s=60), now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob")
        [key] = await enc(kmes, "app-1", "app-2")
        now[0] += 61
        assert (await kmes["bob"].store.sweep()).expired_count == 1
        assert await dec(kmes, "app-2", "app-1", [key["key_ID"]]) == (400, {"message": NOT_FOUND})
        assert (await kmes["bob"].store.pool("alice")).expired_bits == 256


async def test_concurrent_masters_never_share_a_key(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        for _ in range(4):
            await kmes.add_block("alice", "bob", 20_000)

        async def one_way() -> list[dict[str, str]]:
            keys = await enc(kmes, "app-1", "app-2", number=2)
            assert await dec(kmes, "app-2", "app-1", [k["key_ID"] for k in keys]) == (200, {"keys": keys})
            return keys

        async def other_way() -> list[dict[str, str]]:
            keys = await enc(kmes, "app-2", "app-1", "bob", number=2)
            assert await dec(kmes, "app-1", "app-2", [k["key_ID"] for k in keys], "alice") == (200, {"keys": keys})
            return keys

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(way()) for way in (one_way, other_way) * 20]
        keys = [key for task in tasks for key in task.result()]
        assert len({key["key"] for key in keys}) == len({key["key_ID"] for key in keys}) == 80


async def test_a_keep_alive_connection_serves_many_requests(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        made: list[str] = []

        async def note(*_: object) -> None:
            made.append("connection")

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(note)
        session = kmes.sae("app-1", trace=trace)
        for _ in range(5):
            assert (await answer(session.get(kmes.url("alice", "/api/v1/keys/app-2/enc_keys"))))[0] == 200
        assert made == ["connection"]


async def test_no_key_is_logged(open_kmes: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with open_kmes() as kmes:
        lost = await kmes.add_block("alice", "bob", 4096)
        await kmes.add_block("alice", "bob", 4096)
        keys = await enc(kmes, "app-1", "app-2", number=3)
        ids = [key["key_ID"] for key in keys]
        assert (await dec(kmes, "app-2b", "app-1", ids))[0] == 401
        assert (await dec(kmes, "app-2", "app-1", ids))[0] == 200
        assert (await dec(kmes, "app-2", "app-1", ids))[0] == 400
        await kmes["bob"].store.quarantine(lost)
        keys += await enc(kmes, "app-1", "app-2")
    assert "keys.block.quarantined" in caplog.text
    text = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for key in keys:
        assert key["key"] not in text
        assert base64.b64decode(key["key"]).hex() not in text
        assert repr(base64.b64decode(key["key"])) not in text
