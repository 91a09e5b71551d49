"""qnetem.cli.monitors: loops and monitors of links as `inspect --wide` shows them, as rows of tables. Pure."""

from collections.abc import Iterable
from typing import Any

from qnetem.cli.figures import percent_text

__all__ = ["loop_rows", "monitor_rows"]

_PS_PER_NS = 1e3
_PS_PER_US = 1e6


def loop_rows(links: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of what keeps each link at work."""
    header = (
        "LINK",
        "ERRORS",
        "AT BEST",
        "ALIGNED",
        "CLOCK",
        "SKEW",
        "WAY AND BACK",
        "GATE",
        "TRIM",
        "SET UP IN",
    )
    rows: list[tuple[str, ...]] = [
        (
            one["link_id"],
            percent_text(one["qber_now_prob"]),
            percent_text(one["qber_baseline_prob"]),
            str(one["alignments_count"]),
            f"{one['clock_offset_ps'] / _PS_PER_NS:.3f} ns" if one["is_clock_locked"] else "-",
            f"{one['clock_skew_ppb']:.3f} ppb" if one["is_clock_locked"] else "-",
            f"{one['quantum_round_trip_ps'] / _PS_PER_US:.4f} us" if one["quantum_round_trip_ps"] else "-",
            f"{one['gate_offset_ps']:.0f} ps" if one["gate_offset_ps"] else "-",
            f"{one['intensity_trim_ratio']:.3f}" if one["intensity_trim_ratio"] else "-",
            ", ".join(f"{name} {span_s:.2f} s" for name, span_s in one["steps_s"].items()) or "-",
        )
        for one in links
    ]
    return header, rows


def monitor_rows(links: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of monitors: what each measures, and within which it is honest."""
    header = ("LINK", "NODE", "MONITOR", "VALUE", "HONEST FROM", "TO", "STATE")
    rows: list[tuple[str, ...]] = [
        (
            one["link_id"],
            node,
            monitor["name"],
            *(_number(monitor[name] if monitor["value"] is not None else None) for name in ("value", "low", "high")),
            "ALARM" if monitor["is_alarmed"] else "quiet",
        )
        for one in links
        for node, end in one["ends"].items()
        for monitor in end.get("monitors", [])
    ]
    return header, rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
