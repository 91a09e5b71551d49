"""What is shown of keys, events and links, and that importing qnetem costs nothing."""

import json
import subprocess
import sys

import pytest

import qnetem
from qnetem.testbed.api.views import EndView, LinkView, event_of
from qnetem.testbed.etsi import Key
from qnetem.testbed.lines import line_of

SECRET = "c2VjcmV0LW1hdGVyaWFs"


def test_a_key_is_shown_by_its_id_alone_also_where_two_differ(pytester: pytest.Pytester) -> None:
    key = Key("id-1", SECRET)
    assert (repr(key), str(key), f"{key}") == ("Key(id-1)",) * 3
    assert key.value == b"secret-material"
    pytester.makepyfile("""
        from qnetem.testbed.etsi import Key
        half = "c2VjcmV0"
        one, other = Key("id-1", half + "LW1hdGVyaWFs"), Key("id-1", half + half)
        def test_differs():
            assert one == other
        def test_lists_differ():
            assert [one] == [Key("id-2", other.material)]
    """)
    result = pytester.runpytest_subprocess("-vv", "-l", "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*assert Key(id-1) == Key(id-1)*"])
    assert SECRET not in result.stdout.str()


def test_keys_are_equal_by_id_and_value() -> None:
    assert Key("a", SECRET) == Key("a", SECRET)
    assert Key("a", SECRET) != Key("a", "b3RoZXI=")
    assert Key("a", SECRET) != Key("b", SECRET)
    assert Key("a", SECRET) != SECRET
    assert len({Key("a", SECRET), Key("a", SECRET)}) == 1


def test_an_event_is_its_line_and_a_broken_line_is_none() -> None:
    line = json.dumps(
        {"wall": "2026-01-01T00:00:00Z", "emulated_ps": 2_500_000_000_000, "process": "bob", "event": "x", "n": 1}
    )
    event = event_of(line_of(line, "bob"))
    assert event is not None
    assert (event.name, event.process, event.emulated_s, event.fields) == ("x", "bob", 2.5, {"n": 1})
    assert event.is_like("x", {"n": 1, "process": "bob"})
    assert not event.is_like("x", {"n": 2})
    assert not event.is_like("y", {})
    assert str(event) == "bob x n=1"
    assert event_of(line_of('{"wall": "2026', "bob")) is None


def link(state: str) -> LinkView:
    ends = {"a": EndView(state, ""), "b": EndView("DOWN", "no-light")}
    return LinkView("a-b", ("a", "b"), state, "", ends, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, False)


def test_a_link_says_what_both_ends_say() -> None:
    assert str(link("OPERATING")) == "a-b: a OPERATING, b DOWN (no-light)"
    in_service = {state: link(state).is_in_service for state in ("OPERATING", "DEGRADED", "COMMISSIONING", "DOWN")}
    assert in_service == {"OPERATING": True, "DEGRADED": True, "COMMISSIONING": False, "DOWN": False}


def test_importing_qnetem_loads_nothing_of_it() -> None:
    code = "import sys, qnetem; print([m for m in sys.modules if m.startswith(('qnetem.', 'grpc', 'google', 'numpy'))])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "[]\n"


def test_the_names_of_the_package_are_there_and_no_others() -> None:
    assert qnetem.Testbed.__name__ == "Testbed"
    assert qnetem.SyncTestbed.__name__ == "SyncTestbed"
    with pytest.raises(AttributeError, match="module 'qnetem' has no attribute 'Testbde'"):
        _ = qnetem.Testbde
