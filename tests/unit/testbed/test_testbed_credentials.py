"""Certificates and passwords: made once, each party its own, none readable by others."""

import hashlib
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from qnetem.runtime.errors import StartError
from qnetem.testbed.credentials import ADMIN, SUPERVISOR, make_missing
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import planned
from qnetem.testbed.state import State
from qnetem.topology import Topology
from qnetem.v1 import process_pb2


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "state")
    State(layout).create()
    return layout


@pytest.fixture
def topology(topology_of: Callable[..., Topology]) -> Topology:
    return topology_of(2)


def names(paths: process_pb2.CredentialPaths) -> tuple[list[str], list[str], list[str], str]:
    """Return DNS names, URIs, addresses and common name of a certificate."""
    certificate = x509.load_pem_x509_certificate(Path(paths.certificate_path).read_bytes())
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    common_name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    return (
        san.get_values_for_type(x509.DNSName),
        san.get_values_for_type(x509.UniformResourceIdentifier),
        [str(ip) for ip in san.get_values_for_type(x509.IPAddress)],
        str(common_name),
    )


def test_each_party_has_the_names_it_is_dialled_and_authorised_by(layout: Layout, topology: Topology) -> None:
    make_missing(layout, topology, planned(topology)[0])
    assert names(layout.credentials("node", "n0")) == (
        ["n0.node.ring.qnetem.internal"], ["spiffe://ring/node/n0"], [], "n0",
    )  # fmt: skip
    dns_names, uris, addresses, _ = names(layout.credentials("node", "n0", "https-"))
    assert "localhost" in dns_names
    assert uris == ["spiffe://ring/node/n0"]
    assert [ipaddress.ip_address(one) for one in addresses] == [ipaddress.ip_address("127.0.0.1")]
    assert names(layout.credentials("broker", "broker"))[2] == ["127.0.0.1"], "MQTT clients check the address"
    assert names(layout.credentials("sae", "app-1")) == ([], ["spiffe://ring/sae/app-1"], [], "app-1")
    for operator in (SUPERVISOR, ADMIN):
        assert names(layout.credentials("operator", operator))[1] == [f"spiffe://ring/operator/{operator}"]
    assert names(layout.credentials("quantum-channel", "qc-n0-n1"))[0] == [
        "qc-n0-n1.quantum-channel.ring.qnetem.internal"
    ]


def contents(layout: Layout) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in layout.pki.rglob("*") if path.is_file()}


def test_what_is_there_stays_and_what_is_lost_or_empty_is_made_again(layout: Layout, topology: Topology) -> None:
    processes = planned(topology)[0]
    make_missing(layout, topology, processes)
    before = contents(layout)
    make_missing(layout, topology, processes)
    assert contents(layout) == before
    lost = Path(layout.credentials("node", "n1").key_path)
    lost.write_bytes(b"")  # as a crash of the machine leaves it
    make_missing(layout, topology, processes)
    changed = {path for path, data in contents(layout).items() if data != before[path]}
    assert changed == {lost, Path(layout.credentials("node", "n1").certificate_path)}


def test_no_file_is_readable_by_others(layout: Layout, topology: Topology) -> None:
    make_missing(layout, topology, planned(topology)[0])
    for path in layout.pki.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_broker_knows_hashes_of_passwords_that_only_the_parties_have(layout: Layout, topology: Topology) -> None:
    processes = planned(topology)[0]
    make_missing(layout, topology, processes)
    lines = layout.mqtt_users("embedded").read_text().splitlines()
    users = dict(line.split(":") for line in lines)
    assert set(users) == {*processes, "operator"}
    for name, digest in users.items():
        password = layout.mqtt_password(name).read_bytes()
        assert hashlib.sha256(password).hexdigest() == digest
    assert len(set(users.values())) == len(users)


def test_a_broken_authority_is_named(layout: Layout, topology: Topology) -> None:
    processes = planned(topology)[0]
    make_missing(layout, topology, processes)
    layout.authority_key.write_text("not a key")
    make_missing(layout, topology, processes)  # nothing has to be issued
    Path(layout.credentials("sae", "app-1").key_path).unlink()
    with pytest.raises(StartError, match=r"ca-key\.pem: not a usable private key"):
        make_missing(layout, topology, processes)
