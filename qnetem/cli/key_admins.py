"""qnetem.cli.key_admins: the key managers of the testbed that is meant, and what they tell as rows. Edge."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnetem.cli.figures import count_text, rate_text, span_text
from qnetem.cli.testbeds import client_of, plan_of, state_of

if TYPE_CHECKING:
    from qnetem.runtime.errors import QnetemError
    from qnetem.testbed.key_admin import AuditVerdict, KeyAdmin
    from qnetem.v1 import key_admin_pb2

__all__ = ["POOL_HEADER", "audit_rows", "key_admin_of", "pool_rows", "pool_values", "trace_rows"]

POOL_HEADER: Final = (
    *("NODE", "PEER", "AVAILABLE", "OF THE PEER", "FOR TAGS", "ASSIGNED", "DELIVERED", "RELAYED", "TAGS", "LOST"),
    *("MADE", "SPENT", "EXHAUSTED IN"),
)
_OWN_FIELDS: Final = frozenset({"node", "seq", "wall_s", "emulated_s", "event", "key_id", "digest", "mac"})


@asynccontextmanager
async def key_admin_of(topology: Path | None) -> "AsyncIterator[KeyAdmin]":
    """Reach the key managers of the running testbed that is meant.

    Raises:
        TopologyError, NotFoundError, NotRunningError: As `client_of`.
    """
    from qnetem.testbed.api.connection import Connection
    from qnetem.testbed.key_admin import KeyAdmin

    state = state_of(topology)
    async with client_of(topology) as client, AsyncExitStack() as stack:
        yield KeyAdmin(Connection(client, state.layout, plan_of(state), stack))


def pool_values(
    statuses: "Mapping[str, key_admin_pb2.GetKeyStatusResponse | QnetemError]",
) -> Iterator[dict[str, Any]]:
    """Yield every pool as JSON values; a node that does not answer as its `node` and `error`."""
    from qnetem.runtime.errors import QnetemError

    for node, status in statuses.items():
        if isinstance(status, QnetemError):
            yield {"node": node, "error": str(status) or status.reason}
            continue
        pads = {one.peer_node: (one.own_bits, one.peer_bits) for one in status.pads}
        for pool in status.pools:
            values: dict[str, Any] = {field.name: getattr(pool, field.name) for field in pool.DESCRIPTOR.fields}
            if not pool.HasField("exhausted_in_s"):
                values["exhausted_in_s"] = None
            own, peer = pads.get(pool.peer_node, (0, 0))
            yield {"node": node, **values, "preshared_bits": own, "peer_preshared_bits": peer}


def pool_rows(values: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return pools as rows under POOL_HEADER."""
    rows: list[tuple[str, ...]] = []
    for one in values:
        if "error" in one:
            rows.append((one["node"], one["error"], *("-",) * (len(POOL_HEADER) - 2)))
            continue
        lost = one["voided_bits"] + one["expired_bits"] + one["quarantined_bits"]
        counts = ("available_bits", "peer_available_bits", "kept_bits", "assigned_bits", "delivered_bits")
        exhausted_in_s = one["exhausted_in_s"]
        rows.append(
            (
                one["node"],
                one["peer_node"] + (" (insecure)" if one["is_insecure"] else ""),
                *(count_text(one[name], "bit") for name in (*counts, "relayed_bits", "tags_bits")),
                count_text(lost, "bit"),
                rate_text(one["made_hz"], "b/s"),
                rate_text(one["spent_hz"], "b/s"),
                "-" if exhausted_in_s is None else span_text(exhausted_in_s),
            )
        )
    return rows


def audit_rows(verdicts: "list[AuditVerdict]") -> list[tuple[str, str, str]]:
    """Return verdicts as rows: node, entries, what was found."""
    return [
        (one.node, "-" if one.unknown else str(one.entry_count), one.unknown or one.fault or _whole(one.first_seq))
        for one in verdicts
    ]


def _whole(first_seq: int) -> str:
    return "whole" if first_seq == 1 else f"whole, from entry {first_seq} on"


def trace_rows(entries: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return entries about a key as rows: emulated time, node, event, what else there is to say."""
    return [
        (
            f"{entry['emulated_s']:.3f} s",
            entry["node"],
            entry["event"],
            " ".join(f"{name}={value}" for name, value in entry.items() if name not in _OWN_FIELDS and value != ""),
        )
        for entry in entries
    ]
