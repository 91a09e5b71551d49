"""A room for the tests of the supervisor: serves nothing, and misbehaves as a file in its state folder says."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qnetem.runtime.errors import StartError
from qnetem.runtime.process import Process, main


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Do what `behave` says; just be there without one."""
    path = process.state_dir / "behave"
    what, _, argument = path.read_text().partition(" ") if path.exists() else ("", "", "")
    if what == "refuse":
        raise StartError(argument)
    if what == "crash":
        raise RuntimeError(argument)
    if what == "never-ready":
        await asyncio.Event().wait()
    if what == "helper":
        helper = subprocess.Popen(  # noqa: ASYNC220 (outlives us, which is the point)
            [sys.executable, "-c", "import time; time.sleep(600)", str(process.state_dir)], start_new_session=True
        )
        (process.state_dir / "helper-pid").write_text(str(helper.pid))
    if what == "hang":
        asyncio.get_running_loop().call_later(0.1, time.sleep, float(argument))
    yield
    if what == "stubborn":
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main(serve))
