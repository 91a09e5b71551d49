"""Replay of every statistical case about the quantum channel, on one channel process, over its sockets.

Each case has a link of its own. All links are driven at once: most are probed (ProbeLink: the same sampler that trains
pass through, with what both ends chose for each click); what varies in time is measured by trains, as nodes do. Samples
are of the listed size or above, 5 sigma, fixed secrets.
"""

import asyncio
import json
import math
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from channel_process import RECEIVER, TRANSMITTER, Ends, channel_process

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from node.planning.thresholds import werner_chsh
from qnetem.runtime import pki
from qnetem.runtime.clock import from_time
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from qnetem.v1 import parameters_pb2, quantum_channel_pb2
from quantum_channel.client import Clicks
from quantum_channel.drift_chance import Chance
from quantum_channel.drift_rotation import Rotation, step_level

pytestmark = pytest.mark.timeout(300)

CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {
    "fibre-T-10km",
    "fibre-T-100km",
    "pol-walk-0.1tau",
    "raman-mc-forward-50km",
    "wcp-multi-mu0.1",
    "wcp-vacuum-mu0.48",
    "spdc-p2-lam0.05",
    "det-click-mu.5-10dB",
    "deadtime-np-1e+07-5e-08",
    "deadtime-gated",
    "jitter-s50-T400-w400-o0",
    "jitter-s100-T400-w300-o0",
    "jitter-s60-T200-w200-o0",
    "clock-rwfm",
    "gys-mc-E-20km",
    "gys-mc-E-50km",
    "gys-mc-E-100km",
    "chsh-W1.0",
    "chsh-W0.85",
    "eve-IR-p0.1",
    "eve-IR-p0.5",
    "eve-IR-p0.4-e0.02",
    "eve-IR-CHSH-full",
    "sift-pz0.5",
}
S: Final = 10**12
_FWHM: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))
# emulated seconds a second: the cases of clock and polarisation take hours
_SCALE: Final = 2e4
Ints = npt.NDArray[np.integer[Any]]


def link(**changes: Any) -> parameters_pb2.LinkParameters:
    """One intensity in one basis over no fibre at 1 GHz, without any fault of its own."""
    given = {"clock_hz": 1e9, "intensities": (0.0,), "intensity_probs": (1.0,), "efficiency": 1.0}
    return parameters_pb2.LinkParameters(**{**given, "transmitter_p_z": 1.0, "receiver_p_z": 1.0, **changes})


def dark_hz(prob: float) -> float:
    """Darks a second of a detector that clicks so often in a slot of 1 GHz."""
    return -math.log1p(-prob) * 1e9


@dataclass
class Seen:
    """What a probe has shown. `errors`, `coincidence_errors` are by basis, a double click half an error."""

    pulses: int = 0
    clicks: int = 0
    doubles: int = 0
    at_right_detector: int = 0
    latest_ps: int = 0
    matched: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    errors: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    coincidences: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    coincidence_errors: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, part: quantum_channel_pb2.ProbeLinkResponse) -> None:
        """Count a stretch."""
        detectors, classes = np.frombuffer(part.detectors, np.uint8), np.frombuffer(part.classes, np.uint8)
        self.pulses += part.block_count * BLOCK_PULSES
        self.clicks += len(detectors)
        self.doubles += int((detectors == 3).sum())
        if not len(detectors):
            return
        arrivals_ps = np.frombuffer(part.arrivals_ps, "<i4")
        self.latest_ps = max(self.latest_ps, int(arrivals_ps.max()), -int(arrivals_ps.min()))
        bits, bases, others = classes & 1, (classes >> 2) & 1, (classes >> 1) & 1
        self.at_right_detector += int(((detectors & (1 + bits)) > 0).sum())
        # detectors (1, 2, 3) beside a bit: is the bit right, wrong, or either
        wrong = np.array([[0, 0, 1, 0.5], [0, 1, 0, 0.5]])
        self._count(self.matched, self.errors, bases, others, wrong[bits, detectors])
        if part.partners:
            mine = np.frombuffer(part.partners, np.uint8)
            here = mine > 0
            unlike = np.full((4, 4), 0.5)
            unlike[1:3, 1:3] = [[0, 1], [1, 0]]
            errors = unlike[mine[here], detectors[here]]
            self._count(self.coincidences, self.coincidence_errors, bases[here], others[here], errors)

    @staticmethod
    def _count(counts: Any, errors: Any, bases: Ints, others: Ints, wrong: npt.NDArray[np.float64]) -> None:
        match = bases == others
        counts += np.bincount(bases[match], minlength=2)
        errors += np.bincount(bases[match], weights=wrong[match], minlength=2)


@dataclass(frozen=True)
class Probed:
    """A case by a probe: what of it is the case's value, and its sample.

    Attributes:
        planned: The link.
        clicks: To ask for.
        value: Of what was seen.
        sample: Of what was seen, to be as large as is listed.
    """

    planned: parameters_pb2.LinkParameters
    clicks: float
    value: Callable[[Seen], float]
    sample: Callable[[Seen], float]


def _click_share(seen: Seen) -> float:
    return seen.clicks / seen.pulses


def _error_share(seen: Seen) -> float:
    return float(seen.errors.sum() / seen.matched.sum())


def _pulses(seen: Seen) -> float:
    return seen.pulses


def _clicks(seen: Seen) -> float:
    return seen.clicks


def _sifted(seen: Seen) -> float:
    return float(seen.matched.sum())


def _chsh(seen: Seen) -> float:
    """Where correlations along Z and X are alike, the four settings half-way between give sqrt2 (E_ZZ + E_XX)."""
    along_z, along_x = 1.0 - 2.0 * seen.coincidence_errors / seen.coincidences
    return float(math.sqrt(2.0) * (along_z + along_x))


def _settings(seen: Seen) -> float:
    # two of four settings in each basis
    return 2.0 * float(seen.coincidences.min())


def _fibre(name: str, photons: float) -> Probed:
    """One photon in a pulse is what a faint source nearly is: of Poisson light, the mean that is left is what counts.

    So counts spread as sqrt(T) where those of single photons do as sqrt(T (1 - T)): `photons` makes up for it.
    """
    given, mean = CASES[name]["inputs"], 0.05
    planned = link(intensities=(mean,), length_km=given["L_km"], attenuation_db_per_km=given["alpha"])
    return Probed(
        planned,
        photons * CASES[name]["expected"],
        lambda seen: -math.log1p(-_click_share(seen)) / mean,
        lambda seen: seen.pulses * mean * (1.0 - CASES[name]["expected"]),
    )


def _raman() -> Probed:
    given = CASES["raman-mc-forward-50km"]["inputs"]
    planned = link(
        length_km=given["L_km"],
        attenuation_db_per_km=0.2,
        coexisting_forward_mw=given["P_launch_mW"],
        raman_per_km_nm=given["beta_per_km_nm"],
        filter_nm=given["filter_nm"],
        efficiency=given["eta_rx"],
        clock_hz=1e9 / given["gate_ns"],
    )
    return Probed(planned, 150_000, _click_share, _pulses)


def _two_pairs() -> Probed:
    """Perfect threshold detectors tell whether each polarisation is empty; pairs in one do not depend on the other's.

    So both clicking, share^2, and neither, (1 - share)^2, give two pairs: 3 share^2 (1 - share)^2. Four times the
    sample: the listed tolerance is that of counting them.
    """
    planned = link(pair_brightness=CASES["spdc-p2-lam0.05"]["inputs"]["lam"], transmitter_efficiency=1)
    return Probed(
        planned,
        3_800_000,
        lambda seen: 3.0 * seen.doubles / seen.pulses * (1.0 - _click_share(seen)),
        lambda seen: seen.pulses / 4.0,
    )


def _detector() -> Probed:
    given = CASES["det-click-mu.5-10dB"]["inputs"]
    planned = link(
        intensities=(given["mu"],),
        extra_loss_db=given["loss_db"],
        efficiency=given["eta"],
        dark_count_hz=dark_hz(given["pd"]),
    )
    return Probed(planned, 106_000, lambda seen: seen.at_right_detector / seen.pulses, _pulses)


def _dead_time(prob: float, dead_time_ps: float) -> parameters_pb2.LinkParameters:
    """Two detectors in the dark, one of which clicks with that probability."""
    one = 1.0 - math.sqrt(1.0 - prob)
    return link(efficiency=0.0, dark_count_hz=dark_hz(one), dead_time_ps=round(dead_time_ps))


def _free_running() -> Probed:
    given = CASES["deadtime-np-1e+07-5e-08"]["inputs"]
    planned = _dead_time(given["true_rate_hz"] / 1e9, given["dead_s"] * S)
    return Probed(planned, 1_010_000, lambda seen: _click_share(seen) * 1e9, _clicks)


def _blanked() -> Probed:
    given = CASES["deadtime-gated"]["inputs"]
    return Probed(_dead_time(given["p_click"], given["blank_gates"] * 1e3), 46_000, _click_share, _pulses)


def _bins(name: str) -> Probed:
    given = CASES[name]["inputs"]
    planned = link(
        intensities=(0.1,),
        detector_jitter_fwhm_ps=given["sigma_ps"] * _FWHM,
        bin_separation_ps=given["bin_sep_ps"],
        bin_width_ps=given["bin_width_ps"],
    )
    return Probed(planned, CASES[name]["sample_size"], _error_share, _clicks)


def _gys(km: int) -> Probed:
    given = CASES[f"gys-{km}km-Q_mu"]["inputs"]
    planned = link(
        length_km=km,
        attenuation_db_per_km=given["alpha"],
        intensities=(given["mu"],),
        efficiency=given["eta_bob"],
        misalignment_prob=given["ed"],
        dark_count_hz=dark_hz(given["Y0"] / 2),
    )
    return Probed(planned, 205_000, _error_share, _sifted)


def _pairs(name: str) -> Probed:
    given = CASES[name]["inputs"]
    planned = link(
        pair_brightness=1e-4,
        transmitter_efficiency=1,
        transmitter_p_z=0.5,
        receiver_p_z=0.5,
        # a Werner pair of weight W has unlike bits in (1 - W)/2 of all cases
        misalignment_prob=(1.0 - given.get("werner", 1.0)) / 2.0,
        eve_intercept_prob=given.get("p", 0.0),
    )
    return Probed(planned, 2_020_000, _chsh, _settings)


def _intercepted(name: str) -> Probed:
    given = CASES[name]["inputs"]
    planned = link(
        intensities=(0.02,),
        transmitter_p_z=0.9,
        receiver_p_z=0.9,
        misalignment_prob=given["e0"],
        eve_intercept_prob=given["p"],
    )
    return Probed(planned, 1_240_000, _error_share, _sifted)


def _sifting() -> Probed:
    given = CASES["sift-pz0.5"]["inputs"]
    planned = link(intensities=(0.1,), transmitter_p_z=given["pzA"], receiver_p_z=given["pzB"])
    return Probed(planned, 1_010_000, lambda seen: _sifted(seen) / seen.clicks, _clicks)


def _photons(mu: float, clicks: float, value: Callable[[Seen], float], **attack: float) -> Probed:
    return Probed(link(intensities=(mu,), **attack), clicks, value, _pulses)


PROBED: Final = {
    "fibre-T-10km": _fibre("fibre-T-10km", 2.75e6),
    "fibre-T-100km": _fibre("fibre-T-100km", 1.1e6),
    "raman-mc-forward-50km": _raman(),
    # a perfect receiver behind who blocks single photons and passes on all but one of more
    "wcp-multi-mu0.1": _photons(0.1, 49_500, _click_share, eve_splitting_prob=1.0),
    "wcp-vacuum-mu0.48": _photons(0.48, 700_000, lambda seen: 1.0 - _click_share(seen)),
    "spdc-p2-lam0.05": _two_pairs(),
    "det-click-mu.5-10dB": _detector(),
    "deadtime-np-1e+07-5e-08": _free_running(),
    "deadtime-gated": _blanked(),
    **{name: _bins(name) for name in REPLAYED if name.startswith("jitter-")},
    **{f"gys-mc-E-{km}km": _gys(km) for km in (20, 50, 100)},
    **{name: _pairs(name) for name in ("chsh-W1.0", "chsh-W0.85", "eve-IR-CHSH-full")},
    **{name: _intercepted(name) for name in ("eve-IR-p0.1", "eve-IR-p0.5", "eve-IR-p0.4-e0.02")},
    "sift-pz0.5": _sifting(),
}

# the walk's frequency is read as trains of one certain click each: its tag is what the clock is off
_CLOCK: Final = "clock-rwfm"
_CLOCK_GIVEN: Final = CASES[_CLOCK]["inputs"]
_APART_PS: Final = round(_CLOCK_GIVEN["t_s"] * S)
# neighbours are correlated by 1/4, so that more are needed for the listed deviation
_READINGS: Final = round(CASES[_CLOCK]["sample_size"] * (1 + 2 / 16)) + 2

_WALK: Final = "pol-walk-0.1tau"
_WALK_TAUS: Final = CASES[_WALK]["inputs"]["t_over_tau"]
_WALK_STEPS: Final = 13
_WALK_STEP_S: Final = 16
_WALK_LINKS: Final = tuple(f"{_WALK}-{n}" for n in range(4))
_DRIFTS: Final = 250  # of each

STREAMED: Final = {
    _CLOCK: link(intensities=(100.0,), dead_time_ps=10**10, clock_walk_ppb=_CLOCK_GIVEN["b"] * 1e9),
    **dict.fromkeys(
        _WALK_LINKS,
        link(
            intensities=(0.05,),
            efficiency=0.1,
            transmitter_p_z=0.5,
            receiver_p_z=0.5,
            polarisation_tau_s=_WALK_STEPS * _WALK_STEP_S / _WALK_TAUS,
        ),
    ),
}


@dataclass
class Shown:
    """All that the process has shown. `drift_errors`: (wrong, all) bits of each drift."""

    seen: dict[str, Seen] = field(default_factory=dict)
    read_ps: list[int] = field(default_factory=list)
    drift_errors: list[tuple[float, int]] = field(default_factory=list)


@pytest.fixture(scope="module")
def shown(authority: pki.Authority) -> Shown:
    """Run one process, and all its links at once."""
    found = Shown()

    async def run(folder: Path) -> None:
        links = {name: case.planned for name, case in PROBED.items()} | STREAMED
        async with (
            channel_process(links, _SCALE, folder=folder, authority=authority) as ends,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(_clock_read(ends, found))
            for name in _WALK_LINKS:
                tasks.create_task(_drifted(ends, name, found))
            for name, case in PROBED.items():
                tasks.create_task(_probed(ends, name, case, found))

    with tempfile.TemporaryDirectory(prefix="qn-") as folder:
        asyncio.run(run(Path(folder)))
    return found


async def _probed(ends: Ends, name: str, case: Probed, found: Shown) -> None:
    seen = found.seen[name] = Seen()
    async for part in ends.operator.probe_link(name, math.ceil(case.clicks)):
        seen.add(part)


async def _next_train(stretches: AsyncIterator[Clicks]) -> list[Clicks]:
    train = [await anext(stretches)]
    while not train[-1].is_last:
        train.append(await anext(stretches))
    return train


async def _clock_read(ends: Ends, found: Shown) -> None:
    async with ends.bob.receive(_CLOCK) as receiver, ends.alice.transmit(_CLOCK) as sender:
        stretches = aiter(receiver)
        first_ps = (ends.clock.now_ps() // _APART_PS + 1) * _APART_PS
        sent = 0
        while len(found.read_ps) < _READINGS:
            while sent < min(_READINGS, len(found.read_ps) + 12):
                await sender.send(sent, 1, first_ps + sent * _APART_PS)
                sent += 1
            (stretch,) = await _next_train(stretches)
            assert len(stretch.offsets) == 1
            found.read_ps.append(int(stretch.offsets[0]) * 1000 + int(stretch.arrivals_ps[0]))


async def _drifted(ends: Ends, name: str, found: Shown) -> None:
    step_ps = _WALK_STEP_S * S
    async with ends.bob.receive(name) as receiver, ends.alice.transmit(name) as sender:
        stretches = aiter(receiver)
        for block in range(_DRIFTS):
            await ends.bob.align(name)
            state = await ends.operator.get_link(name)
            aligned = from_time(state.effective_since) // step_ps
            # in the middle of the step, so that the block lies in it
            await sender.send(block, 1, (aligned + _WALK_STEPS) * step_ps + step_ps // 2)
            found.drift_errors.append(_errors(await _next_train(stretches)))


def _errors(stretches: list[Clicks]) -> tuple[float, int]:
    """Return how many bits are wrong where bases match, both bases alike, and of how many."""
    (stretch,) = stretches
    pulses = (stretch.first_block * BLOCK_PULSES + stretch.offsets.astype(np.int64)).astype(np.uint64)
    bases, _, bits = transmitter_choices(TRANSMITTER, pulses, 0.5, (1.0,))
    others, random_bits = receiver_choices(RECEIVER, pulses, 0.5)
    measured = np.where(stretch.detectors == 3, random_bits, stretch.detectors == 2)
    match = bases == others
    return float((measured != bits)[match].sum()), int(match.sum())


def agrees(case: dict[str, Any], value: float) -> None:
    scale = abs(case["expected"]) if case["tolerance_kind"].startswith("rel") else 1.0
    assert value == pytest.approx(case["expected"], abs=case["tolerance"] * scale, rel=0)


def test_each_case_has_its_link() -> None:
    assert set(PROBED) | {_CLOCK, _WALK} == REPLAYED


@pytest.mark.parametrize("name", sorted(PROBED))
def test_the_running_channel_shows_what_is_listed(shown: Shown, name: str) -> None:
    case, seen = CASES[name], shown.seen[name]
    assert PROBED[name].sample(seen) >= case["sample_size"]
    agrees(case, PROBED[name].value(seen))


@pytest.mark.parametrize("name", sorted(name for name in PROBED if name.startswith("jitter-")))
def test_as_many_clicks_fall_into_isolated_bins_as_listed(shown: Shown, name: str) -> None:
    given, seen = CASES[name]["inputs"], shown.seen[name]
    expected = seen.pulses * -math.expm1(-0.1 * given["p_kept"])
    assert seen.clicks == pytest.approx(expected, abs=5 * expected**0.5)
    assert seen.latest_ps <= given["bin_width_ps"] / 2


@pytest.mark.parametrize("km", [20, 50, 100])
def test_the_link_of_the_literature_has_its_gain(shown: Shown, km: int) -> None:
    seen, gain = shown.seen[f"gys-mc-E-{km}km"], CASES[f"gys-{km}km-Q_mu"]["expected"]
    expected = gain * seen.pulses
    assert seen.clicks == pytest.approx(expected, abs=5 * expected**0.5)


@pytest.mark.parametrize("name", ["spdc-p2-lam0.05", "chsh-W1.0"])
def test_perfect_ends_count_the_same_pairs(shown: Shown, name: str) -> None:
    seen = shown.seen[name]
    assert seen.coincidences.sum() == seen.matched.sum() > 0
    if name == "chsh-W1.0":
        assert werner_chsh(1.0) == pytest.approx(_chsh(seen), abs=CASES[name]["tolerance"])
    else:
        # two pairs in both of a basis' polarisations are double clicks at both ends
        assert seen.coincidence_errors.sum() == seen.doubles / 2


def test_a_random_walk_of_frequency_takes_the_clock_as_far_as_listed(shown: Shown) -> None:
    # second differences know neither position nor frequency of the beginning; their variance is 2/3 t^3, twice that of
    # the walk from rest
    moved_ps = np.diff(np.array(shown.read_ps, dtype=np.float64), n=2)
    assert len(moved_ps) >= CASES["clock-rwfm"]["sample_size"]
    agrees(CASES["clock-rwfm"], float(np.sqrt((moved_ps**2).mean() / 2)))
    assert float(np.abs(np.array(shown.read_ps)).max()) > 1e5


def test_polarisation_that_drifts_makes_the_listed_errors(shown: Shown) -> None:
    """The listed sample of bits, in a thousand drifts, each behind an alignment of its own.

    Bits of one drift err alike, so that the mean spreads as that of drifts: 5 sigma of these.
    """
    case = CASES["pol-walk-0.1tau"]
    wrong, bits = np.array(shown.drift_errors).T
    assert len(bits) == _DRIFTS * len(_WALK_LINKS)
    assert bits.sum() >= case["sample_size"]
    found = wrong / bits
    assert float(found.mean()) == pytest.approx(case["expected"], abs=5 * float(found.std()) / math.sqrt(len(found)))
    # drifts differ: their errors are spread as widely as they are large
    assert 0.4 < float(found.std() / found.mean()) < 1.3


def test_many_drifts_err_as_closely_as_listed() -> None:
    """As many drifts as the listed tolerance needs take hours of alignments: drawn by what the process draws with."""
    case = CASES["pol-walk-0.1tau"]
    drift_count = 16_000
    tau_s = _WALK_STEPS * 2.0**-6 / _WALK_TAUS
    assert step_level(tau_s) == -6
    # one walk, cut into independent pieces by an alignment at the beginning of each
    rotation = Rotation(Chance(b"nature----------"), tau_s)
    errors = np.array([rotation.errors((n + 1) * _WALK_STEPS, n * _WALK_STEPS) for n in range(drift_count)])
    rng = np.random.default_rng(20_070_601)
    trials = case["sample_size"] // errors.size + 1
    wrong = int(rng.binomial(trials, errors).sum())
    agrees(case, wrong / (trials * errors.size))
