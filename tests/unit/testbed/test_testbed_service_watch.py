"""When `up --wait` is satisfied, and when it gives up."""

from qnetem.testbed.service_watch import SETTLED_AFTER_S, ServiceWatch


def links(**states: str) -> list[dict[str, str]]:
    split = {name: text.partition(" ") for name, text in states.items()}
    return [{"link_id": name, "state": state, "reason": reason} for name, (state, _, reason) in split.items()]


def test_all_links_that_make_keys_are_in_service() -> None:
    watch = ServiceWatch()
    watch.look(links(a="OPERATING", b="COMMISSIONING"), 0)
    assert not watch.is_in_service
    assert watch.waiting() == ["b is COMMISSIONING"]
    watch.look(links(a="OPERATING", b="DEGRADED qber"), 1)
    assert watch.is_in_service
    assert watch.in_service == ["a", "b"]


def test_a_topology_without_links_is_in_service() -> None:
    watch = ServiceWatch()
    watch.look([], 0)
    assert watch.is_in_service


def test_a_link_without_light_is_down_for_good_once_it_stays_so() -> None:
    watch = ServiceWatch()
    watch.look(links(a="DOWN no-light", b="OPERATING"), 10)
    assert watch.down(10 + SETTLED_AFTER_S - 0.1) == []
    assert watch.down(10 + SETTLED_AFTER_S) == ["a is DOWN: no-light"]


def test_a_link_that_tries_again_gets_its_time_again() -> None:
    watch = ServiceWatch()
    watch.look(links(a="DOWN no-light"), 0)
    watch.look(links(a="COMMISSIONING"), 2)
    watch.look(links(a="DOWN no-light"), 2.5)
    assert watch.down(4) == []
    assert watch.down(2.5 + SETTLED_AFTER_S) == ["a is DOWN: no-light"]


def test_a_link_whose_peer_is_not_there_yet_is_waited_for() -> None:
    watch = ServiceWatch()
    for reason in ("starting", "peer-unreachable", "peer-silent", "quantum-channel-lost"):
        watch.look(links(a=f"DOWN {reason}"), 0)
        assert watch.down(1000) == []
    watch.look(links(a="UNKNOWN bob: no answer"), 0)
    assert watch.down(1000) == []
    assert watch.waiting() == ["a is UNKNOWN: bob: no answer"]
