"""qnetem.testbed.state: the durable state of a testbed, and the lock that says who has it. Edge."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from qnetem.runtime.durable import sync_folder
from qnetem.runtime.errors import ConflictError, QnetemError, StorageError
from qnetem.runtime.pki import write_private
from qnetem.testbed.desired import Desired
from qnetem.testbed.launch_record import Launch
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import TestbedPlan
from qnetem.testbed.run_folder import RunFolder
from qnetem.testbed.timekeeping import ClockRecord

__all__ = ["Launch", "State", "write_quickly"]

_T = TypeVar("_T")


class DamagedStateError(StorageError):
    """A file of the state folder is not what was written there."""

    reason: ClassVar[str] = "DAMAGED_STATE"


def write_quickly(path: Path, data: bytes) -> None:
    """Write a private file that can be made again: whole to its readers, not forced to the disk."""
    part = path.with_name(path.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    part.replace(path)


class State:
    """Reads and writes the state folder of one testbed."""

    def __init__(self, layout: Layout) -> None:
        """Work below `layout`; nothing is made yet."""
        self.layout: Final = layout
        self.run_folder: Final = RunFolder(layout.root)

    @classmethod
    def beside(cls, topology_path: Path, testbed: str) -> Self:
        """Return the state of a testbed whose topology lies in a file."""
        return cls(Layout.beside(topology_path.absolute(), testbed))

    def create(self) -> None:
        """Make the folders. Idempotent.

        Raises:
            StorageError: A folder cannot be made; names it.
        """
        for folder in self.layout.folders:
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{folder}: {error.strerror}") from error

    def try_lock(self) -> int | None:
        """Take the lock; return its descriptor, which holds it until all who share it closed it. None: not free."""
        fd = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def is_locked(self) -> bool:
        """Return whether somebody brings the testbed up or runs it."""
        if not self.layout.lock.exists():
            return False
        fd = self.try_lock()
        if fd is None:
            return True
        os.close(fd)
        return False

    def launch(self) -> Launch | None:
        """Return who was launched last; None when the testbed was taken down since."""
        return self._read(self.layout.launch, Launch.from_bytes)

    def write_launch(self, launch: Launch) -> None:
        """Record who is launched."""
        self._write(self.layout.launch, json.dumps(asdict(launch)).encode())

    def clear_launch(self) -> None:
        """Record that the testbed is down."""
        self.layout.launch.unlink(missing_ok=True)

    def plan(self) -> TestbedPlan | None:
        """Return the plan in force; None before the first."""
        return self._read(self.layout.plan, lambda data: TestbedPlan.from_json(json.loads(data)))

    def write_plan(self, plan: TestbedPlan) -> None:
        """Record the plan in force."""
        self._write(self.layout.plan, json.dumps(plan.to_json()).encode())

    def ports(self) -> dict[str, int]:
        """Return the ports of earlier runs."""
        return self._read(self.layout.ports, lambda data: dict(json.loads(data))) or {}

    def write_ports(self, ports: Mapping[str, int]) -> None:
        """Record the ports."""
        self._write(self.layout.ports, json.dumps(dict(ports)).encode())

    def desired(self) -> Desired:
        """Return the settings that the operator wants in force."""
        return self._read(self.layout.desired, Desired.from_bytes) or Desired()

    def write_desired(self, desired: Desired) -> None:
        """Record the settings, durably: they hold after this, whatever dies."""
        self._write(self.layout.desired, desired.to_bytes())

    def clock(self) -> ClockRecord | None:
        """Return how far emulated time had come; None before the first run."""
        return self._read(self.layout.clock, lambda data: ClockRecord(**json.loads(data)))

    def write_clock(self, record: ClockRecord) -> None:
        """Record how far emulated time has come, or will have come before the next record."""
        _storing(self.layout.clock, lambda: write_quickly(self.layout.clock, json.dumps(asdict(record)).encode()))

    def secret(self, reproducible_seed: int | None) -> bytes:
        """Return the testbed secret, drawn the first time; with a seed it follows from that and is not kept."""
        from qnetem.runtime import rng  # here: it imports numpy, which a supervisor has no use for

        if reproducible_seed is not None:
            return rng.reproducible_testbed_secret(reproducible_seed)
        secret = self._read(self.layout.secret, bytes)
        if secret is None:
            secret = secrets.token_bytes(rng.SECRET_BYTES)
            self._write(self.layout.secret, secret)
        if len(secret) != rng.SECRET_BYTES:
            raise DamagedStateError(f"{self.layout.secret}: not {rng.SECRET_BYTES} bytes")
        return secret

    def purge(self) -> None:
        """Delete everything: keys, secrets, logs.

        Raises:
            ConflictError: The testbed runs.
        """
        if self.is_locked():
            raise ConflictError(f"{self.layout.root}: the testbed is running")
        shutil.rmtree(self.layout.root, ignore_errors=True)
        self.run_folder.remove()

    def _read(self, path: Path, parse: Callable[[bytes], _T]) -> _T | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        try:
            return parse(data)
        except (ValueError, TypeError, QnetemError) as error:
            raise DamagedStateError(f"{path}: damaged ({error})") from error

    def _write(self, path: Path, data: bytes) -> None:
        _storing(path, lambda: _write_durably(path, data))


def _write_durably(path: Path, data: bytes) -> None:
    write_private(path, data)
    sync_folder(path.parent)  # the new name as well as the data


def _storing(path: Path, act: Callable[[], Any]) -> None:
    try:
        act()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
