"""qnetem.cli.lifecycle: `up` and `down`. Wiring."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qnetem.cli.options import TopologyOption, duration_s
from qnetem.cli.testbeds import run, state_of, topology_path

__all__ = ["down", "up"]


class _Runtime(StrEnum):
    """What runs a testbed."""

    PROCESS = "process"
    COMPOSE = "compose"


def up(
    topology: TopologyOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every link is in service.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long it may take, with its unit.")] = "120s",
    reconfigure: Annotated[bool, typer.Option("--reconfigure", help="Take a changed topology.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Hold the testbed until Ctrl-C.")] = False,
    storage_key_file: Annotated[
        Path | None,
        typer.Option("--storage-key-file", envvar="QNETEM_STORAGE_KEY_FILE", help="What seals keys at rest."),
    ] = None,
    runtime: Annotated[
        _Runtime, typer.Option(envvar="QNETEM_RUNTIME", help="What the processes are.", case_sensitive=False)
    ] = _Runtime.PROCESS,
) -> int:
    """Bring the testbed up; do nothing where it is up. Ctrl-C takes back what was begun."""
    from qnetem.cli.bringing import brought_up

    return run(
        brought_up(
            topology_path(topology),
            is_waiting=wait,
            timeout_s=duration_s(timeout),
            is_reconfigured=reconfigure,
            is_held=foreground,
            storage_key_file=storage_key_file,
            runtime=runtime.value,
        )
    )


def down(
    topology: TopologyOption = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete keys, secrets, settings and logs too.")] = False,
) -> None:
    """Take the testbed down, however it has been left. Keys and settings stay."""
    from qnetem.runtime.errors import NotFoundError
    from qnetem.testbed import launching

    try:
        state = state_of(topology)
    except NotFoundError:
        print("nothing is up")
        return
    was_running = run(launching.down(state))
    print(f"testbed {state.layout.root.name} " + ("is down" if was_running else "was down"))
    if purge:
        state.purge()
        print(f"deleted {state.layout.root}")
