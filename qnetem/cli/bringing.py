"""qnetem.cli.bringing: bringing a testbed up, and telling how it goes. Wiring."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from qnetem.cli.failures import DEVIATED, INCONCLUSIVE
from qnetem.cli.output import say
from qnetem.runtime.errors import DeadlineError, QnetemError
from qnetem.testbed import launching
from qnetem.testbed.client import TestbedClient
from qnetem.testbed.inspected import inspected_values
from qnetem.testbed.plan import Runtime
from qnetem.testbed.progress import Progress
from qnetem.testbed.service_watch import ServiceWatch

__all__ = ["brought_up"]

_POLL_S: Final = 0.2
_PLAIN_S: Final = 1.0
_Tell = Callable[[str], None]


class _PlainProgress:
    """Tells what is new, one line a second at most, and the last one."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._text = self._said = ""

    def __call__(self, text: str) -> None:
        self._text = text
        if time.monotonic() >= self._next_s:
            self.finish()

    def finish(self) -> None:
        if self._text != self._said:
            say(self._text)
            self._said, self._next_s = self._text, time.monotonic() + _PLAIN_S


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


def _progress_text(progress: Progress) -> str:
    waiting = ", ".join(progress.waiting[:4]) + (", ..." if len(progress.waiting) > 4 else "")
    troubled = "".join(f"; {name}: {end}" for name, end in progress.troubled)
    text = f"{progress.healthy_count} of {progress.total_count} processes serve"
    return text + (f", waiting for {waiting}" if waiting else "") + troubled


async def brought_up(
    path: Path,
    *,
    is_waiting: bool,
    timeout_s: float,
    is_reconfigured: bool,
    is_held: bool,
    storage_key_file: Path | None = None,
    runtime: Runtime = "process",
) -> int:
    """Bring up the testbed of a file and tell how it goes; return the exit code.

    Args:
        path: The topology file.
        is_waiting: Until every link is in service, or one is DOWN for good.
        timeout_s: How long all of it may take.
        is_reconfigured: Take a changed topology.
        is_held: Hold it until SIGINT or SIGTERM.
        storage_key_file: What seals keys at rest, whatever the file says.
        runtime: What the processes are.
    """
    started_s = time.monotonic()
    code = 0
    with contextlib.ExitStack() as shown:
        tell = shown.enter_context(_progress())
        was_running = _is_running(path)
        launch = launching.launch(
            path,
            is_reconfigured=is_reconfigured,
            is_held=is_held,
            on_progress=lambda progress: tell(_progress_text(progress)),
            timeout_s=timeout_s,
            storage_key_file=storage_key_file,
            runtime=runtime,
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
            shown.close()
            print(f"testbed {testbed.name} {verb}: {took}", flush=True)
            if is_held:
                say("held until Ctrl-C")
                await _until_ended(client)
    return code


def _is_running(path: Path) -> bool:
    try:
        last = launching.state_of(path).launch()
    except QnetemError:
        return False
    return last is not None and last.is_running


async def _in_service(client: TestbedClient, tell: _Tell, deadline_s: float) -> int:
    """Wait until all links are in service, one is DOWN for good, or time is up; return the exit code."""
    watch = ServiceWatch()
    while True:
        asked_s = time.monotonic()
        try:
            response = await client.inspect()
        except DeadlineError:
            # a supervisor with both hands full answers late: that is no verdict
            if time.monotonic() > deadline_s:
                say("qnetem: the supervisor does not answer in time")
                return INCONCLUSIVE
            continue
        watch.look(inspected_values(response)["links"], asked_s)
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


async def _until_ended(client: TestbedClient) -> None:
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
