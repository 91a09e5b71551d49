"""Settings of the operator: merged, checked, taken back, kept as text."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from qnetem.runtime.errors import BadInputError
from qnetem.testbed import desired as wishes
from qnetem.testbed.desired import Desired
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

SETTINGS = st.builds(
    LinkSettings,
    length_km=st.none() | st.floats(0, 100),
    extra_loss_db=st.none() | st.floats(0, 30),
    dead_time_ps=st.none() | st.integers(0, 10**9),
    is_up=st.none() | st.booleans(),
)


def test_merging_keeps_what_was_set_before() -> None:
    merged = wishes.merged(LinkSettings(length_km=10, extra_loss_db=1), LinkSettings(extra_loss_db=0, is_up=False))
    assert merged == LinkSettings(length_km=10, extra_loss_db=0, is_up=False)
    assert [field.name for field, _ in merged.ListFields()] == ["length_km", "extra_loss_db", "is_up"]


def test_taking_back_by_name_or_all() -> None:
    settings = LinkSettings(length_km=10, extra_loss_db=1)
    assert wishes.without(settings, ["length_km"]) == LinkSettings(extra_loss_db=1)
    assert wishes.without(settings, []) == LinkSettings()
    assert settings == LinkSettings(length_km=10, extra_loss_db=1)
    with pytest.raises(BadInputError, match="lenght_km is no setting; there are afterpulse_prob, "):
        wishes.without(settings, ["lenght_km"])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (LinkSettings(), "no setting is given"),
        (LinkSettings(length_km=-1), "length_km -1 is out of range (0km to 10000km)"),
        (LinkSettings(extra_loss_db=float("nan")), "extra_loss_db nan is out of range (0dB to 200dB)"),
        (LinkSettings(extra_loss_db=float("inf")), "extra_loss_db inf is out of range (0dB to 200dB)"),
        (LinkSettings(misalignment_prob=1.5), "misalignment_prob 1.5 is out of range (0 to 1)"),
        (LinkSettings(efficiency=1.01), "efficiency 1.01 is out of range (0 to 1)"),
        (ClassicalSettings(delay_ps=-5), "delay_ps -5 is out of range (0ps to 60s)"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: LinkSettings | ClassicalSettings, text: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        wishes.checked(settings)
    assert str(refusal.value) == text


@pytest.mark.parametrize(
    "settings",
    [LinkSettings(is_up=False), LinkSettings(efficiency=1), LinkSettings(length_km=0), ClassicalSettings(delay_ps=0)],
)
def test_what_can_be_is_taken(settings: LinkSettings | ClassicalSettings) -> None:
    assert wishes.checked(settings) is settings


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), SETTINGS, max_size=4))
def test_settings_survive_being_text(table: dict[str, LinkSettings]) -> None:
    desired = Desired(quantum=table, classical={"a-b": ClassicalSettings(is_up=False)})
    assert Desired.from_bytes(desired.to_bytes()) == desired


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"quantum": {"a": {"no_such": 1}}, "classical": {}}'])
def test_text_that_is_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadInputError, match="not settings of links"):
        Desired.from_bytes(data)


def test_the_settings_of_one_link_can_be_replaced_and_emptied() -> None:
    desired = Desired().but("quantum", "a-b", LinkSettings(length_km=3))
    assert desired.of("quantum", "a-b") == LinkSettings(length_km=3)
    assert desired.of("classical", "a-b") == ClassicalSettings()
    assert desired.but("quantum", "a-b", LinkSettings()) == Desired()


def test_a_configuration_gets_the_settings_in_force_and_loses_older_ones() -> None:
    config = process_pb2.ProcessConfig()
    config.quantum_channel.links.add(link_id="a-b", settings=LinkSettings(length_km=1))
    config.quantum_channel.links.add(link_id="b-c", settings=LinkSettings(length_km=2))
    wishes.apply(Desired(quantum={"a-b": LinkSettings(extra_loss_db=3)}), config)
    assert config.quantum_channel.links[0].settings == LinkSettings(extra_loss_db=3)
    assert not config.quantum_channel.links[1].HasField("settings")
    paths = process_pb2.ProcessConfig()
    for node in ("a", "b"):
        paths.classical_channel.paths.add(link_id="a-b", from_node=node)
    wishes.apply(Desired(classical={"a-b": ClassicalSettings(delay_ps=7)}), paths)
    assert [path.settings.delay_ps for path in paths.classical_channel.paths] == [7, 7]


def test_applying_to_a_node_changes_nothing(tmp_path: Path) -> None:
    config = process_pb2.ProcessConfig(name="alice")
    config.node.SetInParent()
    before = json_format.MessageToJson(config)
    wishes.apply(Desired(quantum={"a-b": LinkSettings(extra_loss_db=3)}), config)
    assert json_format.MessageToJson(config) == before


def test_what_is_for_both_ways_takes_the_place_of_what_was_for_one() -> None:
    one_way = wishes.merged(ClassicalSettings(delay_ps=5), ClassicalSettings(forth_delay_ps=7, back_loss_prob=0.5))
    assert one_way == ClassicalSettings(delay_ps=5, forth_delay_ps=7, back_loss_prob=0.5)
    both = wishes.merged(one_way, ClassicalSettings(delay_ps=9))
    assert both == ClassicalSettings(delay_ps=9, back_loss_prob=0.5)


def test_taking_one_way_back_leaves_the_other_what_was_for_both() -> None:
    settings = ClassicalSettings(delay_ps=5, forth_loss_prob=0.5)
    assert wishes.without(settings, ["forth_delay_ps"]) == ClassicalSettings(back_delay_ps=5, forth_loss_prob=0.5)
    assert wishes.without(settings, ["forth_loss_prob"]) == ClassicalSettings(delay_ps=5)
    assert wishes.without(settings, ["loss_prob"]) == ClassicalSettings(delay_ps=5)
    own = ClassicalSettings(delay_ps=5, forth_delay_ps=7, back_delay_ps=9)
    assert wishes.without(own, ["back_delay_ps"]) == ClassicalSettings(forth_delay_ps=7)
    assert wishes.without(own, ["delay_ps"]) == ClassicalSettings()


def test_layers_are_kept_as_text_and_end_in_their_time() -> None:
    desired = Desired(quantum={"a-b": LinkSettings(length_km=3)})
    desired = desired.laid(
        "quantum", "a-b", LinkSettings(extra_loss_db=6), start_ps=15 * 10**11, ramp_s=2, duration_s=9
    )
    desired = desired.laid("classical", "c-d", ClassicalSettings(is_up=False), start_ps=0, ramp_s=0, duration_s=0)
    assert Desired.from_bytes(desired.to_bytes()) == desired
    assert desired.links == {"a-b", "c-d"}
    assert desired.only(["a-b"]).links == {"a-b"}
    (layer,) = desired.layers_of("quantum", "a-b")
    assert wishes.age_s(layer, 4 * 10**12) == 2.5
    assert desired.pruned(10_499_999_999_999) is desired
    later = desired.pruned(10_500_000_000_000)
    assert later.layers_of("quantum", "a-b") == ()
    assert later.layers_of("classical", "c-d") == desired.layers_of("classical", "c-d")


def test_a_configuration_gets_the_layers_in_force_and_loses_older_ones() -> None:
    config = process_pb2.ProcessConfig()
    config.quantum_channel.links.add(link_id="a-b").layers.add(ramp_s=1)
    desired = Desired().laid("quantum", "a-b", LinkSettings(extra_loss_db=6), start_ps=0, ramp_s=2, duration_s=9)
    wishes.apply(desired, config)
    assert tuple(config.quantum_channel.links[0].layers) == desired.layers_of("quantum", "a-b")
