"""qnetem.pytest_plugin.failures: what the report of a failed test says of its testbeds. Edge."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Final

import pytest

from qnetem.pytest_plugin.runs import FAILED, RUNS, Run, rerun_line

__all__ = ["add_sections"]

_EVENT_COUNT: Final = 30
_LOG_COUNT: Final = 40
_ASK_S: Final = 5.0


def add_sections(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add sections about the testbeds of a failed test: how to run it again, links, events, logs; copy artifacts."""
    item.stash[FAILED] = True
    for run in item.stash.get(RUNS, []):
        name = f"qnetem testbed {run.testbed.name}"
        report.sections.append((name, "\n".join(_head(item, run))))
        if run.state.layout.root.exists():
            from qnetem.testbed.api.evidence import event_lines, log_lines

            layout = run.state.layout
            report.sections.append((f"{name}: links", "\n".join(_links(run))))
            report.sections.append((f"{name}: events", "\n".join(event_lines(layout, _EVENT_COUNT))))
            report.sections.append((f"{name}: logs", "\n".join(log_lines(layout, _LOG_COUNT))))


def _head(item: pytest.Item, run: Run) -> list[str]:
    lines = [f"run again: {rerun_line(item, run.testbed.seed)}"]
    if run.is_kept:
        lines += [f"left up: qnetem inspect -t {run.path}", f"take down: qnetem down -t {run.path}"]
    if artifacts := item.config.getoption("--qnetem-artifacts"):
        lines.append(_saved(item, run, item.config.invocation_params.dir / artifacts))
    return lines


def _saved(item: pytest.Item, run: Run, folder: Path) -> str:
    from qnetem.runtime.errors import QnetemError
    from qnetem.testbed.api.evidence import copied

    target = folder / re.sub(r"[^A-Za-z0-9._-]+", "-", item.nodeid).strip("-") / run.testbed.name
    try:
        count = len(copied(run.state.layout, target))
    except QnetemError as error:
        return f"artifacts: {error}"
    return f"artifacts: {count} files in {target}"


def _links(run: Run) -> list[str]:
    """Return a line for each link, or why there is none."""
    found: list[str] = []

    def ask() -> None:
        from qnetem.runtime.errors import QnetemError

        try:
            found.extend(asyncio.run(_asked(run)))
        except (QnetemError, TimeoutError) as error:
            found.append(f"not known: {error or 'no answer'}")

    # a thread has no event loop that runs, whatever the test runs in
    asking = threading.Thread(target=ask, name="qnetem-report")
    asking.start()
    asking.join()
    return found


async def _asked(run: Run) -> list[str]:
    from qnetem.testbed.api.views import LinkView
    from qnetem.testbed.client import connect
    from qnetem.testbed.inspected import inspected_values

    async with asyncio.timeout(_ASK_S), connect(run.state) as client:
        values = inspected_values(await client.inspect())
    lines = [str(LinkView.of(link)) for link in values["links"]]
    return lines + [
        f"{one['name']}: {one['state']} {one['last_end']}".rstrip()
        for one in values["processes"]
        if one["state"] != "HEALTHY"
    ]
