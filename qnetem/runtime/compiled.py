"""qnetem.runtime.compiled: the compiled twin of a module, where this process has loaded it. Edge: sys.modules."""

import sys
from typing import Any

__all__ = ["loaded"]


def loaded(name: str) -> Any:
    """Return a module that this process has imported to its end, else None; nothing is imported for its sake.

    One that another thread is importing is there before what it holds is.
    """
    module = sys.modules.get(name)
    if module is None or getattr(module.__spec__, "_initializing", False):
        return None
    return module
