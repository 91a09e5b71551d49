"""Lines of logs and journals."""

import json

from qnetem.testbed.lines import Line, event_text, line_of, log_text, merged

WALL = "2026-11-24T06:42:40.624+00:00"


def test_a_line_of_a_log_is_told_in_one_line() -> None:
    line = line_of(
        json.dumps({"wall": WALL, "level": "info", "process": "bob", "room": "r", "event": "a.b", "n": 3}), "bob"
    )
    assert log_text(line) == "06:42:40.624 bob info a.b n=3"


def test_an_event_has_its_emulated_time() -> None:
    values = {
        "wall": WALL,
        "emulated_ps": 81_069_000_000_000,
        "process": "alice",
        "event": "key.block.made",
        "link_id": "x",
    }
    assert (
        event_text(line_of(json.dumps(values), "alice")) == "06:42:40.624     81.069 s alice key.block.made link_id=x"
    )


def test_a_value_cannot_make_a_line_of_its_own() -> None:
    line = line_of(json.dumps({"wall": WALL, "event": "e", "detail": "one\ntwo", "text": "a b", "list": ["x"]}), "bob")
    text = log_text(line)
    assert "\n" not in text
    assert text.endswith(r'e detail="one\ntwo" text="a b" list=["x"]')


def test_the_places_of_an_exception_follow() -> None:
    line = line_of(json.dumps({"wall": WALL, "level": "error", "event": "e", "trace": ["f.py:1 g", "h.py:2 i"]}), "bob")
    assert log_text(line).splitlines()[1:] == ["    f.py:1 g", "    h.py:2 i"]


def test_what_is_no_json_is_told_as_it_is() -> None:
    for text in ("qnetem: cannot listen", "[1, 2]", "{broken"):
        assert log_text(line_of(text, "bob", WALL)) == f"06:42:40.624 bob {text}"


def lines_at(name: str, *seconds: str) -> list[Line]:
    """Lines of one file at these seconds; "" for a line without a time."""
    lines: list[Line] = []
    for index, second in enumerate(seconds):
        event = f"{name}{index}"
        text = json.dumps({"wall": f"2026-11-24T00:00:{second}", "event": event}) if second else event
        lines.append(line_of(text, name, lines[-1].wall if lines else ""))
    return lines


def test_files_are_merged_by_time_and_keep_their_own_order() -> None:
    both = merged([lines_at("a", "01", "", "04"), lines_at("b", "02", "03")])
    assert [line.values.get("event", line.text) for line in both] == ["a0", "a1", "b0", "b1", "a2"]
