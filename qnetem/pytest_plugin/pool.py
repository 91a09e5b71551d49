"""qnetem.pytest_plugin.pool: the testbeds that last as long as the session, one for each topology. Wiring.

They are held in an event loop that runs only here, in synchronous fixtures; each test connects in a loop of its own.
"""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from qnetem.pytest_plugin.runs import Run, Source, run_of

__all__ = ["Pool"]

_T = TypeVar("_T")


class Pool:
    """Brings a testbed up when a test first asks for it."""

    def __init__(self, config: pytest.Config, folders: pytest.TempPathFactory) -> None:
        """Begin with none."""
        self._config = config
        self._folders = folders
        self._runs: dict[str, Run] = {}
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def run(self, source: Source) -> Run:
        """Return the testbed of a topology, which is up."""
        key = str(source) if isinstance(source, Path) else json.dumps(source, sort_keys=True, default=str)
        if key not in self._runs:
            run = run_of(source, self._config, self._folders, is_kept=False)
            self._do(run.testbed.up())
            self._runs[key] = run
        return self._runs[key]

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(work)

    def close(self) -> None:
        """Take all of them down."""
        from qnetem.testbed.launching import down

        with self._runner:
            for run in self._runs.values():
                self._do(run.testbed.down())
                # one that a test took down, and a later test brought up again, is held by nobody
                self._do(down(run.state))
                run.remove()
