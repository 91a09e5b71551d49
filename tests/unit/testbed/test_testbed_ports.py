"""Ports: free ones, that stay, and one line when a fixed one is taken."""

import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.runtime.errors import StartError
from qnetem.testbed.addresses import PortWish
from qnetem.testbed.ports import RANGE, chosen, why_not_bindable

FREE: Callable[[int], str | None] = lambda port: None  # noqa: E731


def in_use(*ports: int) -> Callable[[int], str | None]:
    return lambda port: "in use" if port in ports else None


def test_each_wish_gets_a_port_of_its_own_from_where_the_search_starts() -> None:
    wishes = [PortWish("a/peer"), PortWish("a/https"), PortWish("b/peer")]
    ports = chosen(wishes, {}, frozenset(), 100, FREE)
    assert ports == {"a/peer": 20100, "a/https": 20101, "b/peer": 20102}


def test_ports_stay_the_same_and_only_a_lost_one_changes() -> None:
    wishes = [PortWish("a/peer"), PortWish("a/https")]
    kept = {"a/peer": 25000, "a/https": 25001, "gone/peer": 25002}
    assert chosen(wishes, kept, frozenset(), 0, FREE) == {"a/peer": 25000, "a/https": 25001}
    assert chosen(wishes, kept, frozenset(), 0, in_use(25000)) == {"a/peer": 20000, "a/https": 25001}
    assert chosen(wishes, kept, frozenset({25001}), 0, FREE) == {"a/peer": 25000, "a/https": 20000}


def test_a_new_wish_never_takes_the_port_that_a_later_one_had() -> None:
    wishes = [PortWish("new/peer"), PortWish("a/peer")]
    assert chosen(wishes, {"a/peer": 20000}, frozenset(), 0, FREE) == {"new/peer": 20001, "a/peer": 20000}


def test_a_fixed_port_comes_before_a_kept_one() -> None:
    wishes = [PortWish("a/peer"), PortWish("b/https", 25000)]
    assert chosen(wishes, {"a/peer": 25000}, frozenset(), 0, FREE) == {"a/peer": 20000, "b/https": 25000}


@pytest.mark.parametrize(
    ("wishes", "taken", "text"),
    [
        ([PortWish("alice/https", 8443)], (8443,), "port 8443 of alice/https is in use"),
        ([PortWish("a/peer", 9000), PortWish("b/peer", 9000)], (), "port 9000 of b/peer is also that of a/peer"),
    ],
)
def test_a_fixed_port_that_cannot_be_is_refused_by_name(
    wishes: list[PortWish], taken: tuple[int, ...], text: str
) -> None:
    with pytest.raises(StartError) as refusal:
        chosen(wishes, {}, frozenset(), 0, in_use(*taken))
    assert str(refusal.value) == text


def test_a_fixed_port_of_another_testbed_is_refused() -> None:
    with pytest.raises(StartError, match="port 21000 of a/peer is taken by another testbed"):
        chosen([PortWish("a/peer", 21000)], {}, frozenset({21000}), 0, FREE)


def test_no_free_port_is_said_and_not_looped_over() -> None:
    with pytest.raises(StartError, match="no port from 20000 to 31999 is free for a/peer"):
        chosen([PortWish("a/peer")], {}, frozenset(), 7, lambda _: "in use")


def test_a_listening_port_is_in_use_and_a_closed_one_is_not(free_port: Callable[[], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert why_not_bindable(server.getsockname()[1]) == "in use"
    assert why_not_bindable(free_port()) is None


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=30),
    st.dictionaries(st.integers(0, 40), st.integers(20000, 20030), max_size=20),
    st.frozensets(st.integers(20000, 20030), max_size=10),
    st.integers(0, 2**32),
)
def test_ports_are_distinct_free_and_in_range(
    wishes: list[int], kept: dict[int, int], taken: frozenset[int], first: int
) -> None:
    ports = chosen(
        [PortWish(f"p{n}") for n in wishes], {f"p{n}": port for n, port in kept.items()}, taken, first, in_use(20005)
    )
    assert set(ports) == {f"p{n}" for n in wishes}
    assert len(set(ports.values())) == len(ports)
    assert all(port in RANGE and port not in taken and port != 20005 for port in ports.values())
