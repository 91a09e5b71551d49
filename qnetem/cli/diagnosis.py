"""qnetem.cli.diagnosis: `doctor`. Wiring."""

from typing import Final

from qnetem.cli.failures import DEVIATED
from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table

__all__ = ["doctor"]

_STYLES: Final = {"fine": "green", "warning": "yellow", "wrong": "red"}


def doctor(topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> int:
    """Look at the machine and at what an earlier run has left; 1 when something is wrong."""
    from qnetem.cli.checks import Verdict, machine_checks, state_checks

    checks = [*machine_checks(), *state_checks(topology)]
    if form is Format.JSON:
        print_json([{"what": one.what, "verdict": one.verdict.value, "text": one.text} for one in checks])
    else:
        rows = [(one.what, one.verdict.value, one.text) for one in checks]
        print_table(("WHAT", "VERDICT", "FOUND"), rows, styles=_STYLES)
    return DEVIATED if any(one.verdict is Verdict.WRONG for one in checks) else 0
