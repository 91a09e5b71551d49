"""Keys on a testbed of real processes: the main job, what outlives a kill, what lies on the disks and in the logs."""

import re
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from testbed_lab import Lab, RefusedError, blocks_of, differences, running, secrets_of

from qnetem.topology import ring
from qnetem.v1 import link_session_pb2, parameters_pb2

pytestmark = pytest.mark.timeout(600)

LINK = "alice-bob"
DOWN = link_session_pb2.LINK_STATE_DOWN
DEGRADED = link_session_pb2.LINK_STATE_DEGRADED
OPERATING = link_session_pb2.LINK_STATE_OPERATING


@pytest.fixture
def pair() -> dict[str, Any]:
    """Two nodes whose blocks come two or three a second."""
    topology = ring(2, name="pair") | {"time": {"scale": 4}}
    topology["topology"] |= {
        "nodes": {"alice": {}, "bob": {}},
        "links": [{"endpoints": ["alice", "bob"], "protocol": {"block_ramp": ["100kbit"]}}],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    }
    return topology


def check(lab: Lab) -> None:
    """After the testbed went down: nothing differs, nothing was given twice."""
    assert lab.history.wrongs() == []
    alice, bob = blocks_of(lab.layout, "alice"), blocks_of(lab.layout, "bob")
    assert differences(alice, bob) == []
    assert sum(state == "available" for state, _ in alice.values()) > 0


async def exchange(lab: Lab) -> None:
    """One key each way."""
    await lab.collect("app-2", "app-1", await lab.new_key("app-1", "app-2"))
    await lab.collect("app-1", "app-2", await lab.new_key("app-2", "app-1"))


async def test_both_ends_get_the_same_keys_and_a_killed_node_still_serves_them(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    async with running(tmp_path, pair) as lab:
        await lab.in_service()
        await exchange(lab)
        waiting = await lab.new_key("app-1", "app-2")
        await lab.act("KILL", "bob")
        await lab.healthy_again("bob", 0)
        await lab.collect("app-2", "app-1", waiting)
        with pytest.raises(RefusedError, match="one or more keys specified are not found on KME"):
            await lab.collect("app-2", "app-1", waiting)
        await lab.in_service()
        await exchange(lab)
    check(lab)


# (node that dies, crash point, who does what meanwhile)
BLOCK_POINTS = [
    ("alice", "store.incarnation.before"),
    ("alice", "store.incarnation.after"),
    ("alice", "store.pulses.before"),
    ("alice", "store.pulses.after"),
    *[
        ("alice", f"store.block.{step}.{when}")
        for step in ("prepare", "commit", "confirm")
        for when in ("before", "after")
    ],
    *[("bob", f"store.block.{step}.{when}") for step in ("prepare", "commit") for when in ("before", "after")],
    ("alice", "session.transmitter.prepared"),
    ("alice", "session.transmitter.committed"),
    ("bob", "session.receiver.prepared"),
    ("bob", "session.receiver.committed"),
]


async def test_killed_at_each_crash_point_of_a_block_both_ends_settle_on_the_same_keys(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    async with running(tmp_path, pair) as lab:
        for node, point in BLOCK_POINTS:
            await lab.in_service()
            kept = await lab.new_key("app-1", "app-2")
            restarts = (await lab.process(node)).restart_count
            lab.arm(node, point)
            await lab.act("RESTART", node)

            async def died(node: str = node, restarts: int = restarts) -> bool:
                return not lab.is_armed(node) and (await lab.process(node)).restart_count > restarts

            await lab.until(died, f"{node} killed at {point}")
            await lab.in_service()
            await lab.collect("app-2", "app-1", kept)
        await exchange(lab)
    check(lab)


KEY_POINTS = [
    *[("alice", f"keys.{step}.{when}") for step in ("reserve", "deliver") for when in ("before", "after")],
    *[("bob", f"keys.assign.{when}") for when in ("before", "after")],
    *[("bob", f"keys.collect.{when}") for when in ("before", "after")],
]


async def test_killed_at_each_crash_point_of_a_key_none_is_given_twice_and_none_acknowledged_is_lost(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    async with running(tmp_path, pair) as lab:
        await lab.in_service()
        for node, point in KEY_POINTS:
            kept = await lab.new_key("app-1", "app-2")
            lab.arm(node, point)
            await lab.act("RESTART", node)
            await lab.healthy_again(node, -1)
            await lab.in_service()
            restarts = (await lab.process(node)).restart_count
            collected = False
            if point.startswith("keys.collect"):
                with pytest.raises(aiohttp.ClientError):
                    await lab.collect("app-2", "app-1", kept)
                # unanswered: durable consumption may have cost the key, and must not have doubled it
                collected = point.endswith("after")
            else:
                # asks again after the unanswered request
                await lab.collect("app-2", "app-1", await lab.new_key("app-1", "app-2"))
            await lab.healthy_again(node, restarts)
            assert not lab.is_armed(node), point
            if collected:
                with pytest.raises(RefusedError, match="not found on KME"):
                    await lab.collect("app-2", "app-1", kept)
            else:
                await lab.collect("app-2", "app-1", kept)
        await lab.in_service()
        await exchange(lab)
    check(lab)


async def test_links_leave_service_for_what_happens_to_them_and_come_back_by_themselves(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    async with running(tmp_path, pair) as lab:
        await lab.in_service()

        await lab.client.set_link(LINK, parameters_pb2.LinkSettings(is_up=False))
        for node in ("alice", "bob"):
            await lab.end_is(node, LINK, DOWN, "no-light")
        await lab.client.reset_link(LINK, is_all=True)
        await lab.in_service()

        await lab.client.set_link(LINK, parameters_pb2.LinkSettings(misalignment_prob=0.07))
        await lab.end_is("bob", LINK, DEGRADED, "qber")
        await lab.client.set_link(LINK, parameters_pb2.LinkSettings(misalignment_prob=0.3))
        for node in ("alice", "bob"):
            await lab.end_is(node, LINK, DOWN, "qber")
        await lab.client.reset_link(LINK, is_all=True)
        await lab.in_service()

        await lab.client.set_link(LINK, classical=parameters_pb2.ClassicalSettings(is_up=False))
        for node in ("alice", "bob"):
            await lab.end_is(node, LINK, DOWN)
        await lab.client.reset_link(LINK, is_all=True)
        await lab.in_service()

        for process in (f"qc-{LINK}", "cc"):
            await lab.act("KILL", process)
            await lab.healthy_again(process, 0)
            await lab.in_service()

        await lab.act("PAUSE", "bob")
        await lab.end_is("alice", LINK, DOWN, "peer-silent")
        await lab.act("RESUME", "bob")
        await lab.in_service()
        await exchange(lab)
    check(lab)


async def test_settings_hold_when_the_channel_restarts(tmp_path: Path, pair: dict[str, Any]) -> None:
    async with running(tmp_path, pair) as lab:
        await lab.in_service()
        await lab.client.set_link(LINK, parameters_pb2.LinkSettings(extra_loss_db=3.0))
        await lab.act("KILL", f"qc-{LINK}")
        await lab.healthy_again(f"qc-{LINK}", 0)
        report = await lab.client.get_link(LINK)
        assert report.quantum.effective.extra_loss_db == 3.0
        await lab.in_service()


async def test_no_secret_is_in_any_log_journal_or_world_readable_file(tmp_path: Path, pair: dict[str, Any]) -> None:
    async with running(tmp_path, pair) as lab:
        await lab.in_service()
        await exchange(lab)
        metrics = ""
        async with aiohttp.ClientSession() as session:
            for process in (await lab.client.get()).processes:
                if process.listeners.metrics:
                    async with session.get(f"http://{process.listeners.metrics}/metrics") as response:
                        metrics += await response.text()
    assert 'qnetem_link_secret_bits_total{link_id="alice-bob"}' in metrics
    said = metrics + "".join(
        path.read_text() for folder in (lab.layout.logs, lab.layout.journals) for path in folder.iterdir()
    )
    secrets = secrets_of(lab.layout, ["alice", "bob"]) + list(lab.history.given.values())
    assert len(secrets) >= 8
    assert [s for s in secrets if any(form in said for form in forms(s))] == []
    open_files = [
        path for path in lab.layout.root.rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_files == []
    assert stat.S_IMODE(lab.layout.root.stat().st_mode) == 0o700


def forms(secret: bytes) -> list[str]:
    """The ways in which a secret could be written down."""
    import base64

    text = [secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]]
    return text + ([secret.decode()] if re.fullmatch(rb"[ -~]+", secret) else [])


def test_the_checkers_see_planted_faults(tmp_path: Path) -> None:
    one = {"x": ("available", b"\x01\x00\x03"), "y": ("available", b"\x01"), "z": ("aborted", b"")}
    assert differences(one, {"x": ("available", b"\x00\x02\x03"), "y": ("available", b"\x01")}) == []
    assert differences(one, {"x": ("available", b"\x01\x02\x04"), "y": ("prepared", b"\x01")}) != []
    assert differences(one, one | {"z": ("available", b"\x05")}) != []
    # one block that was being settled when both ended is none, where both hold the same
    assert differences(one, one | {"y": ("prepared", b"\x01")}) == []
    assert differences(one, one | {"y": ("prepared", b"\x02")}) != []
    assert differences(one, one | {"x": ("prepared", b"\x01\x00\x03"), "y": ("prepared", b"\x01")}) != []
    lab = Lab(None, None, {})  # type: ignore[arg-type]
    lab.history.add("app-1", "k", b"1")
    lab.history.add("app-2", "k", b"1")
    assert lab.history.wrongs() == []
    lab.history.add("app-2", "k", b"1")
    lab.history.add("app-1", "l", b"1")
    lab.history.add("app-2", "l", b"2")
    assert len(lab.history.wrongs()) == 3
