"""The ends of files that others append to."""

from pathlib import Path

import pytest

from qnetem.testbed.lines import Line
from qnetem.testbed.tail import Tail


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 10, 5000])
def test_the_last_lines_are_those_at_the_end(tmp_path: Path, count: int) -> None:
    path = tmp_path / "f"
    all_lines = [f"line {number} {'x' * (1 + number % 97)}" for number in range(5000)]  # several blocks
    path.write_text("\n".join(all_lines) + "\n")
    assert texts(Tail(path, "p").last(count)) == all_lines[len(all_lines) - count :]
    assert texts(Tail(path, "p").last(None)) == all_lines


def test_more_is_what_came_since_and_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("one\ntw")
    tail = Tail(path, "p")
    assert texts(tail.last(10)) == ["one"]
    assert tail.more() == []
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert texts(tail.more()) == ["two", "three"]
    assert tail.more() == []


def test_a_file_may_come_later_and_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    tail = Tail(path, "p")
    assert tail.last(5) == []
    assert tail.more() == []
    path.write_text("one\n")
    assert texts(tail.more()) == ["one"]
    (tmp_path / "g").write_text("two\n")
    (tmp_path / "g").replace(path)
    assert texts(tail.more()) == ["two"]


def test_what_is_not_utf_8_does_not_end_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a\xff\nb\n")
    assert texts(Tail(path, "p").last(None)) == ["a\N{REPLACEMENT CHARACTER}", "b"]
