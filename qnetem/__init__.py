"""qnetem: an emulator of quantum networks made of real processes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qnetem.testbed.api.patience import NotInTimeError
    from qnetem.testbed.api.sync import SyncTestbed
    from qnetem.testbed.api.testbed import Testbed

__all__ = ["NotInTimeError", "SyncTestbed", "Testbed", "__version__"]
__version__ = "0.1.0"

# fetched on first use: every process imports this package
_HOMES = {"NotInTimeError": "patience", "SyncTestbed": "sync", "Testbed": "testbed"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.testbed.api.{_HOMES[name]}"), name)
