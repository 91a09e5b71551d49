"""qnetem.cli.lifecycle: `up` and `down`. Wiring."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qnetem.cli.failures import DEVIATED, INCONCLUSIVE
from qnetem.cli.options import TopologyOption, duration_s
from qnetem.cli.output import say
from qnetem.cli.testbeds import run, state_of, topology_path

if TYPE_CHECKING:
    from qnetem.testbed.client import TestbedClient
    from qnetem.testbed.progress import Progress

__all__ = ["down", "up"]

_POLL_S = 0.2
_PLAIN_S = 1.0
_Tell = Callable[[str], None]


class _PlainProgress:
    """Tells one line a second at most, and the last one."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._text = ""

    def __call__(self, text: str) -> None:
        self._text = text
        if time.monotonic() >= self._next_s:
            self.finish()

    def finish(self) -> None:
        if self._text:
            say(self._text)
        self._text, self._next_s = "", time.monotonic() + _PLAIN_S


@contextlib.contextmanager
def _progress() -> Iterator[_Tell]:
    """Show progress on standard error: a line that changes on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        plain = _PlainProgress()
        yield plain
        plain.finish()
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


def _progress_text(progress: "Progress") -> str:
    waiting = ", ".join(progress.waiting[:4]) + (", ..." if len(progress.waiting) > 4 else "")
    troubled = "".join(f"; {name}: {end}" for name, end in progress.troubled)
    text = f"{progress.healthy_count} of {progress.total_count} processes serve"
    return text + (f", waiting for {waiting}" if waiting else "") + troubled


def up(
    topology: TopologyOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every link is in service.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long it may take, with its unit.")] = "120s",
    reconfigure: Annotated[bool, typer.Option("--reconfigure", help="Take a changed topology.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Hold the testbed until Ctrl-C.")] = False,
) -> int:
    """Bring the testbed up; do nothing where it is up. Ctrl-C takes back what was begun."""
    return run(_up(topology_path(topology), wait, duration_s(timeout), reconfigure, foreground))


async def _up(path: Path, is_waiting: bool, timeout_s: float, is_reconfigured: bool, is_held: bool) -> int:
    from qnetem.testbed import launching

    started_s = time.monotonic()
    code = 0
    with _progress() as tell:
        was_running = _is_running(path)
        launch = launching.launch(
            path,
            is_reconfigured=is_reconfigured,
            is_held=is_held,
            on_progress=lambda progress: tell(_progress_text(progress)),
            timeout_s=timeout_s,
        )
        async with launch as client:
            testbed = await client.get()
            healthy_s = time.monotonic() - started_s
            if is_waiting:
                try:
                    code = await _in_service(client, tell, started_s + timeout_s)
                except asyncio.CancelledError:
                    if not was_running:
                        await client.down()
                    raise
            verb = "is up already" if was_running else "is up"
            took = f"{len(testbed.processes)} processes healthy after {healthy_s:.1f} s"
            if is_waiting and code == 0:
                took += f", {len(testbed.links)} links in service after {time.monotonic() - started_s:.1f} s"
            print(f"testbed {testbed.name} {verb}: {took}", flush=True)
            if is_held:
                tell("held until Ctrl-C")
                await _until_ended(client)
    return code


def _is_running(path: Path) -> bool:
    from qnetem.runtime.errors import QnetemError
    from qnetem.testbed import launching

    try:
        last = launching.state_of(path).launch()
    except QnetemError:
        return False
    return last is not None and last.is_running


async def _in_service(client: "TestbedClient", tell: _Tell, deadline_s: float) -> int:
    """Wait until all links are in service, one is DOWN for good, or time is up; return the exit code."""
    from qnetem.cli.report import testbed_values
    from qnetem.cli.service import ServiceWatch

    watch = ServiceWatch()
    while True:
        asked_s = time.monotonic()
        watch.look(testbed_values(await client.inspect())["links"], asked_s)
        if watch.changed:
            states = ", ".join(watch.waiting()[:4])
            tell(f"{len(watch.in_service)} of {len(watch.states)} links in service" + (f"; {states}" if states else ""))
        if watch.is_in_service:
            return 0
        now_s = time.monotonic()
        if down_links := watch.down(now_s):
            for line in down_links:
                say(f"qnetem: {line}")
            return DEVIATED
        if now_s > deadline_s:
            for line in watch.waiting():
                say(f"qnetem: not in service in time: {line}")
            return INCONCLUSIVE
        # a large testbed is not asked without a pause
        await asyncio.sleep(max(_POLL_S, 2 * (now_s - asked_s)))


async def _until_ended(client: "TestbedClient") -> None:
    """Wait for SIGINT or SIGTERM, or for the end of the testbed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def watch() -> None:
        with contextlib.suppress(Exception):
            async for _ in client.watch():
                pass
        stop.set()

    watching = asyncio.create_task(watch())
    try:
        await stop.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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
