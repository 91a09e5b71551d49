"""qnetem.testbed.runtimes: what the processes of a testbed are, as the caller or the environment says. Edge."""

import os
from typing import Final, get_args

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.plan import Runtime

__all__ = ["VARIABLE", "runtime_of"]

VARIABLE: Final = "QNETEM_RUNTIME"


def runtime_of(given: Runtime | None) -> Runtime:
    """Return what was given, else what QNETEM_RUNTIME says, else processes of this machine.

    Raises:
        BadInputError: It is none that there is.
    """
    text = given or os.environ.get(VARIABLE) or "process"
    for runtime in get_args(Runtime):
        if text == runtime:
            return runtime  # type: ignore[no-any-return]
    raise BadInputError(f"runtime {text}: there are {' and '.join(get_args(Runtime))}")
