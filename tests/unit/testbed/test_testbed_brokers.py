"""Which broker processes are told of, and what a mosquitto is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qnetem.runtime.errors import StartError
from qnetem.testbed.addresses import LocalAddresses, port_wishes, with_listeners
from qnetem.testbed.configs import ConfigMaker
from qnetem.testbed.credentials import make_missing
from qnetem.testbed.desired import Desired
from qnetem.testbed.layout import Layout
from qnetem.testbed.mosquitto_files import access_text, config_text, password_line, usernames_in
from qnetem.testbed.plan import TestbedPlan, planned
from qnetem.testbed.prepare import prepare
from qnetem.testbed.state import State
from qnetem.topology import Topology
from qnetem.v1 import process_pb2

EXTERNAL = {
    "broker": "external",
    "address": "[::1]:8883",
    "ca": "certs/ca.pem",
    "username": "lab",
    "password_file": "/secret/password",
}


def configs_of(topology: Topology, program: str = "") -> dict[str, process_pb2.ProcessConfig]:
    processes, links = planned(topology)
    ports = {wish.key: 20000 + index for index, wish in enumerate(port_wishes(topology, processes))}
    plan = TestbedPlan("ring", "/t.yaml", "", 0, False, 1, 1.0, with_listeners(processes, ports), links)
    maker = ConfigMaker(topology, plan, LocalAddresses(ports), Layout(Path("/state")), bytes(16), Desired(), program)
    return {name: maker.make(process) for name, process in plan.processes.items()}


def test_of_an_external_broker_everyone_is_told_the_same(topology_of: Callable[..., Topology]) -> None:
    topology = replace(topology_of(2, telemetry=EXTERNAL), path=Path("/lab/net.yaml"))
    configs = configs_of(topology)
    assert "broker" not in configs
    told = process_pb2.TelemetryConfig(
        host="::1",
        port=8883,
        username="lab",
        password_path="/secret/password",
        authority_path="/lab/certs/ca.pem",
    )
    assert {name: config.telemetry for name, config in configs.items()} == dict.fromkeys(configs, told)


def test_an_external_broker_may_ask_for_no_login(topology_of: Callable[..., Topology]) -> None:
    anonymous = {key: EXTERNAL[key] for key in ("broker", "address", "ca")}
    telemetry = configs_of(topology_of(2, telemetry=anonymous))["n0"].telemetry
    assert (telemetry.username, telemetry.password_path) == ("", "")


def test_a_mosquitto_is_run_with_users_of_its_own_kind(topology_of: Callable[..., Topology]) -> None:
    configs = configs_of(topology_of(2, telemetry={"broker": "mosquitto"}), "/usr/sbin/mosquitto")
    assert configs["broker"].broker.program == "/usr/sbin/mosquitto"
    assert configs["broker"].broker.users_path == "/state/pki/mqtt/users.mosquitto"
    assert configs["n0"].telemetry.username == "n0"
    assert configs["n0"].telemetry.authority_path == ""
    embedded = configs_of(topology_of(2))
    assert (embedded["broker"].broker.program, embedded["broker"].broker.users_path) == (
        "",
        "/state/pki/mqtt/users.embedded",
    )


def test_without_a_broker_nobody_is_told_of_one(topology_of: Callable[..., Topology]) -> None:
    configs = configs_of(topology_of(2, telemetry={"broker": "none"}))
    assert not any(config.HasField("telemetry") or config.HasField("broker") for config in configs.values())


def test_a_password_is_hashed_as_mosquitto_passwd_does() -> None:
    import base64

    # written by mosquitto_passwd 2.0.11
    line = (
        "alice:$7$101$JbUgKfwY4UjIoauF$"
        "xnHY2oWX9NzWpqTOKbTD8uhUonkPtBT3nDTpYzQ68JU+7Q03m6F/+TcxEJbAxtYHYAIvFZy5JYpcqRaoYKM5Mw=="
    )
    assert password_line("alice", "alice-secret", base64.b64decode("JbUgKfwY4UjIoauF")) == line
    assert usernames_in(f"{line}\nbob:$7$x\n\n") == ["alice", "bob"]


def test_everyone_has_a_password_that_mosquitto_does_not(topology_of: Callable[..., Topology], tmp_path: Path) -> None:
    state = State.beside(tmp_path / "net.yaml", "ring")
    state.create()
    topology = topology_of(2, telemetry={"broker": "mosquitto"})
    processes, _ = planned(topology)
    make_missing(state.layout, topology, processes)
    text = state.layout.mqtt_users("mosquitto").read_text()
    assert set(usernames_in(text)) == {*processes, "operator"}
    salts = {line.split("$")[3] for line in text.splitlines()}
    assert len(salts) == len(processes) + 1
    for name in processes:
        assert state.layout.mqtt_password(name).read_text() not in text


def test_the_rules_are_those_of_the_embedded_broker() -> None:
    assert access_text("lab", ["alice", "operator"]).splitlines() == [
        "user alice",
        "topic readwrite qnetem/lab/alice/+/#",
        "user operator",
        "topic read #",
    ]


def test_a_mosquitto_listens_with_tls_and_lets_nobody_in_without_a_password() -> None:
    text = config_text(
        "127.0.0.1", 8883, certificate="/c", key="/k", authority="/a", users="/u", access="/x", user="me"
    )
    lines = text.splitlines()
    assert {
        *("listener 8883 127.0.0.1", "allow_anonymous false", "password_file /u", "acl_file /x", "user me"),
        *("cafile /a", "certfile /c", "keyfile /k", "persistence false", "max_queued_messages 100000"),
    } <= set(lines)
    assert sum(line.startswith("listener") for line in lines) == 1


@pytest.mark.parametrize(("key", "missing"), [("ca", "certs/ca.pem"), ("password_file", "lab.password")])
def test_a_file_of_an_external_broker_that_is_missing_is_told_before_anything_starts(
    topology_of: Callable[..., Topology], tmp_path: Path, key: str, missing: str
) -> None:
    for name in ("certs/ca.pem", "lab.password"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name != missing:
            (tmp_path / name).write_text("x")
    telemetry = EXTERNAL | {"password_file": "lab.password"}
    topology = replace(topology_of(2, telemetry=telemetry), path=tmp_path / "net.yaml")
    with pytest.raises(StartError) as refused:
        prepare(State.beside(tmp_path / "net.yaml", "ring"), topology, {}, {})
    assert str(refused.value) == f"telemetry.{key}: {tmp_path / missing}: No such file or directory"
