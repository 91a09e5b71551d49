"""Policies of SAE pairs as SAEs meet them over ETSI GS QKD 014."""

import json
from typing import Any

import pytest

from node.keys.policy import KeyMode, Policies, Policy
from qnetem.runtime import identity

UNMET = "not all extension_mandatory request options could be met"


def policies(**by_pair: Policy) -> Policies:
    """Policies by pair: a_b=... is that of app-a and app-b."""
    named = []
    for pair, policy in by_pair.items():
        first, second = pair.split("_")
        named.append((frozenset((f"app-{first}", f"app-{second}")), policy))
    return Policies(named)


async def ask(kmes: Any, master: str, slave: str, node: str = "alice", **body: Any) -> tuple[int, dict[str, Any]]:
    async with kmes.sae(master).post(kmes.url(node, f"/api/v1/keys/{slave}/enc_keys"), json=body) as response:
        return response.status, await response.json()


async def status_of(kmes: Any, master: str, slave: str, node: str = "alice") -> dict[str, Any]:
    async with kmes.sae(master).get(kmes.url(node, f"/api/v1/keys/{slave}/status")) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


async def test_a_maximum_rate_is_kept_and_told(open_kmes: Any) -> None:
    now = [1000.0]
    limited = policies(**{"1_2": Policy(max_secret_hz=512.0, burst_bits=1024)})
    async with open_kmes(policies=limited, now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob", 1 << 15)
        body = await status_of(kmes, "app-1", "app-2")
        assert body["stored_key_count"] == 4
        assert body["status_extension"]["qnetem_policy"]["max_rate_bps"] == 512.0
        assert (await ask(kmes, "app-1", "app-2", number=4))[0] == 200
        status, refused = await ask(kmes, "app-1", "app-2")
        assert (status, "stored 0 keys" in refused["message"], "asked 1" in refused["message"]) == (503, True, True)
        status, refused = await ask(kmes, "app-1", "app-2", number=5)
        assert (status, "at most 1024 bits at once" in refused["message"]) == (400, True)
        # the other direction, and other pairs, are not held back
        assert (await ask(kmes, "app-2", "app-1", "bob", number=4))[0] == 200
        assert (await ask(kmes, "app-1", "app-2b", number=16))[0] == 200
        assert "status_extension" not in await status_of(kmes, "app-1", "app-2b")
        now[0] += 0.5
        assert (await ask(kmes, "app-1", "app-2"))[0] == 200


async def test_what_a_pair_is_refused_costs_it_nothing(open_kmes: Any) -> None:
    limited = policies(**{"1_2": Policy(max_secret_hz=512.0, burst_bits=1024)})
    async with open_kmes(policies=limited, now_s=lambda: 1000.0) as kmes:
        await kmes.add_block("alice", "bob", 1024)  # two keys for alice
        assert (await ask(kmes, "app-1", "app-2", number=3))[0] == 503
        assert (await status_of(kmes, "app-1", "app-2"))["stored_key_count"] == 2
        assert (await ask(kmes, "app-1", "app-2", number=2))[0] == 200


async def test_a_guarantee_keeps_others_out_of_the_pool(open_kmes: Any) -> None:
    kept = policies(**{"1_2": Policy(min_secret_hz=102.4)})  # 1024 bits
    async with open_kmes(policies=kept, now_s=lambda: 1000.0) as kmes:
        await kmes.add_block("alice", "bob", 4096)  # eight keys for alice
        assert (await status_of(kmes, "app-1", "app-2b"))["stored_key_count"] == 4
        status, refused = await ask(kmes, "app-1", "app-2b", number=5)
        assert (status, "guaranteed to other SAEs" in refused["message"]) == (503, True)
        assert (await ask(kmes, "app-1", "app-2b", number=4))[0] == 200
        # with another slave beside it the pair is one of several, and does not lend its guarantee
        assert (await ask(kmes, "app-1", "app-2b"))[0] == 503
        assert (await ask(kmes, "app-1", "app-2", number=4))[0] == 200
        assert (await kmes["alice"].store.pool("bob")).available_bits == 0


async def test_keys_live_as_long_as_the_policy_says(open_kmes: Any) -> None:
    now = [1000.0]
    short = policies(**{"1_2": Policy(key_lifetime_s=30.0)})
    async with open_kmes(policies=short, now_s=lambda: now[0]) as kmes:
        await kmes.add_block("alice", "bob")
        _, given = await ask(kmes, "app-1", "app-2", number=2)
        _, other = await ask(kmes, "app-1", "app-2b")
        first, second = given["keys"]

        async def collect(slave: str, key_id: str) -> int:
            url = kmes.url("bob", f"/api/v1/keys/app-1/dec_keys?key_ID={key_id}")
            async with kmes.sae(slave).get(url) as response:
                return int(response.status)

        now[0] += 29
        assert await collect("app-2", first["key_ID"]) == 200
        now[0] += 2
        assert await collect("app-2", second["key_ID"]) == 400
        assert await collect("app-2b", other["keys"][0]["key_ID"]) == 200


async def test_relays_that_a_policy_does_not_allow_are_not_passed(open_kmes: Any) -> None:
    bound = policies(**{"1_3": Policy(allowed_relays=frozenset())})
    async with open_kmes(policies=bound) as kmes:
        kmes.install("alice bob carol")
        for ends in (("alice", "bob"), ("bob", "carol")):
            await kmes.add_block(*ends)
        assert (await status_of(kmes, "app-1", "app-3"))["stored_key_count"] == 0
        status, refused = await ask(kmes, "app-1", "app-3")
        assert (status, "stored 0 keys" in refused["message"]) == (503, True)
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096
        assert (await ask(kmes, "app-1b", "app-3"))[0] == 200


@pytest.mark.parametrize(
    ("mode", "value", "status"),
    [
        (KeyMode.QKD, "qkd", 200),
        (KeyMode.HYBRID, "qkd", 400),
        (KeyMode.QKD, "pqc", 400),
        (KeyMode.QKD, 1, 400),
        (KeyMode.QKD, None, 400),
    ],
)
async def test_a_mandatory_key_mode_is_met_or_refused(open_kmes: Any, mode: KeyMode, value: Any, status: int) -> None:
    async with open_kmes(policies=policies(**{"1_2": Policy(mode=mode)})) as kmes:
        await kmes.add_block("alice", "bob")
        found, body = await ask(kmes, "app-1", "app-2", extension_mandatory=[{"qnetem_key_mode": value}])
        assert found == status
        assert status == 200 or body["message"] == UNMET
        assert (await kmes["alice"].store.pool("bob")).available_bits == (4096 if status == 400 else 4096 - 256)


async def test_contradicting_and_unknown_options_are_told_apart(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        both = [{"qnetem_key_mode": "qkd"}, {"qnetem_key_mode": "hybrid"}]
        assert (await ask(kmes, "app-1", "app-2", extension_mandatory=both))[1]["message"] == UNMET
        _, body = await ask(kmes, "app-1", "app-2", extension_mandatory=[{"qnetem_key_mode": "qkd", "color": "red"}])
        assert body["message"] == "not all extension_mandatory parameters are supported"
        assert body["details"] == [{"extension_mandatory_unsupported": "color"}]


async def test_decisions_and_refusals_are_in_the_audit_trail(open_kmes: Any) -> None:
    limited = policies(**{"1_2": Policy(name="app-1/app-2", max_secret_hz=8.0, burst_bits=8)})
    async with open_kmes(policies=limited) as kmes:
        await kmes.add_block("alice", "bob")
        assert (await ask(kmes, "app-1", "app-2"))[0] == 400
        assert (await ask(kmes, "app-1", "app-2b"))[0] == 200
        trail = (kmes.folder / "alice" / "keys.audit.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in trail]
        decided = next(one for one in entries if one["event"] == "policy.decided")
        assert (decided["party"], decided["policy"], decided["decision"]) == ("app-1", "app-1/app-2", "OVER_BURST")
        refused = next(one for one in entries if one["event"] == "key.refused")
        assert (refused["party"], refused["call"], refused["reason"]) == ("app-1", "enc_keys", "OVER_BURST")


async def test_the_uri_can_be_what_identifies(open_kmes: Any) -> None:
    """An SAE whose common name is another's is who its URI says, when so configured; never whom a header names."""
    async with open_kmes(sae_id_from="uri") as kmes:
        await kmes.add_block("alice", "bob")
        issued = kmes.authority.issue(identity.uri("metro", "sae", "app-1"), common_name="app-1b")
        url = kmes.url("alice", "/api/v1/keys/app-2/status")
        headers = {"X-SAE-ID": "app-1b", "X-Forwarded-Client-Cert": "URI=spiffe://metro/sae/app-1b"}
        async with kmes.session(issued).get(url, headers=headers) as response:
            assert (await response.json())["master_SAE_ID"] == "app-1"
        node = kmes.authority.issue(identity.uri("metro", "node", "app-1"), common_name="app-1")
        async with kmes.session(node).get(url) as response:
            assert response.status == 401
