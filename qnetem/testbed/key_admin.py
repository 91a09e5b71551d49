"""qnetem.testbed.key_admin: the key managers of a testbed as their operator asks them, all at once. Wiring."""

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from node.client import KeyAdminClient
from qnetem.runtime.errors import QnetemError, StorageError, UnavailableError
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.state import write_quickly
from qnetem.testbed.storage_keys import begin_rotation, finish_rotation
from qnetem.v1 import key_admin_pb2

__all__ = ["AuditVerdict", "KeyAdmin"]

# of each direction, what a link gets when it has none left: as much as at first
_PROVISION_BYTES: Final = 8192
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What became of the check of one node's trail.

    Attributes:
        node: Whose.
        entry_count: Entries whose chain holds, from `first_seq` on; those before were removed as old.
        fault: What is wrong; empty: nothing.
        unknown: Why it could not be checked; empty: it was.
    """

    node: str
    entry_count: int = 0
    fault: str = ""
    unknown: str = ""
    first_seq: int = 1


class KeyAdmin:
    """Asks every node of a testbed; one that does not answer is named, not waited for."""

    def __init__(self, connection: Connection) -> None:
        """Reach nodes through `connection`."""
        self._connection = connection

    async def _all(self, ask: Callable[[KeyAdminClient, str], Awaitable[_T]]) -> dict[str, _T | QnetemError]:
        return await self._connection.of_nodes(lambda channel, node: ask(KeyAdminClient(channel), node))

    async def statuses(self) -> dict[str, key_admin_pb2.GetKeyStatusResponse | QnetemError]:
        """Return how the pools of every node stand, or why it does not say."""
        return await self._all(lambda client, _: client.status())

    async def verify(self) -> list[AuditVerdict]:
        """Check the trail of every node, against what was verified before too; remember what holds now.

        Raises:
            StorageError: What was remembered cannot be read or written.
        """
        path = self._connection.layout.audit_heads
        known = _heads(path)

        async def check(client: KeyAdminClient, node: str) -> key_admin_pb2.VerifyAuditResponse:
            seq, mac = known.get(node, (0, ""))
            return await client.verify_audit(seq, bytes.fromhex(mac))

        verdicts = []
        for node, answer in (await self._all(check)).items():
            if isinstance(answer, QnetemError):
                verdicts.append(AuditVerdict(node, unknown=str(answer) or answer.reason))
                continue
            verdicts.append(AuditVerdict(node, answer.entry_count, answer.fault, "", max(1, answer.first_seq)))
            if not answer.fault:
                known[node] = answer.head_seq, answer.head_mac.hex()
        try:
            write_quickly(path, json.dumps(known).encode())
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        return verdicts

    async def trace(self, key_id: str) -> tuple[list[dict[str, Any]], dict[str, QnetemError]]:
        """Return what all trails say of a key, by emulated time, each with its `node`; and who does not say.

        Raises:
            BadInputError: It is no key id.
        """
        entries: list[dict[str, Any]] = []
        silent: dict[str, QnetemError] = {}
        for node, answer in (await self._all(lambda client, _: client.trace(key_id))).items():
            if isinstance(answer, QnetemError):
                if not isinstance(answer, UnavailableError) and answer.is_definite:
                    raise answer
                silent[node] = answer
            else:
                entries += [{"node": node, **json.loads(line)} for line in answer]
        return sorted(entries, key=lambda entry: (entry["wall_s"], entry["node"], entry["seq"])), silent

    async def rotate_storage_keys(self) -> list[str]:
        """Seal every store under a new storage key; return the files that hold them. Interrupted, it is done again.

        Raises:
            UnavailableError: A node did not do it; the old keys and the new ones both lie there, and both are used.
            StorageError: A file cannot be written.
        """
        paths = {node: Path(self._connection.config(node).storage_key_path) for node in self._connection.nodes}
        files = sorted(set(paths.values()))
        for path in files:
            begin_rotation(path)
        outcomes = await self._all(lambda client, _: client.rotate_storage_key())
        failed = {node: error for node, error in outcomes.items() if isinstance(error, QnetemError)}
        for path in files:
            if not any(paths[node] == path for node in failed):
                finish_rotation(path)
        if failed:
            why = "; ".join(f"{node}: {error}" for node, error in failed.items())
            raise UnavailableError(f"not sealed under the new storage key yet (do it again when they serve): {why}")
        return [str(path) for path in files]

    async def provision(self, link_id: str) -> int:
        """Bring the two ends of a link new bits to authenticate with; return how many, for both directions.

        Raises:
            NotFoundError: There is no such link.
            QnetemError: An end did not take them; the same again brings others.
        """
        ends = [
            KeyAdminClient(await self._connection.channel(node)) for node in self._connection.link(link_id).endpoints
        ]
        # one that does not come to both ends is used by none
        generation, secret = 1 + secrets.randbelow(1 << 31), secrets.token_bytes(_PROVISION_BYTES)
        for end in ends:
            await end.provision_link(link_id, generation, secret)
        for end in ends:
            await end.provision_link(link_id, generation)
        return 8 * len(secret)


def _heads(path: Path) -> dict[str, tuple[int, str]]:
    try:
        return {node: (int(seq), str(mac)) for node, (seq, mac) in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"{path}: cannot be read ({type(error).__name__})") from error
