"""qnetem.topology.quantities: the kinds of values that fields of a link hold: units, ranges, words. Pure.

Ranges are those of the processes that take the values, or within them.
"""

import math
from typing import Final

from qnetem.topology.units import Choice, Quantity

_PS: Final = {"ps": 0, "ns": 3, "us": 6, "µs": 6, "μs": 6, "ms": 9, "s": 12}
_RATES: Final = {"Hz": 0, "kHz": 3, "MHz": 6, "GHz": 9}
_SIZES: Final = {"bit": 0, "kbit": 3, "Mbit": 6, "Gbit": 9}

# fibre
LENGTH: Final = Quantity(name="a length", units={"m": -3, "km": 0}, minimum=0, maximum=10_000, example="25km")
ATTENUATION: Final = Quantity(name="an attenuation", units={"dB/km": 0}, minimum=0, maximum=100, example="0.2dB/km")
LOSS: Final = Quantity(name="a loss", units={"dB": 0}, minimum=0, maximum=200, example="2dB")
DRIFT: Final = Quantity(name="a loss", units={"dB": 0}, minimum=0, maximum=100, example="0.2dB")
WAVELENGTH: Final = Quantity(name="a wavelength", units={"nm": 0}, minimum=100, maximum=20_000, example="1550nm")
DISPERSION: Final = Quantity(
    name="a dispersion", units={"ps/nm/km": 0}, minimum=-1000, maximum=1000, example="17ps/nm/km"
)
LINEWIDTH: Final = Quantity(name="a width", units={"pm": -3, "nm": 0}, minimum=0, maximum=100, example="0.1nm")
FILTER: Final = Quantity(
    name="a width", units={"pm": -3, "nm": 0}, minimum=0, maximum=1000, is_minimum_open=True, example="0.1nm"
)
TEMPERATURE: Final = Quantity(name="a difference of temperature", units={"K": 0}, minimum=0, maximum=100, example="10K")
POWER: Final = Quantity(name="a power", units={"uW": -3, "mW": 0, "W": 3}, minimum=0, maximum=1e4, example="1mW")
RAMAN: Final = Quantity(
    name="a cross-section", units={"/km/nm": 0}, minimum=0, maximum=1e-6, is_minimum_open=True, example="3e-9/km/nm"
)
ANGLE: Final = Quantity(
    name="an angle", units={"urad": -6, "mrad": -3, "rad": 0}, minimum=0, maximum=0.1, example="10urad"
)
ELEVATION: Final = Quantity(
    name="an angle",
    units={"mrad": -3, "rad": 0},
    multiples={"deg": math.pi / 180},
    minimum=1e-3,
    maximum=math.pi / 2,
    example="60deg",
)
APERTURE: Final = Quantity(name="a radius", units={"mm": -3, "cm": -2, "m": 0}, minimum=0, maximum=100, example="15cm")

# time, of nature in seconds and of devices in picoseconds
_SPANS: Final = {"ms": -3, "s": 0}
_LONG_SPANS: Final = {"min": 60, "h": 3600, "d": 86_400}
SPAN: Final = Quantity(name="a time", units=_SPANS, multiples=_LONG_SPANS, minimum=0, maximum=1e9, example="10min")
LONG_SPAN: Final = Quantity(
    name="a time", units=_SPANS, multiples=_LONG_SPANS, minimum=0, maximum=1e12, example="30min"
)
DAY: Final = Quantity(name="a time", units=_SPANS, multiples=_LONG_SPANS, minimum=1, maximum=1e9, example="24h")
JITTER: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=1e4, example="50ps")
DEAD_TIME: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=10**10, is_whole=True, example="10us")
DURATION: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=60 * 10**12, is_whole=True, example="125us")
BIN: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=1e6, example="500ps")
GATE: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=1e9, example="500ps")
GATE_OFFSET: Final = Quantity(name="a time", units=_PS, minimum=-1e9, maximum=1e9, example="50ps")
CLOCK_OFFSET: Final = Quantity(name="a time", units=_PS, minimum=-1e12, maximum=1e12, example="100ns")
ADDED_DELAY: Final = Quantity(name="a time", units=_PS, minimum=0, maximum=1e12, example="10ns")

# rates
CLOCK: Final = Quantity(name="a rate", units=_RATES, minimum=1e3, maximum=2e10, example="1GHz")
RATE: Final = Quantity(name="a rate", units=_RATES, minimum=0, maximum=1e9, example="500Hz")
SATURATION: Final = Quantity(name="a rate", units=_RATES | {"THz": 12}, minimum=0, maximum=1e12, example="20MHz")
EVENTS: Final = Quantity(name="a rate", units={"uHz": -6, "mHz": -3, "Hz": 0}, minimum=0, maximum=1e3, example="0.3mHz")

# keys
SECRET_RATE: Final = Quantity(
    name="a rate",
    units={"bit/s": 0, "kbit/s": 3, "Mbit/s": 6, "Gbit/s": 9},
    minimum=0,
    maximum=1e12,
    is_minimum_open=True,
    example="1kbit/s",
)
BURST: Final = Quantity(name="a size", units=_SIZES, minimum=8, maximum=10**12, is_whole=True, example="4kbit")
KEY_SIZE: Final = Quantity(name="a size", units=_SIZES, minimum=8, maximum=65_536, is_whole=True, example="256bit")
FILE_SIZE: Final = Quantity(
    name="a size",
    units={"kB": 3, "MB": 6, "GB": 9},
    minimum=10_000,
    maximum=10**15,
    is_whole=True,
    example="64MB",
)
FILE_AGE: Final = Quantity(name="a time", units=_SPANS, multiples=_LONG_SPANS, minimum=1, maximum=1e9, example="1d")
LIFETIME: Final = Quantity(
    name="a time", units=_SPANS, multiples=_LONG_SPANS, minimum=1e-3, maximum=1e9, example="10min"
)

# clocks
SKEW: Final = Quantity(
    name="a relative frequency", units={"ppt": -3, "ppb": 0, "ppm": 3}, minimum=-1e6, maximum=1e6, example="1ppb"
)
AGEING: Final = Quantity(
    name="an ageing",
    units={"ppt/d": -3, "ppb/d": 0, "ppm/d": 3},
    minimum=-1e6,
    maximum=1e6,
    example="0.1ppb/d",
)
WHITE_FM: Final = Quantity(
    name="a noise", units={"ps/sqrt(s)": 0, "ns/sqrt(s)": 3}, minimum=0, maximum=1e6, example="1ps/sqrt(s)"
)
WALK_FM: Final = Quantity(
    name="a noise", units={"ppt/sqrt(s)": -3, "ppb/sqrt(s)": 0}, minimum=0, maximum=1e6, example="0.1ppt/sqrt(s)"
)

# numbers
PROBABILITY: Final = Quantity(name="a probability", units={"%": -2}, minimum=0, maximum=1, is_bare=True, example="2%")
RATIO: Final = Quantity(name="a ratio", units={"%": -2}, minimum=0, maximum=1, is_bare=True, example="1%")
CHOICE: Final = Quantity(
    name="a probability",
    units={"%": -2},
    minimum=0,
    maximum=1,
    is_minimum_open=True,
    is_maximum_open=True,
    is_bare=True,
    example="0.8",
)
SHARE: Final = Quantity(
    name="a probability", units={"%": -2}, minimum=0, maximum=1, is_minimum_open=True, is_bare=True, example="0.8"
)
QBER: Final = Quantity(
    name="an error rate", units={"%": -2}, minimum=0, maximum=0.5, is_minimum_open=True, is_bare=True, example="5%"
)
EPSILON: Final = Quantity(name="a probability", units={}, minimum=1e-30, maximum=1e-3, is_bare=True, example="1.0e-10")
SCALE: Final = Quantity(name="a number", units={}, minimum=1e-3, maximum=1e3, is_bare=True, example="1")
PHOTONS: Final = Quantity(name="a mean photon number", units={}, minimum=0, maximum=10, is_bare=True, example="0.2")
PAIRS: Final = Quantity(name="a brightness", units={}, minimum=0, maximum=10, is_bare=True, example="0.05")
LEAKED_PHOTONS: Final = Quantity(
    name="a mean photon number", units={}, minimum=0, maximum=1e6, is_bare=True, example="0.01"
)
COUNT: Final = Quantity(name="a count", units={}, minimum=0, maximum=1000, is_whole=True, is_bare=True, example="2")
BLOCKS: Final = Quantity(
    name="a count", units={}, minimum=1, maximum=65_536, is_whole=True, is_bare=True, example="192"
)
BLOCK: Final = Quantity(name="a size", units=_SIZES, minimum=1000, maximum=10**8, is_whole=True, example="100kbit")
POOL: Final = Quantity(name="a size", units=_SIZES, minimum=1000, maximum=10**12, is_whole=True, example="4Mbit")

# words
RECEIVER: Final = Choice(name="a kind of receiver", words={"active": False, "passive": True})
INSECURE: Final = Choice(name="what becomes of them", words={"forget": False, "give": True})
# of a protocol that is not secure, for study: what its links keep is marked
STUDY: Final = frozenset({"bb84-asymptotic"})
PROTOCOLS: Final = Choice(
    name="a protocol",
    words={name: name for name in ("bb84-one-decoy", "bb84-two-decoys", "bb84-asymptotic", "bbm92")},
)
