"""Every failure is a line and an exit code."""

import pytest
import typer

from qnetem.cli.failures import exit_code, guarded
from qnetem.runtime import errors
from qnetem.testbed.client import NotRunningError
from qnetem.testbed.launching import BusyError, TopologyChangedError
from qnetem.topology import TopologyError
from qnetem.topology.errors import Problem


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TopologyError("f", [Problem(1, 2, "x")]), 3),
        (errors.BadInputError("x"), 3),
        (errors.NotFoundError("x"), 3),
        (errors.AlreadyExistsError("x"), 3),
        (TopologyChangedError("x"), 3),
        (errors.StartError("x"), 4),
        (errors.StorageError("x"), 4),
        (BusyError("x"), 4),
        (NotRunningError("x"), 1),
        (errors.ConflictError("x"), 1),
        (errors.DeniedError("x"), 1),
        (errors.UnavailableError("x"), 2),
        (errors.DeadlineError("x"), 2),
    ],
)
def test_the_exit_code_tells_what_kind_of_failure_it_was(error: errors.QnetemError, code: int) -> None:
    assert exit_code(error) == code


def raising(error: BaseException) -> int:
    def run() -> None:
        raise error

    return guarded(run)


def test_a_failure_is_told_line_by_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(errors.StartError("alice: port 1 in use\nbob: port 2 in use")) == 4
    out, err = capsys.readouterr()
    assert (out, err) == ("", "qnetem: alice: port 1 in use\nqnetem: bob: port 2 in use\n")


def test_a_failure_in_a_group_is_that_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(ExceptionGroup("g", [ExceptionGroup("h", [errors.BadInputError("bad")])])) == 3
    assert capsys.readouterr().err == "qnetem: bad\n"


def test_an_unforeseen_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(ValueError("first\nsecond")) == 1
    assert capsys.readouterr().err == "qnetem: internal error: ValueError: first (QNETEM_DEBUG=1 shows where)\n"


def test_an_unforeseen_error_is_seen_whole_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNETEM_DEBUG", "1")
    with pytest.raises(ValueError, match="first"):
        raising(ValueError("first"))


def test_an_interrupt_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "qnetem: interrupted\n"


def test_a_usage_error_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(typer.BadParameter("no such thing")) == 3
    assert "no such thing" in capsys.readouterr().err


def test_what_a_verb_returns_is_the_exit_code() -> None:
    assert guarded(lambda: 1) == 1
    assert guarded(lambda: None) == 0
