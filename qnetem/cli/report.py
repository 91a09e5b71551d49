"""qnetem.cli.report: what `inspect` shows, as rows of tables. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from qnetem.cli.figures import count_text, load_text, memory_text, percent_text, rate_text, span_text

__all__ = ["STYLES", "link_rows", "pool_rows", "process_rows", "summary", "usage_rows"]

# how a state looks on a terminal
STYLES: Final = {
    "HEALTHY": "green",
    "OPERATING": "green",
    "OPERATING (idle)": "green",
    "DEGRADED": "yellow",
    "COMMISSIONING": "yellow",
    "STARTING": "yellow",
    "RESTARTING": "yellow",
    "PAUSED": "yellow",
    "UNHEALTHY": "red",
    "FAILED": "red",
    "DOWN": "red",
    "ALARM": "red",
    "quiet": "green",
    "UNKNOWN": "red",
}


def summary(values: dict[str, Any]) -> str:
    """Return one line about the whole: `5 processes: 5 HEALTHY; 1 link: 1 OPERATING`."""
    parts = []
    for one, many in (("process", "processes"), ("link", "links")):
        counted = Counter(each["state"] for each in values[many])
        states = ", ".join(f"{count} {state}" for state, count in sorted(counted.items(), key=lambda pair: -pair[1]))
        total = len(values[many])
        parts.append(f"{total} {one if total == 1 else many}" + (f": {states}" if states else ""))
    return "; ".join(parts)


def process_rows(processes: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of processes."""
    header = ("PROCESS", "KIND", "STATE", "PID", "UP", "RESTARTS", "LAST END")
    rows: list[tuple[str, ...]] = [
        (
            one["name"],
            one["kind"],
            one["state"] + (f" (off {', '.join(one['disconnected'])})" if one["disconnected"] else ""),
            str(one["pid"] or "-"),
            span_text(one["up_s"]) if one["pid"] else "-",
            str(one["restart_count"]),
            one["last_end"] or "-",
        )
        for one in processes
    ]
    return header, rows


def usage_rows(values: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of what processes use: each, the testbed's own, and all together."""
    header = ("PROCESS", "KIND", "STATE", "PID", "CPU", "MEMORY", "THREADS", "LAG", "UP", "RESTARTS", "LAST END")
    rows: list[tuple[str, ...]] = []
    for one in values["processes"]:
        name, kind, state, pid, up, *rest = process_rows([one])[1][0]
        lag = "-" if one["lag_s"] is None else f"{one['lag_s']:.2f} s"
        rows.append((name, kind, state, pid, *_usage_cells(one["usage"]), lag, up, *rest))
    for one in values["own_processes"]:
        rows.append((one["name"], "-", "-", str(one["pid"]), *_usage_cells(one["usage"]), *("-",) * 4))
    used = [one["usage"] for one in (*values["processes"], *values["own_processes"]) if one["usage"] is not None]
    loads = [usage["cpu_load"] for usage in used if usage["cpu_load"] is not None]
    total = {name: sum(usage[name] for usage in used) for name in ("memory_bytes", "thread_count")}
    cells = _usage_cells({**total, "cpu_load": sum(loads) if loads else None})
    rows.append(("all", "-", "-", "-", *cells, *("-",) * 4))
    return header, rows


def _usage_cells(usage: dict[str, Any] | None) -> tuple[str, str, str]:
    if usage is None:
        return "-", "-", "-"
    return load_text(usage["cpu_load"]), memory_text(usage["memory_bytes"]), str(usage["thread_count"])


def link_rows(links: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of links."""
    header = ("LINK", "STATE", "QBER", "CLICKS", "SIFTED", "SECRET (GROSS)", "SECRET (NET)", "BLOCKS", "LAG", "REASON")
    rows: list[tuple[str, ...]] = [
        (
            one["link_id"],
            one["state"] + (" (idle)" if one["is_idle"] else "") + (" (insecure)" if one["is_insecure"] else ""),
            percent_text(one["qber_prob"]),
            rate_text(one["clicks_hz"], "/s"),
            rate_text(one["sifted_hz"], "b/s"),
            rate_text(one["secret_gross_hz"], "b/s"),
            rate_text(one["secret_net_hz"], "b/s"),
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
