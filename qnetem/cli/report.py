"""qnetem.cli.report: what `inspect` shows, as rows of tables. Pure."""

from collections.abc import Iterable
from typing import Any

from qnetem.cli.figures import count_text, percent_text, rate_text, span_text

__all__ = ["link_rows", "pool_rows", "process_rows"]


def process_rows(processes: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of processes."""
    header = ("PROCESS", "KIND", "STATE", "PID", "UP", "RESTARTS", "LAST END")
    rows: list[tuple[str, ...]] = [
        (
            one["name"],
            one["kind"],
            one["state"],
            str(one["pid"] or "-"),
            span_text(one["up_s"]) if one["pid"] else "-",
            str(one["restart_count"]),
            one["last_end"] or "-",
        )
        for one in processes
    ]
    return header, rows


def link_rows(links: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of links."""
    header = ("LINK", "STATE", "QBER", "CLICKS", "SIFTED", "SECRET (GROSS)", "BLOCKS", "LAG", "REASON")
    rows: list[tuple[str, ...]] = [
        (
            one["link_id"],
            one["state"] + (" (idle)" if one["is_idle"] else ""),
            percent_text(one["qber_prob"]),
            rate_text(one["clicks_hz"], "/s"),
            rate_text(one["sifted_hz"], "b/s"),
            rate_text(one["secret_gross_hz"], "b/s"),
            str(one["blocks_made_count"]),
            f"{one['lag_s']:.2f} s",
            one["reason"] or "-",
        )
        for one in links
    ]
    return header, rows


def pool_rows(pools: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of pools of secret bits."""
    header = ("NODE", "PEER", "AVAILABLE", "OF THE PEER", "ASSIGNED", "DELIVERED", "QUARANTINED")
    names = ("available_bits", "peer_available_bits", "assigned_bits", "delivered_bits", "quarantined_bits")
    rows: list[tuple[str, ...]] = [
        (one["node"], one["peer_node"], *(count_text(one[name], "bit") for name in names)) for one in pools
    ]
    return header, rows
