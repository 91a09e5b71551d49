"""A whole testbed through the command line, as a user drives it."""

import json
import re
import shutil
import signal
import stat
from collections.abc import Iterator

import pytest
from cli_lab import ROOT, Cli, until

KEY_ID = 36


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running testbed of two nodes that holds keys."""
    folder = tmp_path_factory.mktemp("pair")
    shutil.copy(ROOT / "topologies" / "pair.yaml", folder)
    cli = Cli(folder)
    try:
        out = cli.fine("up", "--wait")
        assert out.startswith("testbed pair is up: ")
        assert "1 links in service" in out
        until(lambda: cli.run("keys", "get", "app-1", "app-2")[0] == 0)
        yield cli
    finally:
        cli.fine("down", "--purge")
        until(lambda: cli.left_running() == [])


def test_up_is_idempotent(pair: Cli) -> None:
    before = pair.processes()
    assert pair.fine("up", "--wait").startswith("testbed pair is up already: ")
    assert {name: one["pid"] for name, one in pair.processes().items()} == {n: o["pid"] for n, o in before.items()}


def test_inspect_tells_processes_links_and_pools(pair: Cli) -> None:
    values = pair.json("inspect")
    assert values["name"] == "pair"
    kinds = {one["kind"] for one in values["processes"]}
    assert kinds == {"node", "quantum-channel", "classical-channel", "broker"}
    (link,) = values["links"]
    assert link["endpoints"] == ["alice", "bob"]
    assert link["state"] in ("OPERATING", "DEGRADED")
    # 25 km of the profile: 97k clicks a second, 2 % errors
    assert 50e3 < link["clicks_hz"] < 150e3
    assert 0.01 < link["qber_prob"] < 0.03
    assert {pool["node"] for pool in values["pools"]} == {"alice", "bob"}
    table = pair.fine("inspect")
    for word in ("alice-bob", "OPERATING", "HEALTHY", "alice", "bob", "broker"):
        assert word in table
    assert "\x1b" not in table


def test_both_clients_get_the_same_keys_and_only_the_ids_are_printed(pair: Cli) -> None:
    ids = pair.fine("keys", "get", "app-1", "app-2", "--number", "3", "--size", "128").split()
    assert [len(one) for one in ids] == [KEY_ID] * 3
    same = pair.json("keys", "get", "app-2", "--from", "app-1", *(word for one in ids[:2] for word in ("--id", one)))
    assert [set(one) for one in same] == [{"key_ID"}] * 2
    assert [one["key_ID"] for one in same] == ids[:2]
    code, out, err = pair.run("keys", "get", "app-2", "--from", "app-1", "--id", ids[0])
    assert (code, out) == (3, "")
    assert err == "qnetem: app-2: its KME answers 400: one or more keys specified are not found on KME\n"


def test_keys_are_shown_on_demand_and_are_equal(pair: Cli) -> None:
    key_id, key = pair.fine("keys", "get", "app-1", "app-2", "--show-key").split()
    (same,) = pair.json("keys", "get", "app-2", "--from", "app-1", "--id", key_id, "--show-key")
    # compared so that a failure does not print them
    assert same["key_ID"] == key_id
    assert bool(same["key"] == key)
    assert len(key) == 44
    logs = pair.fine("logs", "-n", "100000") + pair.fine("events")
    assert bool(key in logs) is False


def test_the_status_is_what_the_kme_tells(pair: Cli) -> None:
    status = pair.json("keys", "status", "app-1", "app-2")
    assert (status["source_KME_ID"], status["target_KME_ID"]) == ("alice", "bob")
    assert status["stored_key_count"] > 0
    pools = pair.json("keys", "status")
    assert {(pool["node"], pool["peer_node"]) for pool in pools} == {("alice", "bob"), ("bob", "alice")}


def test_who_is_no_sae_is_told_the_near_one(pair: Cli) -> None:
    code, _, err = pair.run("keys", "get", "app1", "app-2")
    assert code == 3
    assert err == "qnetem: testbed pair: no SAE 'app1' (did you mean 'app-1'?)\n"


def test_an_export_is_private_complete_and_not_replaced_in_silence(pair: Cli) -> None:
    folder = pair.folder / "exported"
    pair.fine("sae", "export", "app-2", "-o", "exported")
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem", "sae.json"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    about = json.loads((folder / "sae.json").read_text())
    bob = pair.processes()["bob"]
    assert about == {"kme_url": f"https://{bob['listeners']['https']}", "sae_id": "app-2", "kme_id": "bob"}
    before = (folder / "key.pem").read_bytes()
    code, _, err = pair.run("sae", "export", "app-1", "-o", "exported")
    assert (code, err) == (3, "qnetem: exported/cert.pem: is there already (--force replaces it)\n")
    assert bool((folder / "key.pem").read_bytes() == before)
    pair.fine("sae", "export", "app-1", "-o", "exported", "--force")
    assert json.loads((folder / "sae.json").read_text())["sae_id"] == "app-1"


def test_a_killed_node_comes_back(pair: Cli) -> None:
    before = pair.processes()["bob"]
    assert "killed by SIGKILL" in pair.fine("kill", "bob")
    until(lambda: (now := pair.processes()["bob"])["state"] == "HEALTHY" and now["pid"] != before["pid"])
    assert pair.processes()["bob"]["restart_count"] == before["restart_count"] + 1
    assert "restart_count" not in pair.fine("inspect")
    assert pair.fine("up", "--wait").startswith("testbed pair is up already")


def test_a_stopped_node_stays_so_until_started(pair: Cli) -> None:
    assert pair.json("stop", "alice")[0]["state"] == "STOPPED"
    assert pair.processes()["alice"]["state"] == "STOPPED"
    assert pair.json("inspect")["links"][0]["state"] == "UNKNOWN"
    pair.fine("start", "alice")
    pair.fine("up", "--wait")
    assert pair.processes()["alice"]["state"] == "HEALTHY"


def test_a_frozen_process_goes_on(pair: Cli) -> None:
    assert pair.json("pause", "broker")[0]["state"] == "PAUSED"
    pair.fine("resume", "broker")
    until(lambda: pair.processes()["broker"]["state"] == "HEALTHY")


def test_a_process_that_is_not_there_is_told(pair: Cli) -> None:
    code, out, err = pair.run("kill", "bobb")
    assert (code, out) == (3, "")
    assert err.startswith("qnetem: ")
    assert "bobb" in err


def test_settings_of_a_link_hold_until_reset(pair: Cli) -> None:
    assert pair.fine("link", "set", "alice-bob", "extra_loss=3dB", "delay=2ms") == (
        "link alice-bob: quantum extra_loss=3dB; classical delay=2ms\n"
    )
    shown = pair.json("link", "show", "alice-bob")
    assert shown["quantum"]["parameters"]["extra_loss"] == "3dB"
    assert shown["classical"]["parameters"]["delay"] == "2ms"
    before = pair.processes()["cc"]["pid"]
    pair.fine("restart", "cc")
    until(lambda: (now := pair.processes()["cc"])["state"] == "HEALTHY" and now["pid"] != before)
    assert pair.json("link", "show", "alice-bob")["classical"]["parameters"]["delay"] == "2ms"
    assert pair.fine("link", "reset", "alice-bob", "delay") == "link alice-bob: quantum extra_loss=3dB\n"
    assert pair.fine("link", "reset", "alice-bob") == "link alice-bob: as planned\n"
    assert re.search(r"^quantum +extra_loss +0dB$", pair.fine("link", "show", "alice-bob"), re.MULTILINE)


def test_settings_come_and_go_and_are_of_one_way(pair: Cli) -> None:
    out = pair.fine("link", "set", "alice-bob", "delay=2ms", "--ramp", "1h", "--for", "2h", "--direction", "bob-alice")
    assert re.fullmatch(
        r"link alice-bob: classical delay=2ms bob-alice \(there in 3(600|599)s, gone in 7(200|199)s\)\n",
        out,
    )
    shown = pair.fine("link", "show", "alice-bob")
    assert re.search(r"^classical +delay bob-alice +2ms +12[0-9.]+us +set, there in ", shown, re.MULTILINE)
    for arguments, text in (
        (("set", "alice-bob", "extra_loss=1dB", "--direction", "bob-alice"), "light goes the other way alone"),
        (("set", "alice-bob", "delay=1ms", "--ramp", "2s", "--for", "1s"), "ramp_s 2 is longer than the 1 s"),
    ):
        code, _, err = pair.run("link", *arguments)
        assert (code, text in err) == (3, True), err
    assert pair.fine("link", "reset", "alice-bob", "delay") == "link alice-bob: as planned\n"


def test_eve_is_attached_listed_and_detached(pair: Cli) -> None:
    attached = pair.fine("eve", "attach", "alice-bob", "beam-splitting", "--fraction", "10%")
    assert re.search(r"^alice-bob +beam-splitting +fraction +0\.1 +0\.1 +set$", attached, re.MULTILINE)
    pair.fine("eve", "attach", "alice-bob", "trojan", "--photons", "0.001", "--for", "1h")
    assert [one["attack"] for one in pair.json("eve", "list")] == ["beam-splitting", "trojan"]
    code, _, err = pair.run("eve", "attach", "alice-bob", "blinding", "--shift", "5ps")
    assert (code, err) == (3, "qnetem: blinding has no shift; how strong it is is its fraction\n")
    assert "trojan" not in pair.fine("eve", "detach", "alice-bob", "trojan")
    assert pair.fine("eve", "detach", "alice-bob") == "nobody listens on alice-bob\n"
    assert pair.json("link", "show", "alice-bob")["quantum"]["settings"] == {}


def test_a_link_is_cut_and_mended(pair: Cli) -> None:
    pair.fine("up", "--wait")
    assert pair.fine("link", "down", "alice-bob") == "link alice-bob: quantum down; classical down\n"
    until(lambda: pair.json("inspect")["links"][0]["state"] == "DOWN")
    assert pair.fine("link", "up", "alice-bob") == "link alice-bob: as planned\n"
    pair.fine("up", "--wait")


def test_up_waits_no_longer_for_a_link_without_light(pair: Cli) -> None:
    pair.fine("up", "--wait")
    pair.fine("link", "down", "alice-bob", "--plane", "quantum")
    try:
        until(lambda: pair.json("inspect")["links"][0]["state"] == "DOWN")
        code, _, err = pair.run("up", "--wait", "--timeout", "60s")
        assert code == 1
        assert "qnetem: alice-bob is DOWN: no-light\n" in err
        assert pair.processes()["alice"]["state"] == "HEALTHY"  # left up
    finally:
        pair.fine("link", "up", "alice-bob")
    pair.fine("up", "--wait")


def test_a_wrong_setting_changes_nothing(pair: Cli) -> None:
    for setting in ("extra_loss=3", "extraloss=3dB", "extra_loss=-3dB"):
        code, _, err = pair.run("link", "set", "alice-bob", "delay=1ms", setting)
        assert code == 3
        assert err.count("\n") == 1
    assert pair.json("link", "show", "alice-bob")["classical"]["settings"] == {}
    code, _, err = pair.run("link", "show", "alice-bub")
    assert (code, err.startswith("qnetem: ")) == (3, True)


def test_logs_and_events_are_those_of_the_processes(pair: Cli) -> None:
    log = pair.fine("logs", "alice", "-n", "3").splitlines()
    assert len(log) <= 3
    assert all(" alice " in line for line in log)
    records = [json.loads(line) for line in pair.fine("events", "-f", "json").splitlines()]
    assert {"alice", "bob", "supervisor"} <= {record["process"] for record in records}
    assert [record["wall"] for record in records] == sorted(record["wall"] for record in records)
    code, _, err = pair.run("logs", "alise")
    assert (code, err) == (3, "qnetem: no process 'alise' (did you mean 'alice'?)\n")


def test_followed_events_come_as_they_happen(pair: Cli) -> None:
    with (pair.folder / "followed").open("w") as out:
        following = pair.start("events", "--follow", "-n", "0", "-f", "json", out=out)

    def has_seen() -> bool:
        pair.fine("pause", "broker")
        pair.fine("resume", "broker")
        return '"process.paused"' in (pair.folder / "followed").read_text()

    try:
        # what happens before it has found the ends of the files is not followed
        until(has_seen)
    finally:
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")


def test_a_changed_file_is_refused_with_the_difference(pair: Cli) -> None:
    path = pair.folder / "pair.yaml"
    text = path.read_text()
    pid = pair.processes()["alice"]["pid"]
    try:
        path.write_text(text.replace("25km", "26km"))
        code, out, err = pair.run("up")
        assert (code, out) == (3, "")
        assert "--reconfigure" in err
        assert "26km" in err
    finally:
        path.write_text(text)
    assert pair.processes()["alice"]["pid"] == pid


def test_the_topology_may_be_gone_while_its_testbed_runs(pair: Cli) -> None:
    (pair.folder / "pair.yaml").rename(pair.folder / "away")
    try:
        assert pair.json("inspect")["name"] == "pair"
    finally:
        (pair.folder / "away").rename(pair.folder / "pair.yaml")
