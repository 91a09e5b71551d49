"""quantum_channel.time_transfer: two-way time transfer between the ends of a link: four stamps, as read. Pure.

The transmitter's clock is the testbed's. What goes forth is delayed as the link's light is, an eavesdropper's delay and
the asymmetry on top; what comes back is not.
"""

from dataclasses import dataclass

from quantum_channel.drift import TICK_PS
from quantum_channel.drift_chance import Process
from quantum_channel.link import Link
from quantum_channel.raw_time import shift_ps

__all__ = ["Stamps", "stamps"]


@dataclass(frozen=True, slots=True)
class Stamps:
    """Time stamps t1 .. t4 as read, emulated picoseconds, and when the last signal is back in truth."""

    read_ps: tuple[int, int, int, int]
    back_ps: int


def stamps(link: Link, now_ps: int) -> Stamps:
    """Return what both ends read of an exchange that begins now."""
    p, weather = link.at(now_ps), link.course.weather
    delay_ps = round(weather.at(p, max(0, now_ps) // TICK_PS).delay_ps)
    way_ps = link.latency_ps(now_ps) + delay_ps
    # an asymmetry is never so large that light goes back in time
    there_ps = now_ps + max(0, way_ps + round(p.eve_delay_ps + p.sync_asymmetry_ps))
    ahead_ps = round(shift_ps(p, weather, max(0, there_ps)) - delay_ps - p.eve_delay_ps)
    back_ps = there_ps + way_ps
    true_ps = (now_ps, there_ps + ahead_ps, there_ps + ahead_ps, back_ps)
    # noise by the time of the exchange: the same question has the same answer
    index = max(0, now_ps) & ((1 << 63) - 1)
    noise = [n for half in (0, 1) for n in weather.chance.normals(Process.TIME_STAMPS, 2 * index + half)]
    one, two, three, four = (
        each_ps + round(p.sync_noise_ps * sigma) for each_ps, sigma in zip(true_ps, noise, strict=True)
    )
    return Stamps((one, two, three, four), back_ps)
