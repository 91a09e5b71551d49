"""What can be done to nodes and links of a testbed from Python, asynchronously and synchronously."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from qnetem import NotInTimeError, SyncTestbed, Testbed
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed.etsi import KeysRefusedError

LINK = "alice-bob"
PAIR = {
    "apiVersion": "qnetem/v1",
    "name": "pair",
    "seed": 42,
    "time": {"scale": 4},
    "telemetry": {"broker": "none"},
    "topology": {
        "defaults": {"profile": "decoy-bb84-1ghz-apd"},
        "nodes": {"alice": {}, "bob": {}},
        "links": [
            {
                "endpoints": ["alice", "bob"],
                "quantum": {"length": "25km", "extra_loss": "1dB"},
                "protocol": {"block_ramp": ["100kbit"]},
            }
        ],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    },
}
pytestmark = [pytest.mark.topology(PAIR), pytest.mark.timeout(300)]


async def loss(testbed: Testbed) -> str:
    """The extra loss in force."""
    parameters = (await testbed.link(LINK).parameters())["quantum"]["parameters"]
    return str(parameters["extra_loss"])


async def test_both_ends_get_the_same_key_and_it_is_asked_for_once(testbed_session: Testbed) -> None:
    app_1, app_2 = testbed_session.sae("app-1"), testbed_session.sae("app-2")
    await testbed_session.wait_in_service(LINK)
    keys = await testbed_session.eventually(lambda: app_1.enc_keys("app-2", number=2, size=128))
    same = await app_2.dec_keys("app-1", [key.key_id for key in keys])
    assert same == keys
    assert {len(key.value) for key in keys} == {16}
    with pytest.raises(KeysRefusedError, match="app-2: its KME answers 400: one or more keys specified are not found"):
        await app_2.dec_keys("app-1", [keys[0].key_id])
    assert (await app_1.status("app-2"))["slave_SAE_ID"] == "app-2"


async def test_faults_nest_and_come_off_in_any_order(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    first, second = link.fault(loss="3dB"), link.fault(loss="2dB", length="30km")
    await first.__aenter__()
    in_force = await second.__aenter__()
    assert in_force["quantum"]["parameters"]["extra_loss"] == "6dB"
    assert in_force["quantum"]["parameters"]["length"] == "30km"
    await link.set(extra_loss="10dB")
    assert await loss(testbed_session) == "15dB"
    await first.__aexit__(None, None, None)
    assert await loss(testbed_session) == "12dB"
    await link.reset("extra_loss")
    assert await loss(testbed_session) == "3dB"
    await second.__aexit__(None, None, None)
    parameters = await link.parameters()
    assert parameters["quantum"]["parameters"]["extra_loss"] == "1dB"
    assert parameters["quantum"]["parameters"]["length"] == "25km"
    assert parameters["quantum"]["settings"] == {}


async def test_a_fault_heals_whatever_ends_its_block(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    with pytest.raises(ZeroDivisionError):
        async with link.fault(loss="3dB"):
            raise ZeroDivisionError
    assert await loss(testbed_session) == "1dB"

    is_in_force = asyncio.Event()

    async def hold() -> None:
        async with link.fault(loss="3dB"):
            is_in_force.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await is_in_force.wait()
    assert await loss(testbed_session) == "4dB"
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await testbed_session.eventually(lambda: _is(testbed_session, "1dB"))


async def _is(testbed: Testbed, wanted: str) -> bool:
    return await loss(testbed) == wanted


async def test_a_fault_outlives_the_channel_and_heals_while_it_is_away(testbed_session: Testbed) -> None:
    channel = testbed_session.process(f"qc-{LINK}")
    async with testbed_session.link(LINK).fault(loss="3dB"):
        await channel.kill()
        await channel.wait_healthy()
        assert await loss(testbed_session) == "4dB"
        await channel.stop()
    await channel.start()
    await channel.wait_healthy()
    assert await loss(testbed_session) == "1dB"


async def test_a_cut_link_goes_down_and_comes_back(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    await link.wait_in_service()
    events = testbed_session.events()
    async with link.cut("quantum"):
        view = await link.wait_for("DOWN", "no-light")
        assert not view.is_in_service
    await link.wait_in_service()
    begun = await events.until("link.fault.begun", link_id=LINK)
    assert begun.process == "supervisor"
    down = await events.until("link.state.changed", state="DOWN", process="alice")
    assert (down.fields["link_id"], down.fields["reason"]) == (LINK, "no-light")
    assert down.emulated_s > begun.emulated_s
    await events.until("link.fault.healed")
    await link.down()
    await link.wait_for("DOWN")
    await link.up()
    await link.wait_in_service()


async def test_a_node_is_killed_paused_stopped_and_serves_again(testbed_session: Testbed) -> None:
    bob = testbed_session.node("bob")
    before = await bob.status()
    assert (await bob.kill()).last_end == "killed by SIGKILL"
    after = await bob.wait_healthy()
    assert after.pid != before.pid
    assert after.restart_count == before.restart_count + 1
    async with bob.paused():
        assert (await bob.status()).state == "PAUSED"
    async with bob.stopped():
        assert (await bob.status()).state == "STOPPED"
    assert (await bob.status()).is_healthy
    await bob.restart()
    await bob.wait_healthy()
    assert any("process.started" in line for line in bob.logs(20))
    assert len(bob.logs(2)) == 2
    assert (await testbed_session.processes())["bob"].kind == "node"


async def test_every_process_is_reached_over_grpc_as_an_operator(testbed_session: Testbed, tmp_path: Path) -> None:
    alice, link = testbed_session.node("alice"), testbed_session.link(LINK)
    assert (await (await alice.client()).get_node()).name == "alice"
    assert (await (await link.quantum_client()).get_link(LINK)).effective.length_km == 25
    assert (await (await link.classical_client()).get_path(LINK)).is_up
    assert await alice.channel() is await alice.channel()
    access = json.loads(testbed_session.write_access(tmp_path / "access.json").read_text())
    assert access["nodes"]["alice"]["address"] == (await alice.status()).listeners["management"]
    assert access["links"][LINK]["quantum_channel"]["name"] == f"qc-{LINK}"
    assert "BEGIN" not in json.dumps(access)
    assert all(Path(path).is_file() for path in access["credentials"].values())


async def test_what_is_not_there_or_cannot_be_is_refused_in_a_line(testbed_session: Testbed) -> None:
    with pytest.raises(NotFoundError, match=r"no node 'bop' .did you mean 'bob'"):
        testbed_session.node("bop")
    with pytest.raises(NotFoundError, match=r"no process 'bop' .did you mean 'bob'"):
        testbed_session.process("bop")
    with pytest.raises(NotFoundError, match="no node 'cc'"):
        testbed_session.node("cc")
    with pytest.raises(NotFoundError, match=r"no link 'alice-bop' .did you mean 'alice-bob'"):
        testbed_session.link("alice-bop")
    with pytest.raises(NotFoundError, match="no SAE 'app-3'"):
        testbed_session.sae("app-3")
    with pytest.raises(NotFoundError, match="no link 'x'"):
        await testbed_session.wait_in_service("x")
    link = testbed_session.link(LINK)
    with pytest.raises(BadInputError, match="loss: 6 has no unit"):
        async with link.fault(loss=6):  # type: ignore[arg-type]
            pass
    with pytest.raises(BadInputError, match="a fault that does nothing"):
        async with link.fault():
            pass
    with pytest.raises(BadInputError, match=r"faults could add up to 201dB"):
        async with link.fault(loss="200dB"):
            pass
    with pytest.raises(BadInputError, match="no plane 'both of them'"):
        await link.down("both of them")  # type: ignore[arg-type]
    assert await loss(testbed_session) == "1dB"


async def test_what_does_not_come_says_what_was_seen_and_the_last_log_lines(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    async with link.cut():
        await link.wait_for("DOWN")
        with pytest.raises(NotInTimeError) as caught:
            await link.wait_in_service(within="300ms")
    lines = str(caught.value).splitlines()
    assert lines[0] == "not within 300ms: link alice-bob in service"
    assert lines[1].startswith("seen last: LinkView(link_id='alice-bob'")
    assert lines[2] == "links in service: 0 of 1"
    assert lines[3].startswith("  alice-bob: alice DOWN")
    assert lines[4] == "last log lines:"
    assert "link.state.changed" in str(caught.value)


async def test_a_condition_that_hangs_ends_with_its_time(testbed_session: Testbed) -> None:
    async def hangs() -> bool:
        """The sun rises in the west."""
        return await asyncio.Event().wait()

    with pytest.raises(NotInTimeError, match="not within 200ms: The sun rises in the west\n"):
        await testbed_session.eventually(hangs, within="200ms")
    with pytest.raises(NotInTimeError, match="not within 200ms: event sunrise"):
        await testbed_session.events().until("sunrise", within="200ms")


async def test_errors_that_will_not_pass_end_the_wait_at_once(testbed_session: Testbed) -> None:
    with pytest.raises(ZeroDivisionError):
        await testbed_session.eventually(lambda: 1 // 0)
    with pytest.raises(KeysRefusedError):
        await testbed_session.eventually(lambda: testbed_session.sae("app-1").enc_keys("app-2", number=10**6))


async def test_eve_is_seen_by_the_nodes_and_is_gone_after_her_block(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    await link.wait_in_service()
    # 2 % of errors without her, a quarter of what she touches with her: 16 %
    async with link.eve("intercept-resend", fraction=0.6) as in_force:
        assert in_force["quantum"]["parameters"]["eve_intercept"] == 0.6
        assert in_force["quantum"]["requested"]["eve_intercept"] == {"value": 0.6, "by": "fault"}
        await link.wait_for("DOWN", "qber")
    assert (await link.parameters())["quantum"]["parameters"]["eve_intercept"] == 0
    await link.wait_in_service()
    with pytest.raises(BadInputError, match="intercept-resend needs its fraction"):
        async with link.eve("intercept-resend"):
            pass


async def test_settings_come_go_and_are_of_one_way_as_asked(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    values = await link.set(ramp="1h", duration="2h", extra_loss="21dB")
    (layer,) = values["quantum"]["layers"]
    assert (layer["settings"], layer["ramp_s"], layer["duration_s"]) == ({"extra_loss": "21dB"}, 3600, 7200)
    assert 0 < layer["ramp_left_s"] <= 3600
    assert float(values["quantum"]["parameters"]["extra_loss"].removesuffix("dB")) == pytest.approx(1, abs=0.1)
    values = await link.set(direction="bob-alice", delay="5ms")
    assert values["classical"]["one_way"] == {"bob-alice": {"delay": "5ms"}}
    ways = values["classical"]["ways"]
    assert (ways["bob-alice"]["parameters"]["delay"], ways["alice-bob"]["parameters"]["delay"]) == (
        "5ms",
        "122.434701us",
    )
    with pytest.raises(BadInputError, match="light goes the other way alone, so extra_loss_db has no such direction"):
        await link.set(direction="bob-alice", extra_loss="6dB")
    with pytest.raises(BadInputError, match="no direction 'alice-carol'"):
        await link.set(direction="alice-carol", delay="6ms")
    await link.reset("delay", direction="bob-alice")
    values = await link.reset()
    assert values["quantum"]["layers"] == []
    assert values["quantum"]["requested"] == values["classical"]["requested"] == {}


async def test_a_line_that_is_open_one_way_alone_ends_the_session_and_it_comes_back(testbed_session: Testbed) -> None:
    link = testbed_session.link(LINK)
    await link.wait_in_service()
    async with link.fault(direction="alice-bob", **{"classical.loss": "100%"}):
        await link.wait_for("DOWN", "peer-silent")
    await link.wait_in_service()


async def test_a_node_is_taken_off_a_plane_whatever_restarts_and_joined_again(testbed_session: Testbed) -> None:
    """Both runtimes, each by its own means."""
    link, bob = testbed_session.link(LINK), testbed_session.node("bob")
    await testbed_session.wait_in_service(LINK)
    async with bob.disconnected("classical"):
        assert list((await bob.status()).disconnected) == ["classical"]
        await link.wait_for("DOWN")
        await testbed_session.disconnect("bob", "classical")  # again: the same
        view = await testbed_session.disconnect("bob", "quantum")
        assert list(view.disconnected) == ["quantum", "classical"]
        for name in ("bob", "cc", "qc-alice-bob"):
            await testbed_session.process(name).kill()
            await testbed_session.process(name).wait_healthy("60s")
        await testbed_session.connect("bob", "quantum")
        assert (await link.state()).state != "OPERATING"
    assert not (await testbed_session.process("bob").status()).disconnected
    await link.wait_in_service()
    await testbed_session.disconnect("bob", "quantum")
    await link.wait_for("DOWN")
    await testbed_session.heal()
    await link.wait_in_service()
    assert not (await testbed_session.client.get_link(LINK)).faults


async def test_what_cannot_be_disconnected_is_refused_in_a_line(testbed_session: Testbed) -> None:
    with pytest.raises(BadInputError, match=r"^cc: is not on the quantum plane \(classical, management\)$"):
        await testbed_session.disconnect("cc", "quantum")
    with pytest.raises(BadInputError, match=r"^plane radio: there are quantum, classical, management$"):
        await testbed_session.disconnect("bob", "radio")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="no process 'carl'"):
        await testbed_session.disconnect("carl")
    if os.environ.get("QNETEM_RUNTIME", "process") == "process":
        with pytest.raises(BadInputError, match=r"^bob: processes on this machine share the management plane, .*pause"):
            await testbed_session.disconnect("bob")
        with pytest.raises(BadInputError, match=r"^cc: on this machine only nodes can be disconnected; .*compose"):
            await testbed_session.disconnect("cc", "classical")
    assert not (await testbed_session.node("bob").status()).disconnected


async def test_healing_takes_back_what_was_done(testbed_session: Testbed) -> None:
    await testbed_session.link(LINK).set(extra_loss="2dB", delay="1ms")
    await testbed_session.link(LINK).set(dark_counts="1kHz", duration="1h")
    await testbed_session.node("bob").stop()
    await testbed_session.process("cc").pause()
    await testbed_session.heal()
    assert {one.state for one in (await testbed_session.processes()).values()} == {"HEALTHY"}
    parameters = await testbed_session.link(LINK).parameters()
    assert (parameters["quantum"]["settings"], parameters["classical"]["settings"]) == ({}, {})
    assert parameters["quantum"]["layers"] == []


def test_the_synchronous_twin_does_the_same(testbed_session_sync: SyncTestbed) -> None:
    testbed = testbed_session_sync
    link, bob = testbed.link(LINK), testbed.node("bob")
    testbed.wait_in_service()
    (key,) = testbed.eventually(lambda: testbed.sae("app-1").enc_keys("app-2"))
    assert testbed.sae("app-2").dec_keys("app-1", [key.key_id]) == [key]
    assert testbed.sae("app-1").status("app-2")["slave_SAE_ID"] == "app-2"

    events = testbed.events()
    with link.fault(loss="3dB") as in_force, link.fault(loss="2dB"):
        assert in_force["quantum"]["parameters"]["extra_loss"] == "4dB"
        assert link.parameters()["quantum"]["parameters"]["extra_loss"] == "6dB"
    with link.eve("time-shift", shift="0.1ns") as in_force:
        assert in_force["quantum"]["parameters"]["eve_time_shift"] == "100ps"
    assert link.set(duration="1h", dark_counts="1kHz")["quantum"]["layers"][0]["duration_s"] == 3600
    assert link.reset("dark_counts")["quantum"]["layers"] == []
    with pytest.raises(NotInTimeError), link.cut():
        link.wait_in_service(within="100ms") if link.wait_for("DOWN") else None
    assert link.parameters()["quantum"]["parameters"]["extra_loss"] == "1dB"
    assert next(events).name
    assert events.until("link.fault.healed").fields["link_id"] == LINK
    link.wait_in_service()

    with bob.paused():
        assert bob.status().state == "PAUSED"
    with bob.stopped():
        assert testbed.processes()["bob"].state == "STOPPED"
    bob.kill()
    assert bob.wait_healthy().is_healthy
    assert link.set(extra_loss="2dB")["quantum"]["settings"] == {"extra_loss": "2dB"}
    assert link.reset()["quantum"]["settings"] == {}
    node = testbed.run(testbed.asynchronous.node("alice").client())
    assert testbed.run(node.get_node()).name == "alice"
    assert testbed.links()[LINK].endpoints == ("alice", "bob")
    with pytest.raises(
        NotInTimeError, match="not within 100ms: the moon is cheese\nseen last: False\nlinks in service"
    ):
        testbed.eventually(lambda: False, within="100ms", what="the moon is cheese")
    with pytest.raises(ZeroDivisionError):
        testbed.eventually(lambda: 1 // 0)
