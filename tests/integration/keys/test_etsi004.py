"""ETSI GS QKD 004 between applications of KMEs near and far, over HTTPS with client certificates."""

import asyncio
import base64
import json
import ssl
import uuid
from typing import Any

import pytest

from node.keys.policy import KeyMode, Policies, Policy, WhenDry
from qnetem.runtime.errors import DeniedError, UnavailableError
from qnetem.v1 import key_agreement_pb2 as pb

STREAM = "0f8fad5b-d9cb-469f-a165-70867728950e"


class App:
    """An application and its KME."""

    def __init__(self, kmes: Any, sae: str, node: str, version: ssl.TLSVersion | None = None) -> None:
        self.url = kmes.url(node, "/etsi004/v2/")
        self.session = kmes.sae(sae, version)

    async def call(self, name: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the answer."""
        async with self.session.post(self.url + name, json=body) as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def open(self, source: str, destination: str, stream: str | None = None, **qos: Any) -> dict[str, Any]:
        """OPEN_CONNECT."""
        given = {} if stream is None else {"Key_stream_ID": stream}
        status, body = await self.call("open_connect", Source=source, Destination=destination, QoS=qos, **given)
        assert status == 200, body
        return body

    async def get(self, stream: str, index: int | None = None, **more: Any) -> dict[str, Any]:
        """GET_KEY."""
        at = {} if index is None else {"Index": index}
        status, body = await self.call("get_key", Key_stream_ID=stream, **at, **more)
        assert status == 200, body
        return body

    async def close(self, stream: str) -> dict[str, Any]:
        """CLOSE."""
        status, body = await self.call("close", Key_stream_ID=stream)
        assert status == 200, body
        return body


async def connected(one: App, other: App, source: str, destination: str, **qos: Any) -> str:
    """Return a stream that both applications have open."""
    opened = await one.open(source, destination, **qos)
    assert opened["Status"] == 1
    assert (await other.open(source, destination, opened["Key_stream_ID"]))["Status"] == 0
    return str(opened["Key_stream_ID"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_applications_get_the_same_key_at_the_same_index(open_kmes: Any, version: ssl.TLSVersion) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice", version), App(kmes, "app-2", "bob", version)
        stream = await connected(one, two, "app-1", "app-2")
        assert stream == str(uuid.UUID(stream))
        first = [await one.get(stream) for _ in range(3)]
        second = [await two.get(stream) for _ in range(4)]
        assert [body["Index"] for body in second] == [0, 1, 2, 3]
        assert first == second[:3]
        # the destination was the first to ask for the fourth
        assert await one.get(stream) == second[3]
        keys = [base64.b64decode(body["Key_buffer"], validate=True) for body in second]
        assert {len(key) for key in keys} == {32}
        assert len(set(keys)) == 4
        assert (await kmes["alice"].store.pool("bob")).delivered_bits == 4 * 256


async def test_every_chunk_is_given_once_to_each(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2")
        ahead = await one.get(stream, 7)
        assert (ahead["Status"], ahead["Index"]) == (0, 7)
        assert await one.get(stream, 7) == {"Status": 2, "Index": 7}
        assert await two.get(stream, 7) == ahead
        assert await two.get(stream, 7) == {"Status": 2, "Index": 7}
        assert (await one.get(stream))["Index"] == 8
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.get(stream)) for _ in range(6)]
        got = [task.result() for task in tasks]
        assert sorted(body["Index"] for body in got) == list(range(9, 15))
        assert len({body["Key_buffer"] for body in got}) == 6


async def test_streams_of_applications_without_a_link_and_of_one_kme(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        kmes.install("alice bob carol")
        for ends in (("alice", "bob"), ("bob", "carol")):
            await kmes.add_block(*ends)
        for other, node in (("app-3", "carol"), ("app-1b", "alice")):
            one, two = App(kmes, "app-1", "alice"), App(kmes, other, node)
            stream = await connected(one, two, "app-1", other, Key_chunk_size=100)
            bodies = [await two.get(stream), await two.get(stream)]
            assert [await one.get(stream), await one.get(stream)] == bodies
            assert len(base64.b64decode(bodies[0]["Key_buffer"])) == 100
            assert (await two.close(stream), (await one.get(stream))["Status"]) == ({"Status": 0}, 3)


async def test_a_hybrid_policy_holds_for_streams_and_a_dry_pool_falls_back(open_kmes: Any) -> None:
    policies = Policies(other=Policy(mode=KeyMode.HYBRID, when_dry=WhenDry.PQC))
    async with open_kmes(policies=policies) as kmes:
        await kmes.add_block("alice", "bob", 1024)  # two chunks
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2")
        bodies = [await one.get(stream) for _ in range(3)]
        assert [await two.get(stream) for _ in range(3)] == bodies
        trail = (kmes.folder / "bob" / "keys.audit.jsonl").read_text().splitlines()
        modes = [json.loads(line)["mode"] for line in trail if '"key.delivered"' in line]
        assert modes == ["hybrid", "hybrid", "pqc"]


async def test_statuses_of_open_connect(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        # 1: the peer is not there; by a URI as well as by an id
        uris = ("spiffe://metro/sae/app-1", "spiffe://metro/sae/app-2")
        assert (await one.open(*uris, STREAM))["Status"] == 1
        # 5: it has it open already, and so has nobody else's pair any business with the id
        assert (await one.open("app-1", "app-2", STREAM))["Status"] == 5
        assert (await App(kmes, "app-1b", "alice").open("app-1b", "app-2", STREAM))["Status"] == 5
        assert (await App(kmes, "app-2b", "bob").open("app-1", "app-2b", STREAM))["Status"] == 5
        assert (await two.open("app-1", "app-2", STREAM))["Status"] == 0
        assert (await two.open("app-1", "app-2", STREAM))["Status"] == 5
        # a side may leave and come back; an id whose stream is over may not
        assert (await one.close(STREAM))["Status"] == 0
        assert (await one.open("app-1", "app-2", STREAM.upper()))["Status"] == 0
        for app in (one, two):
            await app.close(STREAM)
        for app in (one, two):
            assert (await app.open("app-1", "app-2", STREAM))["Status"] == 5


async def test_open_connect_waits_for_the_peer(open_kmes: Any) -> None:
    """With an id agreed on beforehand both may wait for each other; whoever comes first is told 0 too."""
    async with open_kmes() as kmes:
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        for first, second in ((one, two), (two, one)):
            stream = str(uuid.uuid4())
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(first.open("app-1", "app-2", stream, Timeout=20_000))
                while not await opened_at_owner(kmes, stream):  # noqa: ASYNC110 - watched from outside
                    await asyncio.sleep(0.01)
                assert (await second.open("app-1", "app-2", stream, Timeout=20_000))["Status"] == 0
            assert waiting.result()["Status"] == 0
        assert (await one.open("app-1", "app-2", str(uuid.uuid4()), Timeout=50))["Status"] == 1


async def opened_at_owner(kmes: Any, stream: str) -> bool:
    found = await kmes["alice"].store.run(
        None, lambda db: db.execute("SELECT 1 FROM streams WHERE stream_id = ?", (stream,)).fetchone()
    )
    return found is not None


async def test_a_qos_that_cannot_be_met_is_countered_by_one_that_can(open_kmes: Any) -> None:
    policy = Policy(min_secret_hz=100.0, max_secret_hz=1000.0, priority=3, key_lifetime_s=600.0)
    async with open_kmes(policies=Policies([(frozenset(("app-1", "app-2")), policy)])) as kmes:
        one = App(kmes, "app-1", "alice")
        asked = {
            "Key_chunk_size": 4096,
            "Max_bps": 5000,
            "Min_bps": 500,
            "Jitter": 10,
            "Priority": 9,
            "Timeout": 10**6,
            "TTL": 86_400,
            "Metadata_mimetype": "text/plain",
        }
        refused = await one.open("app-1", "app-2", STREAM, **asked)
        assert refused["Status"] == 7
        assert refused["QoS"] == {
            "Key_chunk_size": 1024,
            "Max_bps": 1000,
            "Min_bps": 100,
            "Jitter": 8192,
            "Priority": 3,
            "Timeout": 60_000,
            "TTL": 600,
            "Metadata_mimetype": "application/json",
        }
        # nothing was opened, and the counter-proposal is taken as it stands
        opened = await one.open("app-1", "app-2", STREAM, **{**refused["QoS"], "Timeout": 0})
        assert opened["Status"] == 1
        assert opened["QoS"] == {**refused["QoS"], "Timeout": 0}
        # the second side is held to what the first agreed on
        two = App(kmes, "app-2", "bob")
        other = await two.open("app-1", "app-2", STREAM, Key_chunk_size=64)
        assert (other["Status"], other["QoS"]) == (7, opened["QoS"])
        assert (await two.open("app-1", "app-2", STREAM, Key_chunk_size=1024))["Status"] == 0
        # what is not said is filled in
        assert (await one.open("app-1", "app-2b"))["QoS"]["Key_chunk_size"] == 32


async def test_statuses_of_get_key(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", 1024)  # two chunks for alice
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        opened = await one.open("app-1", "app-2", STREAM)
        assert opened["Status"] == 1
        assert await one.get(STREAM) == {"Status": 3, "Index": 0}
        await two.open("app-1", "app-2", STREAM)
        first = await one.get(STREAM)
        assert (await one.get(STREAM))["Status"] == 0
        # 2: the pool is dry, at either side, and the index is not lost
        assert await one.get(STREAM) == {"Status": 2, "Index": 2}
        assert await two.get(STREAM, 2) == {"Status": 2, "Index": 2}
        await kmes.add_block("alice", "bob")
        assert (await one.get(STREAM))["Index"] == 2
        # what was made is there after the peer has left; nothing new is
        await one.close(STREAM)
        assert await two.get(STREAM) == first
        assert [(await two.get(STREAM))["Status"] for _ in range(3)] == [0, 0, 3]


async def test_get_key_waits_as_long_as_the_timeout_says(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        short = await connected(one, two, "app-1", "app-2", Timeout=150)
        assert await one.get(short) == {"Status": 6, "Index": 0}
        patient = await connected(one, two, "app-1", "app-2", Timeout=30_000)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(two.get(patient))
            await kmes.add_block("alice", "bob")
        assert (waiting.result()["Status"], await one.get(patient)) == (0, waiting.result())


async def test_metadata_that_does_not_fit_is_8_and_costs_nothing(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2", Metadata_mimetype="application/json")
        refused = await one.get(stream, Metadata_size=10)
        assert (refused["Status"], "Key_buffer" in refused) == (8, False)
        needed = refused["Metadata"]["Metadata_size"]
        given = await one.get(stream, Metadata_size=needed)
        assert (given["Status"], given["Index"]) == (0, 0)
        assert given["Metadata"]["Metadata_size"] == needed == len(given["Metadata"]["Metadata_buffer"])
        assert json.loads(given["Metadata"]["Metadata_buffer"])["Index"] == 0
        assert "Metadata" not in await two.get(stream)


async def test_a_stream_has_its_own_maximum_rate(open_kmes: Any) -> None:
    now = [1000.0]
    async with open_kmes(now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2", Max_bps=512)
        assert [(await one.get(stream))["Status"] for _ in range(3)] == [0, 0, 2]
        now[0] += 0.5
        assert [(await one.get(stream))["Status"] for _ in range(2)] == [0, 2]


async def test_a_jitter_bounds_what_comes_at_once_after_a_pause(open_kmes: Any) -> None:
    """Max_bps in the mean, in no second more than the jitter above it; without one a second's worth comes at once."""
    now = [1000.0]
    async with open_kmes(now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob", 1 << 15)
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        smooth = await connected(one, two, "app-1", "app-2", Max_bps=1024, Jitter=512)
        plain = await connected(one, two, "app-1", "app-2", Max_bps=1024)
        for stream, at_once in ((smooth, 2), (plain, 4)):
            assert [(await one.get(stream))["Status"] for _ in range(at_once + 1)] == [0] * at_once + [2]
        given = []
        for _ in range(80):
            now[0] += 0.0625
            while (await one.get(smooth))["Status"] == 0:
                given.append(now[0])
        assert len(given) == 80 * 0.0625 * 1024 / 256
        for first in given:
            assert sum(256 for at in given if first <= at < first + 1) <= 1024 + 512


@pytest.mark.parametrize(
    ("asked", "proposed"),
    [
        ({"Max_bps": 1024, "Jitter": 255}, 256),  # a chunk goes out whole
        ({"Max_bps": 1024, "Jitter": 100, "Key_chunk_size": 64}, 512),
        ({"Jitter": 256}, 0),  # without a rate there is nothing to deviate from
    ],
)
async def test_a_jitter_that_cannot_be_kept_is_refused(open_kmes: Any, asked: dict[str, int], proposed: int) -> None:
    async with open_kmes() as kmes:
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        refused = await one.open("app-1", "app-2", STREAM, **asked)
        assert (refused["Status"], refused["QoS"]["Jitter"]) == (7, proposed)
        opened = await one.open("app-1", "app-2", STREAM, **refused["QoS"])
        assert (opened["Status"], opened["QoS"]["Jitter"]) == (1, proposed)
        # the second side may ask for what is kept, or less strictly; not for more than that
        stricter = await two.open("app-1", "app-2", STREAM, Jitter=max(1, proposed - 1))
        assert (stricter["Status"], stricter["QoS"]["Jitter"]) == (7, proposed)
        assert (await two.open("app-1", "app-2", STREAM, Jitter=2 * proposed))["Status"] == 0


async def test_chunks_expire_after_their_ttl_and_the_stream_goes_on(open_kmes: Any) -> None:
    now = [1000.0]
    async with open_kmes(now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2", TTL=10)
        for _ in range(2):
            await one.get(stream)
        now[0] += 11
        assert await two.get(stream, 1) == {"Status": 2, "Index": 1}
        fresh = await two.get(stream)
        assert (fresh["Status"], fresh["Index"]) == (0, 2)
        assert await one.get(stream) == fresh


async def test_the_destination_has_what_the_source_was_given_though_its_kme_is_gone(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2")
        given = await one.get(stream)

        async def gone(*_: Any) -> Any:
            raise UnavailableError("gone")

        kmes["bob"].relaying.courier.ask = gone
        assert await two.get(stream) == given
        assert await two.get(stream) == {"Status": 4, "Index": 1}


async def test_a_chunk_of_which_the_destinations_kme_does_not_know_is_not_given(open_kmes: Any) -> None:
    """And comes when it does: the same index, the same key, no bits lost."""
    lost = [True]

    def losing(node: str, answer: Any) -> Any:
        async def answered(from_node: str, request: Any) -> Any:
            if node == "bob" and request.WhichOneof("message") == "name_chunk" and lost[0]:
                raise UnavailableError("lost")
            return await answer(from_node, request)

        return answered

    async with open_kmes(wrap_desk=losing) as kmes:
        await kmes.add_block("alice", "bob")
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2")
        assert await one.get(stream) == {"Status": 4, "Index": 0}
        lost[0] = False
        given = await one.get(stream)
        assert (given["Status"], given["Index"]) == (0, 0)
        assert await two.get(stream) == given
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096 - 256


@pytest.mark.parametrize(
    ("call", "body", "status"),
    [
        ("open_connect", {"Source": "app-1"}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-1"}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "nobody"}, 400),
        ("open_connect", {"Source": "app-1", "Destination": 2}, 400),
        ("open_connect", {"Source": "app-1b", "Destination": "app-2"}, 401),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "Key_stream_ID": "x"}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "QoS": []}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "QoS": {"TTL": -1}}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "QoS": {"Max_bps": 1 << 32}}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "QoS": {"Min_bps": True}}, 400),
        ("open_connect", {"Source": "app-1", "Destination": "app-2", "QoS": {"Metadata_mimetype": 1}}, 400),
        ("get_key", {}, 400),
        ("get_key", {"Key_stream_ID": str(uuid.uuid4())}, 400),
        ("get_key", {"Key_stream_ID": STREAM}, 401),
        ("get_key", {"Key_stream_ID": STREAM, "Index": -1}, 400),
        ("get_key", {"Key_stream_ID": STREAM, "Index": 1.0}, 400),
        ("get_key", {"Key_stream_ID": STREAM, "Metadata_size": "1"}, 400),
        ("close", {"Key_stream_ID": STREAM}, 401),
        ("close", {"Key_stream_ID": None}, 400),
        ("closed", {}, 404),
    ],
)
async def test_what_004_refuses(open_kmes: Any, call: str, body: dict[str, Any], status: int) -> None:
    async with open_kmes() as kmes:
        await App(kmes, "app-1b", "alice").open("app-1b", "app-2", STREAM)  # somebody else's
        found, answer = await App(kmes, "app-1", "alice").call(call, **body)
        assert found == status
        assert isinstance(answer["message"], str)


async def test_strangers_open_make_and_name_nothing(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        kmes.install("alice bob carol")
        for ends in (("alice", "bob"), ("bob", "carol")):
            await kmes.add_block(*ends)
        one, two = App(kmes, "app-1", "alice"), App(kmes, "app-2", "bob")
        stream = await connected(one, two, "app-1", "app-2")
        carol = kmes["carol"].relaying.courier
        key_id = str(uuid.uuid4())
        for target, message in (
            ("alice", {"make_chunk": pb.MakeChunkRequest(stream_id=stream, index=0)}),
            ("alice", {"close_stream": pb.CloseStreamRequest(stream_id=stream)}),
            ("bob", {"name_chunk": pb.NameChunkRequest(stream_id=stream, index=0, key_id=key_id)}),
            (
                "alice",
                {
                    "open_stream": pb.OpenStreamRequest(
                        stream_id=key_id, source_sae_id="app-1", destination_sae_id="app-2"
                    )
                },
            ),
        ):
            with pytest.raises(DeniedError):
                await carol.ask(target, pb.AgreeRequest(**message))
        assert (await one.get(stream))["Index"] == 0
