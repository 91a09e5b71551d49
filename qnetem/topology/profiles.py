"""qnetem.topology.profiles: devices that exist, as numbers with their sources. Pure.

A profile is the lowest layer of a link's parameters: its environment, `defaults` of the file and the link itself
override it. Values are by key of `fields`, in base units (km, dB, Hz, ps, bits). What a profile does not say has the
default of its field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["PROFILES", "Profile", "Value"]

Value = float | str | Sequence[float]

PULSES_PER_BLOCK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything about a link but its length and what follows from it."""

    doc: str
    quantum: Mapping[str, Value]
    protocol: Mapping[str, Value]
    # How long a train should take, emulated seconds: short trains cost round trips, long ones latency and memory.
    train_s: float

    def train_blocks(self, clock_hz: float) -> int:
        """Return the blocks in a train of about `train_s` at a clock, at least 1."""
        return max(1, round(self.train_s * clock_hz / PULSES_PER_BLOCK))


# The fibre and optics both profiles share. Source: PHYSICS 2 and 6 (telecom fibre 0.20 dB/km, 2 connectors of 0.3 dB,
# 2 dB inside the receiver, e_d 1 %).
_OPTICS: Final[dict[str, Value]] = {
    "attenuation": 0.20,
    "connectors": 2,
    "connector_loss": 0.3,
    "extra_loss": 0.0,
    "receiver_loss": 2.0,
    "clock": 1e9,
    "misalignment": 0.01,
    "source_jitter": 0.0,
    "jitter": 0.0,
}
# eps_sec, eps_cor, ramp: PHYSICS 6. Degraded at more than twice the error rate of a healthy link of either profile;
# abort at the threshold of BB84, 11.0 % (Shor and Preskill 2000), past which no block, however long, has a key.
_PROTOCOL: Final[dict[str, Value]] = {
    "protocol": "bb84-one-decoy",
    "eps_sec": 1e-10,
    "eps_cor": 1e-15,
    "block_ramp": (100_000, 1_000_000, 10_000_000),
    "qber_degraded": 0.05,
    "qber_abort": 0.11,
}

# Superconducting nanowires. Source: PHYSICS 6.
_NANOWIRES: Final[dict[str, Value]] = {
    "efficiency": 0.85,
    "dark_counts": 100.0,
    "dead_time": 50_000,
    # Nanowires trap no carriers. The time, that of the dead time, matters where a setting turns them on.
    "afterpulse_probability": 0.0,
    "afterpulse_time": 50_000,
    "detector_jitter": 50.0,
}

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "decoy-bb84-1ghz-snspd": Profile(
            doc="Superconducting nanowire detectors: megabits per second at city distance.",
            # Source: PHYSICS 6, from counts (Rusca et al. 2018 for the intensities' kind).
            quantum=_OPTICS
            | _NANOWIRES
            | {
                "intensities": (0.40, 0.13),
                "intensity_probabilities": (0.35, 0.65),
                "transmitter_p_z": 0.78,
                "receiver_p_z": 0.78,
            },
            # About ten seconds of a 25 km link's key.
            protocol=_PROTOCOL | {"pool_high_water": 32_000_000},
            # 32 blocks, 4e5 clicks at 25 km.
            train_s=0.0336,
        ),
        "decoy-bb84-1ghz-apd": Profile(
            doc="InGaAs avalanche photodiodes: tens of kilobits per second, limited by their dead time.",
            quantum=_OPTICS
            | {
                "intensities": (0.20, 0.05),
                "intensity_probabilities": (0.25, 0.75),
                "transmitter_p_z": 0.80,
                "receiver_p_z": 0.80,
                "efficiency": 0.20,
                "dark_counts": 500.0,
                "dead_time": 10_000_000,
                "afterpulse_probability": 0.02,
                # p_ap is what is counted after the dead time (Q_k = D_k + p_ap Qbar). A delay near the mean gap between
                # clicks, 0.3 us at 25 km, would be blanked by the next click and count a fraction of it.
                "afterpulse_time": 10_000,
                "detector_jitter": 150.0,
            },
            # About two minutes of a 25 km link's key.
            protocol=_PROTOCOL | {"pool_high_water": 4_000_000},
            # 192 blocks, 2e4 clicks at 25 km.
            train_s=0.2013,
        ),
        "two-decoys-bb84-1ghz-snspd": Profile(
            doc="Nanowires with a second, nearly empty decoy: more key of a block, less of a short one.",
            # The devices of decoy-bb84-1ghz-snspd. The third intensity is that of Lim et al. 2014: modulators leak.
            # The others: searched with Lim's bounds for blocks of 1e5 and 1e6 at 25 and 50 km; l/n is .26, .49, .55 for
            # 1e5, 1e6, 1e7 at 25 km (one decoy: .185 for 1e5), .24 and .48 at 50 km.
            quantum=_OPTICS
            | _NANOWIRES
            | {
                "intensities": (0.45, 0.18, 2e-4),
                "intensity_probabilities": (0.13, 0.55, 0.32),
                "transmitter_p_z": 0.78,
                "receiver_p_z": 0.78,
            },
            protocol=_PROTOCOL | {"protocol": "bb84-two-decoys", "pool_high_water": 32_000_000},
            train_s=0.0336,
        ),
        "bbm92-1ghz-snspd": Profile(
            doc="A pulsed source of entangled pairs at the transmitter, nanowires at both ends.",
            # lambda .02, .04 pairs a pulse: best at 25 km by Ma, Fung, Lo 2007 and Tomamichel et al. 2012 (finite keys)
            # for blocks of 1e5 and 1e6; at 25 km 2.3 % errors, 0.78 Mb/s sifted in Z, l/n .39 for 1e5 and .56 for 1e6.
            # The transmitter keeps one photon of each pair: 2 dB of optics like the receiver's, .85 x .63.
            quantum=_OPTICS
            | _NANOWIRES
            | {
                "pair_brightness": 0.02,
                "transmitter_efficiency": 0.54,
                "transmitter_dark_counts": 100.0,
                # Intensities do not count with pairs, and this one is what the pairs make: 2 lambda.
                "intensities": (0.04,),
                "intensity_probabilities": (1.0,),
                "transmitter_p_z": 0.80,
                "receiver_p_z": 0.80,
            },
            protocol=_PROTOCOL | {"protocol": "bbm92", "pool_high_water": 8_000_000},
            train_s=0.0336,
        ),
    }
)
