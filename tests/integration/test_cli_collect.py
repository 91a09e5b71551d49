"""What `collect` hands over: all that helps, of a testbed in whatever condition, and no secret in any encoding."""

import base64
import io
import json
import os
import re
import shutil
import signal
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_lab import ROOT, Cli, until
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from secret_search import is_in
from testbed_lab import secrets_of

from qnetem.testbed.layout import Layout

pytestmark = pytest.mark.timeout(300)
PROCESSES = ("alice", "bob", "broker", "cc", "qc-alice-bob")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A testbed of two nodes that has given keys to its SAEs."""
    folder = tmp_path_factory.mktemp("collect")
    shutil.copy(ROOT / "topologies" / "pair.yaml", folder)
    cli = Cli(folder)
    try:
        cli.fine("up", "--wait")
        until(lambda: cli.run("keys", "get", "app-1", "app-2")[0] == 0)
        yield cli
    finally:
        cli.fine("down", "--purge")
        until(lambda: cli.left_running() == [])


class Collected:
    """An archive: its files by name, without their folder."""

    def __init__(self, cli: Cli, name: str, *arguments: str) -> None:
        code, self.out, self.err = cli.run("collect", "-o", name, *arguments)
        assert code == 0, self.err
        self.path = cli.folder / name
        with tarfile.open(self.path) as archive:
            self.names = archive.getnames()
            self.files = {
                one.name.partition("/")[2]: read.read() for one in archive if (read := archive.extractfile(one))
            }
        self.about: dict[str, Any] = json.loads(self.files["about.json"])


def all_secrets(layout: Layout) -> list[bytes]:
    """Return what must not leave the machine: those of the testbed, and of every private key the number itself."""
    found = secrets_of(layout, ["alice", "bob"])
    for path in layout.pki.rglob("*key.pem"):
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        found.append(key.private_numbers().private_value.to_bytes(32))
        found += path.read_bytes().splitlines()[1:-1]
    assert len(found) > 30
    return found


def leaks(secrets: list[bytes], files: dict[str, bytes]) -> list[str]:
    """Return the files that hold a secret."""
    return [name for name, data in files.items() if any(is_in(secret, data) for secret in secrets)]


def test_an_archive_holds_what_helps_and_is_private(pair: Cli) -> None:
    collected = Collected(pair, "whole.tar.gz")
    assert stat.S_IMODE(collected.path.stat().st_mode) == 0o600
    per_process = [f"logs/{name}.log" for name in (*PROCESSES, "supervisor")]
    per_process += [f"journals/{name}.jsonl" for name in (*PROCESSES, "supervisor")]
    per_process += [f"metrics/{name}.txt" for name in PROCESSES]
    whole = ("about", "clock", "doctor", "files", "inspect", "links", "plan", "ports")
    expected = sorted([*(f"{name}.json" for name in whole), "topology.yaml", *per_process])
    assert collected.names == [f"qnetem-pair/{name}" for name in expected]
    assert collected.out.startswith(f"wrote whole.tar.gz: {len(expected)} files, ")
    assert collected.err == ""
    about = collected.about
    assert (about["testbed"], about["condition"], about["missing"], about["redacted"]) == ("pair", "running", {}, {})
    assert about["kernel"].startswith(os.uname().release)
    assert {"grpcio", "numpy", "aiomqtt"} <= set(about["packages"])
    inspected = json.loads(collected.files["inspect.json"])
    assert inspected["links"][0]["state"] in ("OPERATING", "DEGRADED")
    assert inspected["processes"][0]["usage"]["memory_bytes"] > 0
    assert json.loads(collected.files["links.json"])[0]["quantum"]["effective"]["length_km"] == 25
    assert b"qnetem_link_qber_prob" in collected.files["metrics/alice.txt"]
    assert {one["what"] for one in json.loads(collected.files["doctor.json"])} >= {"python", "state"}
    assert b"length: 25km" in collected.files["topology.yaml"]
    # which files there are, not what is in them
    listed = {one["path"]: one for one in json.loads(collected.files["files.json"])}
    assert listed["secret"] == {"path": "secret", "mode": "-rw-------", "size_bytes": 16}


def test_no_secret_is_in_an_archive_in_any_encoding(pair: Cli) -> None:
    _, key = pair.fine("keys", "get", "app-1", "app-2", "--show-key").split()
    secrets = [*all_secrets(Layout(pair.folder / ".qnetem" / "pair")), base64.b64decode(key)]
    collected = Collected(pair, "searched.tar.gz")
    assert collected.about["redacted"] == {}
    assert leaks(secrets, collected.files) == []
    # the search would find one: in the same files, and in those that are left where they are
    planted = {**collected.files, "logs/alice.log": collected.files["logs/alice.log"] + secrets[0].hex().encode()}
    assert leaks(secrets, planted) == ["logs/alice.log"]
    state = pair.folder / ".qnetem" / "pair"
    left = {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}
    found = leaks(secrets, left)
    assert {"secret", "processes/alice/config.json", "processes/qc-alice-bob/config.json", "pki/ca-key.pem"} <= set(
        found
    )
    assert not [name for name in found if name.startswith(("logs/", "journals/"))]


def test_a_secret_that_somebody_has_logged_is_taken_out_and_told(pair: Cli) -> None:
    layout = Layout(pair.folder / ".qnetem" / "pair")
    secrets = all_secrets(layout)
    log = layout.logs / "stranger.log"
    password = layout.mqtt_password("alice").read_text().strip()
    log.write_text(
        f"secret {secrets[0].hex()}\nbase64 {base64.b64encode(secrets[1]).decode()}\nrepr {secrets[2]!r}\n"
        f"mqtts://alice:{password}@broker\n{(layout.authority_key).read_text()}\nnothing\n"
    )
    try:
        collected = Collected(pair, "planted.tar.gz")
    finally:
        log.unlink()
    assert leaks(secrets, collected.files) == []
    assert set(collected.about["redacted"]) == {"logs/stranger.log"}
    assert re.search(r"^qnetem: took \d+ secrets out of logs/stranger.log", collected.err, re.MULTILINE)
    assert collected.files["logs/stranger.log"].endswith(b"\n\nnothing\n")


def test_a_long_log_is_cut_at_its_head_and_said_so(pair: Cli) -> None:
    log = Layout(pair.folder / ".qnetem" / "pair").logs / "long.log"
    log.write_bytes(b"".join(b'{"event": "x", "number": %d}\n' % number for number in range(300_000)))
    size_bytes = log.stat().st_size
    try:
        collected = Collected(pair, "long.tar.gz")
    finally:
        log.unlink()
    lines = [json.loads(line) for line in io.BytesIO(collected.files["logs/long.log"])]
    assert lines[0]["event"] == "collect.cut"
    cut_bytes = collected.about["cut_bytes"]["logs/long.log"]
    assert cut_bytes == lines[0]["cut_bytes"]
    assert size_bytes - cut_bytes <= 4 * 2**20
    assert [line["number"] for line in lines[1:]] == list(range(300_000 - len(lines) + 1, 300_000))


def test_nothing_is_replaced(pair: Cli) -> None:
    (pair.folder / "mine.tar.gz").write_text("mine")
    assert pair.run("collect", "-o", "mine.tar.gz") == (3, "", "qnetem: mine.tar.gz: is there already\n")
    assert (pair.folder / "mine.tar.gz").read_text() == "mine"
    out = pair.fine("collect")
    match = re.fullmatch(r"wrote (qnetem-pair-\d{8}-\d{6}\.tar\.gz): \d+ files, \d+ KiB\n", out)
    assert match is not None
    assert (pair.folder / match[1]).exists()


def test_a_testbed_that_hangs_is_collected_without_what_it_would_tell(pair: Cli) -> None:
    pid = pair.json("inspect")["supervisor_pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        collected = Collected(pair, "hung.tar.gz")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert collected.about["condition"] == "running"
    assert set(collected.about["missing"]) == {"inspect.json", "links.json"}
    assert b"qnetem_link_qber_prob" in collected.files["metrics/alice.txt"]
    until(lambda: pair.run("inspect")[0] == 0)


def test_killed_down_and_never_up(tmp_path: Path) -> None:
    shutil.copy(ROOT / "topologies" / "pair.yaml", tmp_path)
    cli = Cli(tmp_path)
    never = Collected(cli, "never.tar.gz")
    assert (never.about["condition"], never.about["testbed"]) == ("never brought up", "pair")
    assert set(never.files) == {"about.json", "doctor.json", "topology-file.yaml"}
    try:
        cli.fine("up")
        secrets = all_secrets(Layout(tmp_path / ".qnetem" / "pair"))
        os.kill(cli.json("inspect")["supervisor_pid"], signal.SIGKILL)
        killed = Collected(cli, "killed.tar.gz")
        assert killed.about["condition"] == "killed"
        assert "metrics" in next(iter(killed.about["missing"]))
        assert b'"process.healthy"' in killed.files["journals/supervisor.jsonl"]
        assert {f"logs/{name}.log" for name in PROCESSES} <= set(killed.files)
        cli.fine("down")
        # the file has changed since
        text = (tmp_path / "pair.yaml").read_text()
        (tmp_path / "pair.yaml").write_text(text.replace("25km", "26km"))
        down = Collected(cli, "down.tar.gz")
        assert down.about["condition"] == "down"
        assert b"length: 25km" in down.files["topology.yaml"]
        assert b"length: 26km" in down.files["topology-file.yaml"]
        # and what the launcher wrote is damaged
        (tmp_path / ".qnetem" / "pair" / "plan.json").write_text("{")
        damaged = Collected(cli, "damaged.tar.gz")
        assert "damaged" in damaged.about["missing"]["plan.json"]
        assert "logs/alice.log" in damaged.files
        for collected in (never, killed, down, damaged):
            assert leaks(secrets, collected.files) == []
    finally:
        cli.run("down", "--purge")


def test_a_wrong_topology_is_collected_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("apiVersion: qnetem/v1\nname: lab\ntopology: {nodes: {a: 7}}\n")
    collected = Collected(Cli(tmp_path), "wrong.tar.gz")
    assert "lab.yaml:3" in collected.about["missing"]["topology-file.yaml"]
    assert collected.err.startswith("without topology-file.yaml: ")
    code, out, err = Cli(tmp_path).run("collect", "-t", "none.yaml", "-o", "none.tar.gz")
    assert (code, out, err) == (3, "", f"qnetem: {tmp_path / 'none.yaml'}: no such file\n")
    assert not (tmp_path / "none.tar.gz").exists()
