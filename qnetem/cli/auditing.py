"""qnetem.cli.auditing: `audit verify` and `audit trace`. Wiring."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from qnetem.cli.key_admins import audit_rows, key_admin_of, trace_rows
from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table, say
from qnetem.cli.testbeds import run

__all__ = ["audit"]

audit = typer.Typer(no_args_is_help=True, help="What the key managers have recorded of every key.")


@audit.command()
def verify(topology: TopologyOption = None, form: FormatOption = Format.TABLE) -> int:
    """Check the audit trail of every node: 0 all whole, 1 one is not, 2 one could not be checked."""
    from qnetem.cli.failures import DEVIATED, INCONCLUSIVE

    async def told() -> Any:
        async with key_admin_of(topology) as admin:
            return await admin.verify()

    verdicts = run(told())
    if form is Format.JSON:
        print_json([asdict(one) for one in verdicts])
    else:
        print_table(("NODE", "ENTRIES", "FOUND"), audit_rows(verdicts), right=("ENTRIES",))
    if any(one.fault for one in verdicts):
        return DEVIATED
    return INCONCLUSIVE if any(one.unknown for one in verdicts) else 0


@audit.command()
def trace(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As a KME gave it.")],
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show what became of a key, at every node that it went through: 2 when a node does not say."""
    from qnetem.cli.failures import INCONCLUSIVE
    from qnetem.runtime.errors import NotFoundError

    async def told() -> Any:
        async with key_admin_of(topology) as admin:
            return await admin.trace(key_id.lower())

    entries, silent = run(told())
    for node, error in silent.items():
        say(f"{node}: {error}")
    if not entries and not silent:
        raise NotFoundError(f"no audit trail knows key {key_id}")
    if form is Format.JSON:
        print_json(entries)
    else:
        print_table(("TIME", "NODE", "EVENT", "MORE"), trace_rows(entries), right=("TIME",))
    return INCONCLUSIVE if silent else 0
