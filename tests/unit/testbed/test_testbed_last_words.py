"""Why a process ended, from the end of its log."""

from pathlib import Path

import pytest

from qnetem.testbed.supervisor.body import last_line_of


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ""),
        ("qnetem: no key\n", "no key"),
        ("qnetem: no key\nException ignored in: <f>\nTraceback:\nRuntimeError: Event loop is closed\n", "no key"),
        ("qnetem: no key\nTraceback:\nRuntimeError: Event loop is closed\n", "no key"),
        # of another run
        ("qnetem: no key\nTraceback:\nValueError: x\n", "ValueError: x"),
        ('{"error": "A", "detail": "b"}\n', "A: b"),
    ],
)
def test_the_reason_that_a_process_told_is_the_reason(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "log").write_text(text)
    assert last_line_of(tmp_path / "log") == why
