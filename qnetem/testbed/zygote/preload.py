"""qnetem.testbed.zygote.preload: what is imported once, before any fork. Edge."""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Final

__all__ = ["preload"]

# what the rooms import late, so that those who only import the rooms do not pay for it
_LATE: Final = (
    "aiohttp.web",
    "aiomqtt",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.x509",
    "google.protobuf.json_format",
    "grpc.aio",
    "qnetem.runtime.process",
    "sqlite3",
)


def preload(rooms: Iterable[str]) -> None:
    """Import rooms ("node.service"), what they import late, and the kernels (`*_compiled`) of their packages.

    Kernels are run once: see node.warm.
    """
    for name in _LATE:
        importlib.import_module(name)
    packages = set()
    for room in rooms:
        importlib.import_module(room)
        package, dot, _ = room.partition(".")
        if dot:  # a package, which may have kernels; those of the runtime go with them
            packages |= {package, "qnetem.runtime"}
    for package in sorted(packages):
        _import_compiled(sys.modules[package])
    for package in sorted(packages):
        _warm_up(package)


def _import_compiled(package: ModuleType) -> None:
    for entry in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if entry.ispkg:
            _import_compiled(importlib.import_module(entry.name))
        elif entry.name.endswith("_compiled"):
            importlib.import_module(entry.name)


def _warm_up(package: str) -> None:
    """Let a package run what is compiled once, where it has a module `warm` for that."""
    if importlib.util.find_spec(f"{package}.warm") is not None:
        importlib.import_module(f"{package}.warm").warm_up()
