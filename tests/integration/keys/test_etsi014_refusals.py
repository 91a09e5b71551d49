"""What ETSI GS QKD 014 refuses: the status, the JSON body, and that nothing was consumed."""

import asyncio
import json
import ssl
import uuid
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from node.keys.etsi014 import serve_etsi014
from qnetem.runtime import identity, pki
from qnetem.runtime.errors import StartError

ENC = "/api/v1/keys/app-2/enc_keys"
DEC = "/api/v1/keys/app-1/dec_keys"
KEY_ID = "00000000-0000-4000-8000-000000000001"


async def refusal(response_context: Any) -> tuple[int, dict[str, Any]]:
    async with response_context as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.content_type == "application/json"
        body = await response.json()
    assert set(body) <= {"message", "details"}
    assert isinstance(body["message"], str)
    assert all(isinstance(detail, dict) for detail in body.get("details", []))
    return response.status, body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 12}, "size shall be a multiple of 8"),
        ({"size": 7}, "size shall be a multiple of 8"),
        ({"size": 0}, "size shall be positive"),
        ({"size": -8}, "size shall be positive"),
        ({"size": 1032}, "size shall be between 8 and 1024 bits"),
        ({"size": 256.0}, "size shall be an integer"),
        ({"size": "256"}, "size shall be an integer"),
        ({"size": True}, "size shall be an integer"),
        ({"size": None}, "size shall be an integer"),
        ({"size": 10**30}, "size shall be between 8 and 1024 bits"),
        ({"number": 0}, "number shall be at least 1"),
        ({"number": -1}, "number shall be at least 1"),
        ({"number": 129}, "number shall be at most 128"),
        ({"number": [1]}, "number shall be an integer"),
        ({"additional_slave_SAE_IDs": "app-2b"}, "additional_slave_SAE_IDs shall be an array of strings"),
        ({"additional_slave_SAE_IDs": [1]}, "additional_slave_SAE_IDs shall be an array of strings"),
        ({"additional_slave_SAE_IDs": None}, "additional_slave_SAE_IDs shall be an array of strings"),
        ({"additional_slave_SAE_IDs": [" "]}, "additional_slave_SAE_IDs names a blank SAE"),
        ({"additional_slave_SAE_IDs": ["x"] * 9}, "additional_slave_SAE_IDs shall name at most 8 SAEs"),
        (
            {"additional_slave_SAE_IDs": ["app-2b", "app-2b"]},
            "additional_slave_SAE_IDs names an SAE twice, or the slave SAE of the path",
        ),
        (
            {"additional_slave_SAE_IDs": ["app-2"]},
            "additional_slave_SAE_IDs names an SAE twice, or the slave SAE of the path",
        ),
        ({"additional_slave_SAE_IDs": ["app-1"]}, "the slave SAE is the caller"),
        ({"additional_slave_SAE_IDs": ["nobody"]}, "a slave SAE is not known"),
        ({"extension_mandatory": [{"route": "direct"}]}, "not all extension_mandatory parameters are supported"),
        ({"extension_mandatory": {"route": "direct"}}, "extension_mandatory shall be an array of objects"),
        ({"extension_optional": ["x"]}, "extension_optional shall be an array of objects"),
    ],
)
async def test_enc_keys_refuses_and_consumes_nothing(open_kmes: Any, body: dict[str, Any], message: str) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        before = await kmes["alice"].store.pool("bob")
        assert (await refusal(kmes.sae("app-1").post(kmes.url("alice", ENC), json=body)))[1]["message"] == message
        assert await kmes["alice"].store.pool("bob") == before


async def test_unsupported_mandatory_extensions_are_named(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        asked = {"extension_mandatory": [{"a": 1}, {"b": "x"}], "extension_optional": [{"c": 1}]}
        status, body = await refusal(kmes.sae("app-1").post(kmes.url("alice", ENC), json=asked))
        assert status == 400
        assert body["details"] == [{"extension_mandatory_unsupported": "a"}, {"extension_mandatory_unsupported": "b"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"number": 1, "unknown_member": {"a": [1]}, "extension_optional": [{"x": 1}], "extension_mandatory": []}',
        b'{"additional_slave_SAE_IDs": []}',
    ],
)
async def test_what_enc_keys_takes(open_kmes: Any, body: bytes) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        for headers in ({}, {"Content-Type": "application/json"}, {"Expect": "100-continue"}):
            async with kmes.sae("app-1").post(kmes.url("alice", ENC), data=body or None, headers=headers) as response:
                assert response.status == 200
                assert len((await response.json())["keys"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"text"',
        b"[" * 50_000,
        b'{"number": ' + b"9" * 5000 + b"}",
        b'{"number": NaN}',
    ],
)
@pytest.mark.parametrize(("sae", "node", "path"), [("app-1", "alice", ENC), ("app-2", "bob", DEC)])
async def test_a_body_that_is_no_object_is_400(open_kmes: Any, body: bytes, sae: str, node: str, path: str) -> None:
    async with open_kmes() as kmes:
        assert (await refusal(kmes.sae(sae).post(kmes.url(node, path), data=body)))[0] == 400


@pytest.mark.parametrize(
    "query",
    [
        "number=x",
        "number=",
        "number=-1",
        "number=0",
        "number=1.0",
        "number=%D9%A1",
        "number=1&number=1",
        "size=12",
        "size=2048",
        "additional_slave_SAE_IDs=app-2b",
        "number=%FF",
        "key_ID=1",
        "&".join(f"a{i}=1" for i in range(99)),
    ],
)
async def test_enc_keys_get_takes_number_and_size_alone(open_kmes: Any, query: str) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        assert (await refusal(kmes.sae("app-1").get(f"{kmes.url('alice', ENC)}?{query}")))[0] == 400
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096
        async with kmes.sae("app-1").get(f"{kmes.url('alice', ENC)}?number=2&size=64") as response:
            assert [len(key["key"]) for key in (await response.json())["keys"]] == [12, 12]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key_IDs": []},
        {"key_IDs": None},
        {"key_IDs": KEY_ID},
        {"key_IDs": [KEY_ID]},
        {"key_IDs": [{"key_ID": "x"}]},
        {"key_IDs": [{"key_ID": 1}]},
        {"key_IDs": [{"id": KEY_ID}]},
        {"key_IDs": [{"key_ID": KEY_ID + "\n"}]},
        {"key_IDs": [{"key_ID": KEY_ID}, {"key_ID": KEY_ID.upper()}]},
        {"key_IDs": [{"key_ID": str(uuid.UUID(int=i))} for i in range(129)]},
    ],
)
async def test_dec_keys_refuses_malformed_ids(open_kmes: Any, body: dict[str, Any]) -> None:
    async with open_kmes() as kmes:
        status, found = await refusal(kmes.sae("app-2").post(kmes.url("bob", DEC), json=body))
        assert status == 400
        assert "key_ID" in found["message"]


@pytest.mark.parametrize("query", ["", "?", "?key_ID=", "?key_ID=x", f"?key_ID={KEY_ID}&key_ID={KEY_ID}", "?size=8"])
async def test_dec_keys_get_takes_one_key_id(open_kmes: Any, query: str) -> None:
    async with open_kmes() as kmes:
        assert (await refusal(kmes.sae("app-2").get(kmes.url("bob", DEC) + query)))[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/api/v1/keys/app-2", 404, None),
        ("GET", "/api/v1/keys/app-2/status/", 404, None),
        ("GET", "/api/v1/keys/app-2/other", 404, None),
        ("GET", "/api/v2/keys/app-2/status", 404, None),
        ("GET", "/api/v1/keys/app-2/status/status", 404, None),
        ("POST", "/api/v1/keys/app-2/status", 405, "GET"),
        ("PUT", ENC, 405, "GET, POST"),
        ("DELETE", DEC, 405, "GET, POST"),
        ("OPTIONS", ENC, 405, "GET, POST"),
        ("PATCH", ENC, 405, "GET, POST"),
        ("GET", "/api/v1/keys/nobody/status", 400, None),
        ("GET", "/api/v1/keys//status", 400, None),
        ("GET", "/api/v1/keys/%FF/status", 400, None),
        ("GET", "/api/v1/keys/app-1/status", 400, None),
        ("GET", "/api/v1/keys/app-1/enc_keys", 400, None),
        ("POST", "/api/v1/keys/nobody/enc_keys", 400, None),
        ("POST", ENC + "?number=2", 400, None),
        ("GET", "/api/v1/keys/app-1/dec_keys?key_ID=" + KEY_ID, 400, None),
    ],
)
async def test_paths_and_verbs(open_kmes: Any, method: str, path: str, status: int, allow: str | None) -> None:
    async with open_kmes() as kmes:
        response_context = kmes.sae("app-1").request(method, kmes.url("alice", path))
        assert (await refusal(response_context))[0] == status
        async with kmes.sae("app-1").request(method, kmes.url("alice", path)) as response:
            assert response.headers.get("Allow") == allow


async def test_head_gives_no_key(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        async with kmes.sae("app-1").head(kmes.url("alice", ENC)) as response:
            assert response.status == 405
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096


async def test_a_body_above_the_limit_is_413(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        body = json.dumps({"padding": "x" * 70_000})
        assert (await refusal(kmes.sae("app-1").post(kmes.url("alice", ENC), data=body)))[0] == 413


async def test_callers_that_are_no_sae_of_this_kme_are_401(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        uri = identity.uri
        issue = kmes.authority.issue
        strangers = {
            "SAE of another KME": issue(uri("metro", "sae", "app-2"), common_name="app-2"),
            "SAE not in the topology": issue(uri("metro", "sae", "app-9"), common_name="app-9"),
            "a node": issue(uri("metro", "node", "app-1"), common_name="app-1"),
            "an operator": issue(uri("metro", "operator", "app-1"), common_name="app-1"),
            "SAE of another testbed": issue(uri("other", "sae", "app-1"), common_name="app-1"),
            "CN and URI differ": issue(uri("metro", "sae", "app-2"), common_name="app-1"),
        }
        for name, issued in strangers.items():
            session = kmes.session(issued)
            for path in (ENC, DEC + "?key_ID=" + KEY_ID, "/api/v1/keys/app-2/status"):
                assert (await refusal(session.get(kmes.url("alice", path))))[0] == 401, name
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096


async def test_certificates_that_end_the_handshake(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        uri = identity.uri("metro", "sae", "app-1")
        foreign = pki.create_authority("metro").issue(uri, common_name="app-1")
        expired = kmes.authority.issue(uri, common_name="app-1", valid_for=timedelta(days=-1))
        for issued in (None, foreign, expired):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with pytest.raises(aiohttp.ClientError):
                    async with kmes.session(issued, version).get(kmes.url("alice", "/api/v1/keys/app-2/status")):
                        pass
        with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises(aiohttp.ClientError):
            async with kmes.sae("app-1", ssl.TLSVersion.TLSv1_1).get(kmes.url("alice", ENC)):
                pass


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /api HTTP/9.9\r\n\r\n",
        b"GET " + b"/x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST " + ENC.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_answered_in_json(open_kmes: Any, sent: bytes) -> None:
    async with open_kmes() as kmes:
        tls = kmes.client_tls(kmes.authority.issue(identity.uri("metro", "sae", "app-1"), common_name="app-1"))
        reader, writer = await asyncio.open_connection("localhost", kmes["alice"].https_port, ssl=tls)
        try:
            writer.write(sent)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            body = json.loads(await asyncio.wait_for(reader.read(), 10))
        finally:
            writer.close()
            await writer.wait_closed()
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert b"Cache-Control: no-store" in head
        assert b"Content-Type: application/json" in head
        assert isinstance(body["message"], str)


async def test_an_unforeseen_error_is_500_in_json(open_kmes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_kmes() as kmes:

        async def collapse(*_: object) -> None:
            raise ValueError("a secret text")

        monkeypatch.setattr(kmes["alice"].store, "pool", collapse)
        status, body = await refusal(kmes.sae("app-1").get(kmes.url("alice", "/api/v1/keys/app-2/status")))
        assert (status, body) == (500, {"message": "internal error"})


async def test_a_port_in_use_and_a_broken_certificate_are_named(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        issued = kmes.authority.issue(identity.uri("metro", "node", "alice"), ["localhost"])
        paths = kmes.write("second", issued)
        taken = f"localhost:{kmes['alice'].https_port}"
        with pytest.raises(StartError, match=taken):
            async with serve_etsi014(taken, paths, None):  # type: ignore[arg-type]
                pass
        paths.key_path = paths.authority_path
        with pytest.raises(StartError, match=r"cert\.pem"):
            async with serve_etsi014("localhost:0", paths, None):  # type: ignore[arg-type]
                pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_truncated_body_consumes_nothing(open_kmes: Any, version: ssl.TLSVersion, chunked: bool) -> None:
    """Half of a request that would be met, then nothing more, or the end of the connection."""
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        issued = kmes.authority.issue(identity.uri("metro", "sae", "app-1"), common_name="app-1")
        tls, port = kmes.client_tls(issued, version), kmes["alice"].https_port
        body = json.dumps({"number": 2}).encode()
        length = b"Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body) + 7}".encode()
        sent = b"POST " + ENC.encode() + b" HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n"
        sent += f"{len(body):x}\r\n".encode() + body + b"\r\n" if chunked else body
        _, writer = await asyncio.open_connection("localhost", port, ssl=tls)
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
        # served after it, on another connection
        async with kmes.sae("app-1", version).get(kmes.url("alice", "/api/v1/keys/app-2/status")) as response:
            assert (await response.json())["stored_key_count"] == 16


async def test_a_body_that_does_not_come_is_408(open_kmes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.keys.etsi014._BODY_S", 0.2)
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        issued = kmes.authority.issue(identity.uri("metro", "sae", "app-1"), common_name="app-1")
        tls = kmes.client_tls(issued)
        reader, writer = await asyncio.open_connection("localhost", kmes["alice"].https_port, ssl=tls)
        try:
            writer.write(b"POST " + ENC.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            answer = json.loads(await asyncio.wait_for(reader.read(), 10))
        finally:
            writer.close()
            await writer.wait_closed()
        assert head.startswith(b"HTTP/1.1 408 ")
        assert isinstance(answer["message"], str)
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096


async def test_another_saes_keys_stay_its_own(open_kmes: Any) -> None:
    """Whoever asks for them in whatever way gets the defined error, and the slave still gets them."""
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob")
        async with kmes.sae("app-1").get(kmes.url("alice", ENC)) as response:
            given = await response.json()
        key_id = given["keys"][0]["key_ID"]
        asked = {"key_IDs": [{"key_ID": key_id}]}
        for sae, node, master, status in (
            ("app-2b", "bob", "app-1", 401),
            ("app-2b", "bob", "app-2", 401),
            ("app-2", "bob", "app-1b", 400),
            ("app-2", "bob", "nobody", 400),
            ("app-1", "alice", "app-2", 400),
            ("app-1b", "alice", "app-1", 401),
            ("app-3", "carol", "app-1", 400),
            ("app-3", "bob", "app-1", 401),
        ):
            url = kmes.url(node, f"/api/v1/keys/{master}/dec_keys")
            found, body = await refusal(kmes.sae(sae).post(url, json=asked))
            assert found == status, (sae, node, master)
            assert given["keys"][0]["key"] not in str(body)
        async with kmes.sae("app-2").post(kmes.url("bob", DEC), json=asked) as response:
            assert await response.json() == given
