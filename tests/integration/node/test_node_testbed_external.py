"""A testbed of real processes with KMEs of another make behind its link: policies, hybrid keys, streams, a kill."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from foreign_kme import ForeignKeys, foreign_kme
from testbed_lab import Lab, running

from qnetem.runtime import pki
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import link_session_pb2, parameters_pb2

DEGRADED = link_session_pb2.LINK_STATE_DEGRADED
LINK = "alice-bob"
SAES = {"alice": "north", "bob": "south"}


def credentials(folder: Path) -> tuple[Path, Path, Path]:
    """Write what the foreign KMEs and their SAEs show; return the KMEs' certificate, key and authority."""
    authority = pki.create_authority("acme")
    (folder / "acme.pem").write_bytes(authority.pem.certificate)
    for name, host in (("kme", ["localhost"]), *((sae, []) for sae in SAES.values())):
        issued = authority.issue(f"https://acme.example/{name}", host, common_name=name)
        pki.write_credentials(folder, issued, folder / "acme.pem", f"{name}-")
    return folder / "kme-cert.pem", folder / "kme-key.pem", folder / "acme.pem"


def topology(ports: dict[str, int]) -> dict[str, Any]:
    kmes = {
        node: {
            "address": f"localhost:{port}",
            "sae": SAES[node],
            "ca": "acme.pem",
            "certificate": f"{SAES[node]}-cert.pem",
            "key": f"{SAES[node]}-key.pem",
        }
        for node, port in ports.items()
    }
    external = {"kmes": kmes, "keys_per_block": 8, "pool_high_water": "4kbit"}
    return {
        "apiVersion": "qnetem/v1",
        "name": "foreign",
        "topology": {
            "nodes": {"alice": {}, "bob": {}},
            "links": [{"endpoints": ["alice", "bob"], "kind": "external-kme", "external": external}],
            "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
            "policies": [{"saes": ["app-1", "app-2"], "mode": "hybrid", "when_dry": "pqc", "max_rate": "1Mbit/s"}],
        },
    }


async def stream_call(lab: Lab, session: aiohttp.ClientSession, sae: str, call: str, **body: Any) -> dict[str, Any]:
    address = (await lab.process(lab.saes[sae])).listeners.https
    async with session.post(f"https://{address}/etsi004/v2/{call}", json=body, ssl=lab.tls(sae)) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


@pytest.mark.timeout(240)
@pytest.mark.processes("KMEs on the loopback of this machine, and files that name them: containers see neither")
async def test_a_testbed_with_kmes_of_another_make(tmp_path: Path) -> None:
    paths, keys = credentials(tmp_path), ForeignKeys()
    with foreign_kme(keys, *paths) as north, foreign_kme(keys, *paths) as south:
        async with running(tmp_path, topology({"alice": north, "bob": south})) as lab:
            await lab.in_service()
            assert keys.callers == {"north", "south"}
            plan = await lab.client.get()
            assert [process.name for process in plan.processes if process.name.startswith("qc")] == []

            async def key_of(mode: str) -> bool:
                given = (await lab.ask("app-1", "app-2/enc_keys", {"number": 1}))["keys"]
                ids = {"key_IDs": [{"key_ID": key["key_ID"]} for key in given]}
                assert (await lab.ask("app-2", "app-1/dec_keys", ids))["keys"] == given
                return bool(given[0]["key_extension"]["qnetem_key_mode"] == mode)

            assert await key_of("hybrid")
            with pytest.raises(BadInputError, match="has no quantum channel"):
                await lab.client.set_link(LINK, parameters_pb2.LinkSettings(extra_loss_db=1.0))

            async with aiohttp.ClientSession() as session:
                apps = {"Source": "app-1", "Destination": "app-2"}
                opened = await stream_call(lab, session, "app-1", "open_connect", **apps)
                stream = {"Key_stream_ID": opened["Key_stream_ID"]}
                assert (await stream_call(lab, session, "app-2", "open_connect", **apps, **stream))["Status"] == 0
                first = await stream_call(lab, session, "app-1", "get_key", **stream)
                await lab.act("KILL", "alice")
                await lab.healthy_again("alice", 0)
                await lab.in_service()
                assert await stream_call(lab, session, "app-2", "get_key", **stream) == first
                second = await stream_call(lab, session, "app-1", "get_key", **stream)
                assert (second["Status"], second["Index"]) == (0, 1)

            keys.left = 0
            await lab.until(lambda: key_of("pqc"), "keys of ML-KEM alone")
            await lab.end_is("bob", LINK, DEGRADED, "external-kme-dry")
