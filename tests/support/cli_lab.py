"""qnetem as a user drives it in one folder, for tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
# what says how the suite runs testbeds
KEPT = ("QNETEM_RUNTIME", "QNETEM_IMAGE")


class Cli:
    """Runs qnetem in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self, *arguments: str, out: IO[str] | int = subprocess.PIPE, err: IO[str] | int = subprocess.PIPE
    ) -> "subprocess.Popen[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_") or name in KEPT}
        return subprocess.Popen(
            [sys.executable, "-m", "qnetem.cli", *arguments],
            cwd=self.folder,
            stdout=out,
            stderr=err,
            text=True,
            env=clean,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def fine(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert code == 0, f"{arguments}: {code}: {err}"
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.fine(*arguments, "-f", "json"))

    def processes(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.json("inspect")["processes"]}

    def left_running(self) -> list[int]:
        """Return the processes that belong to this folder's testbeds."""
        mark = os.fsencode(self.folder)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.1)
