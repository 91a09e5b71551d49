"""From file to topology: profiles, layers, and what follows from other values."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from qnetem.topology import TopologyError, fields, from_dict, load, parse, ring, template
from qnetem.topology.model import ControlPlane, Link, Node, Ports
from qnetem.topology.profiles import PROFILES
from qnetem.v1.parameters_pb2 import ClassicalParameters, LinkParameters, ProtocolParameters

Changed = Callable[..., str]
READY = Path(__file__).parents[3] / "topologies"


def only_link(text: str) -> Link:
    """Return the first link of a topology."""
    return next(iter(parse(text).links.values()))


def test_the_avalanche_profile_is_the_documented_one(changed: Changed) -> None:
    link = only_link(changed())
    assert link.planned == LinkParameters(
        length_km=25,
        attenuation_db_per_km=0.2,
        connector_count=2,
        connector_loss_db=0.3,
        receiver_loss_db=2,
        clock_hz=1e9,
        intensities=[0.2, 0.05],
        intensity_probs=[0.25, 0.75],
        transmitter_p_z=0.8,
        receiver_p_z=0.8,
        misalignment_prob=0.01,
        efficiency=0.2,
        dark_count_hz=500,
        dead_time_ps=10_000_000,
        afterpulse_prob=0.02,
        afterpulse_tau_ps=10_000,
        detector_jitter_fwhm_ps=150,
        # constants; everything else is off
        wavelength_nm=1550,
        day_s=86_400,
        raman_per_km_nm=3e-9,
        filter_nm=0.1,
        elevation_rad=math.pi / 2,
    )
    assert link.protocol == ProtocolParameters(
        protocol="bb84-one-decoy",
        eps_sec=1e-10,
        eps_cor=1e-15,
        block_ramp_bits=[100_000, 1_000_000, 10_000_000],
        qber_degraded_prob=0.05,
        qber_abort_prob=0.11,
        pool_high_water_bits=4_000_000,
        train_blocks=192,
    )


def test_the_nanowire_profile_is_the_documented_one(changed: Changed) -> None:
    planned = only_link(changed(("1ghz-apd", "1ghz-snspd"))).planned
    assert list(planned.intensities) == [0.40, 0.13]
    assert list(planned.intensity_probs) == [0.35, 0.65]
    assert (planned.transmitter_p_z, planned.receiver_p_z) == (0.78, 0.78)
    assert (planned.efficiency, planned.dark_count_hz, planned.dead_time_ps) == (0.85, 100, 50_000)
    assert (planned.afterpulse_prob, planned.detector_jitter_fwhm_ps) == (0, 50)


@pytest.mark.parametrize(
    ("profile", "length_km", "clicks_hz", "z_sifted_hz"),
    [
        ("decoy-bb84-1ghz-snspd", 25, 12.4e6, 7.5e6),
        ("decoy-bb84-1ghz-snspd", 50, 6.9e6, 4.2e6),
        ("decoy-bb84-1ghz-apd", 25, 97e3, 62e3),
        ("decoy-bb84-1ghz-apd", 50, 91e3, 58e3),
        ("decoy-bb84-1ghz-apd", 80, 71e3, 46e3),
    ],
)
def test_a_profile_has_the_rates_that_its_source_gives(
    profile: str, length_km: int, clicks_hz: float, z_sifted_hz: float
) -> None:
    # Rates of PHYSICS 6 from its own formulas of 2 and 4; the table has two digits, so 3 % either way.
    topology = from_dict(ring(2, profile=profile, length=f"{length_km}km"))
    link = topology.links["n0-n1"].planned
    loss_db = link.attenuation_db_per_km * link.length_km + link.connector_count * link.connector_loss_db
    eta = link.efficiency * 10 ** (-(loss_db + link.receiver_loss_db) / 10)
    dark = 1 - (1 - link.dark_count_hz / link.clock_hz) ** 2
    gain = sum(
        prob * (1 - (1 - dark) * math.exp(-eta * mean))
        for mean, prob in zip(link.intensities, link.intensity_probs, strict=True)
    )
    gain *= 1 + link.afterpulse_prob
    rate = link.clock_hz * gain / (1 + link.clock_hz * gain * link.dead_time_ps * 1e-12)
    assert rate == pytest.approx(clicks_hz, rel=0.03)
    assert rate * link.transmitter_p_z * link.receiver_p_z == pytest.approx(z_sifted_hz, rel=0.03)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_says_everything_but_the_length(name: str) -> None:
    profile = PROFILES[name]
    said = {field.key for field in fields.QUANTUM if field.default is None}
    assert said <= {*profile.quantum, "length"} <= {field.key for field in fields.QUANTUM}
    assert {*profile.protocol, "train_blocks", "insecure_keys"} == {field.key for field in fields.PROTOCOL}


@pytest.mark.parametrize(
    ("table", "message", "besides"),
    [
        (fields.QUANTUM, LinkParameters, set()),
        (fields.CLASSICAL, ClassicalParameters, set()),
        (fields.PROTOCOL, ProtocolParameters, set()),
    ],
)
def test_the_tables_spell_every_field_of_the_wire(
    table: tuple[fields.Field, ...], message: type[LinkParameters], besides: set[str]
) -> None:
    assert {field.wire for field in table} | besides == {field.name for field in message.DESCRIPTOR.fields}


def test_the_link_is_over_the_defaults_and_these_over_the_profile(changed: Changed) -> None:
    link = only_link(
        changed(
            ("1ghz-apd}", "1ghz-apd, quantum: {attenuation: 0.3dB/km, p_z: 0.7}, protocol: {eps_sec: 1e-9}}"),
            ("{length: 25km}", "{length: 25km, receiver_p_z: 60%, dark_counts: 2kHz}"),
        )
    )
    planned = link.planned
    assert (planned.attenuation_db_per_km, planned.dark_count_hz, planned.efficiency) == (0.3, 2000, 0.2)
    assert (planned.transmitter_p_z, planned.receiver_p_z) == (0.7, 0.6)
    assert (link.protocol.eps_sec, link.protocol.eps_cor) == (1e-9, 1e-15)


def test_a_link_may_have_devices_of_its_own(changed: Changed) -> None:
    link = only_link(changed(("      quantum", "      profile: decoy-bb84-1ghz-snspd\n      quantum")))
    assert (link.profile, link.planned.efficiency) == ("decoy-bb84-1ghz-snspd", 0.85)


def test_the_latency_is_that_of_the_fibre_unless_given(changed: Changed) -> None:
    # 4.8974 us/km: PHYSICS 2.
    assert only_link(changed()).classical.delay_ps == pytest.approx(25 * 4.8974e6, rel=1e-5)
    assert only_link(changed(("25km", "0km"))).classical.delay_ps == 0
    classical = "classical: {delay: 2ms, jitter: 1us, loss: 1%}"
    given = only_link(changed(("{length: 25km}", "{length: 25km}\n      " + classical)))
    assert given.classical == ClassicalParameters(delay_ps=2 * 10**9, jitter_ps=10**6, loss_prob=0.01)


@pytest.mark.parametrize(
    ("profile", "clock", "blocks"),
    [("apd", "1GHz", 192), ("apd", "100MHz", 19), ("apd", "1kHz", 1), ("snspd", "1GHz", 32), ("snspd", "2GHz", 64)],
)
def test_a_train_takes_as_long_at_any_clock(changed: Changed, profile: str, clock: str, blocks: int) -> None:
    text = changed(("1ghz-apd", f"1ghz-{profile}"), ("25km", f"25km, clock: {clock}, dark_counts: 0Hz"))
    assert only_link(text).protocol.train_blocks == blocks


def test_the_first_endpoint_transmits_unless_another_is_named(changed: Changed) -> None:
    link = only_link(changed())
    assert (link.id, link.transmitter, link.receiver) == ("alice-bob", "alice", "bob")
    link = only_link(changed(("      quantum", "      transmitter: bob\n      name: fibre-1\n      quantum")))
    assert (link.id, link.endpoints, link.transmitter, link.receiver) == ("fibre-1", ("alice", "bob"), "bob", "alice")
    assert (link.peer_of("alice"), link.peer_of("bob")) == ("bob", "alice")
    with pytest.raises(ValueError, match="carol is not an end of link fibre-1"):
        link.peer_of("carol")


def test_nodes_take_their_defaults_and_may_stand_alone(changed: Changed) -> None:
    topology = parse(
        changed(
            ("1ghz-apd}", "1ghz-apd, node: {spawn: exec}}"),
            ("bob: {}", "bob: {kind: trusted-relay, spawn: zygote, ports: {https: 8443}}\n    carol:"),
        )
    )
    assert topology.nodes["alice"] == Node("alice", "endpoint", "exec", Ports())
    assert topology.nodes["bob"] == Node("bob", "trusted-relay", "zygote", Ports(https=8443))
    assert list(topology.links_of("carol")) == []
    assert [link.id for link in topology.links_of("bob")] == ["alice-bob"]
    assert topology.saes_of("alice") == ("app-1",)


def test_the_head_of_the_file_is_taken_over(changed: Changed) -> None:
    topology = parse(changed())
    assert (topology.seed, topology.scale, topology.is_reproducible, topology.has_broker) == (0, 1.0, False, True)
    assert (topology.quantum_placement, topology.classical_placement) == ("link", "one")
    head = (
        "name: lab\nseed: 7\ntime: {scale: 10}\nkeys: {reproducible: true}\ntelemetry: {broker: none}\n"
        "control_plane: {kind: external, address: 'sdn.example:50051'}\n"
        "quantum_channel: {placement: group}\nclassical_channel: {placement: link}"
    )
    topology = parse(changed(("name: lab", head)))
    assert (topology.seed, topology.scale, topology.is_reproducible, topology.has_broker) == (7, 10.0, True, False)
    assert (topology.quantum_placement, topology.classical_placement) == ("group", "link")
    assert topology.control_plane == ControlPlane("external", "sdn.example:50051")


def test_mappings_are_read_only(changed: Changed) -> None:
    topology = parse(changed())
    with pytest.raises(TypeError):
        topology.nodes["eve"] = Node("eve")  # type: ignore[index]


@pytest.mark.parametrize(("count", "links"), [(1, 0), (2, 1), (3, 3), (10, 10), (100, 100)])
def test_a_ring_closes(count: int, links: int) -> None:
    topology = from_dict(ring(count))
    assert (len(topology.nodes), len(topology.links)) == (count, links)
    degrees = {sum(1 for _ in topology.links_of(node)) for node in topology.nodes}
    assert degrees == {2 if count > 2 else links}


def test_a_ring_needs_a_node() -> None:
    with pytest.raises(ValueError, match="a ring needs a node, not 0"):
        ring(0)


def test_the_ready_topologies_are_what_the_demo_expects() -> None:
    metro = load(READY / "metro.yaml")
    assert (metro.name, metro.seed, metro.scale) == ("metro", 42, 1.0)
    assert list(metro.nodes) == ["alice", "bob", "carol"]
    assert {link.profile for link in metro.links.values()} == {"decoy-bb84-1ghz-apd"}
    lengths = sorted(link.planned.length_km for link in metro.links.values())
    assert (len(lengths), lengths[0], lengths[-1]) == (3, 25, 40)
    assert dict(metro.saes) == {"app-1": "alice", "app-2": "bob"}
    pair = load(READY / "pair.yaml")
    assert [(link.id, link.planned.length_km) for link in pair.links.values()] == [("alice-bob", 25)]


@pytest.mark.parametrize("name", ["lab", "a", "7", "1e5"])
def test_the_template_is_a_topology_of_that_name(name: str) -> None:
    topology = parse(template(name))
    assert (topology.name, len(topology.nodes), len(topology.saes)) == (name, 3, 2)


def test_a_template_needs_a_name_that_can_be_one() -> None:
    with pytest.raises(TopologyError, match=r"name: 'My Lab' is not a name: .* \(did you mean 'my-lab'\?\)") as refused:
        template("My Lab")
    assert "\n" not in str(refused.value)
