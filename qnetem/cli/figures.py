"""qnetem.cli.figures: numbers as people read them. Pure."""

from typing import Final

__all__ = ["count_text", "load_text", "memory_text", "percent_text", "rate_text", "span_text"]

_PREFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _scaled(value: float) -> str:
    for size, prefix in _PREFIXES:
        # 999.95k would be rounded to four digits
        if abs(value) >= size * 0.99995:
            return f"{value / size:.3g} {prefix}" if abs(value) < 999.5 * size else f"{value / size:.0f} {prefix}"
    return f"{value:.3g} "


def rate_text(value_hz: float, unit: str) -> str:
    """Return a rate with three digits: `12.4 k/s`, `3.35 Mb/s`; "-" for none."""
    return f"{_scaled(value_hz)}{unit}" if value_hz else "-"


def count_text(count: int, unit: str) -> str:
    """Return a count with three digits: `185 kbit`; `0 bit`."""
    return f"{_scaled(count)}{unit}"


def percent_text(prob: float) -> str:
    """Return a probability in percent: `1.02 %`; "-" for none."""
    return f"{100 * prob:.2f} %" if prob else "-"


def span_text(span_s: float) -> str:
    """Return a span of time in its two largest units: `0.8 s`, `4 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if span_s < 10:
        return f"{span_s:.1f} s"
    seconds = round(span_s)
    for size, name, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {name} {seconds % size // smaller_size} {smaller}"
    return f"{seconds} s"


def load_text(load: float | None) -> str:
    """Return a load in cores as percent of one: `12 %`, `140 %`; "-" where it is not known."""
    return "-" if load is None else f"{100 * load:.0f} %"


def memory_text(memory_bytes: int) -> str:
    """Return an amount of memory in its largest unit: `4.7 MiB`, `1.2 GiB`."""
    return f"{memory_bytes / 2**30:.1f} GiB" if memory_bytes >= 2**30 else f"{memory_bytes / 2**20:.1f} MiB"
