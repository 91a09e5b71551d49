"""One link whose polarisation drifts: nature's own drift, errors by the binomial, and both ends' own loops. Pure.

Trains, stretches and the time that answers take are those of a running link; clicks are numbers only. What a testbed
would take half an hour for takes seconds.
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from node.control.alignment import AlignmentLoop
from node.link_state import LinkState
from node.qkd.monitor import CommissioningTally, Monitor
from qnetem import topology
from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.conditions import conditions
from quantum_channel.controls import Controls
from quantum_channel.drift import STILL, TICK_PS, Weather
from quantum_channel.drift_chance import Chance
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.train import stretch_limit
from quantum_channel.wire import parameters_from_message

__all__ = ["DriftingLink", "Outcome"]

# report and answer, and what the control link adds: seconds
_ANSWER_S: Final = 0.008
# reconciliation and the rest of a block's way
_BLOCK_S: Final = 0.3
# from leaving service to the next session's first test train; from probe to probe
_LEAVING_S: Final = 1.2
_PROBE_S: Final = 0.5
_REALIGN_S: Final = 1.0
_LOSSES_DB: Final = np.arange(-3.0, 20.1, 0.5)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        state_s: Seconds in each state.
        downs: When the link left service, and why.
        block_qbers: Of key blocks, (bits, error rate).
        changes: Changes of state.
        alignments: How often each cause aligned.
        x_errors: Errors over X bits of a train, train by train in service.
        first_over_s: When 2000 bits in X were first as bad as service does not allow; None: never.
    """

    state_s: dict[LinkState, float] = field(default_factory=lambda: dict.fromkeys(LinkState, 0.0))
    downs: list[tuple[float, str]] = field(default_factory=list)
    block_qbers: list[tuple[int, float]] = field(default_factory=list)
    changes: int = 0
    alignments: Counter[str] = field(default_factory=Counter)
    x_errors: list[float] = field(default_factory=list)
    first_over_s: float | None = None

    def share(self, *states: LinkState) -> float:
        """Return the share of the time in some states."""
        return sum(self.state_s[state] for state in states) / sum(self.state_s.values())


class DriftingLink:
    """One link, from its commissioning on.

    Attributes that may be changed as it runs:
        parameters: What the link is made of.
        intercept_prob: What Eve measures and sends on.
        turned_prob: Errors that a turn of the fibre makes, on top, until an alignment takes effect.
    """

    def __init__(self, profile: str, environment: str | None, seed: int, length: str = "25km", **quantum: Any) -> None:
        """Plan a link of two nodes."""
        text: dict[str, Any] = topology.ring(2)
        text["topology"]["defaults"] = {"profile": profile} | ({"environment": environment} if environment else {})
        text["topology"]["links"][0]["quantum"] = {"length": length} | quantum
        link = topology.from_dict(text).links["n0-n1"]
        self.planned, self.protocol = link.planned, link.protocol
        self.parameters: Parameters = parameters_from_message(link.planned)
        self.intercept_prob = self.turned_prob = 0.0
        self._rng = np.random.default_rng(seed)
        self._weather = Weather(Chance(np.random.default_rng(seed + 1).bytes(16)))
        self._block_s = BLOCK_PULSES / self.parameters.clock_hz
        calm = conditions(self.parameters, STILL, Controls())
        response = respond(self.parameters, calm)
        count = link.protocol.train_blocks
        most = stretch_limit(response, self.parameters.period_ps, 1.0)
        self._stretch = -(-count // -(-count // most))
        self._click_probs = [
            respond(
                self.parameters, conditions(self.parameters, replace(STILL, loss_db=float(db)), Controls())
            ).registered_prob
            for db in _LOSSES_DB
        ]
        live = 1.0 - response.registered_prob * calm.dead_slots
        self._random_share = 2.0 * calm.dark_probs[0] * live / response.registered_prob + calm.afterpulse_prob
        self.block = 0
        self.outcome = Outcome()
        self.state, self.reason = LinkState.COMMISSIONING, ""
        self._aligned_block = 0
        self._pending: list[int] = []
        self._begin()

    @property
    def now_s(self) -> float:
        """Emulated time."""
        return self.block * self._block_s

    def _begin(self) -> None:
        """Begin a session: the receiver is set up."""
        p = self.protocol
        self.loop = AlignmentLoop(self._block_s, self.planned.polarisation_tau_s)
        self.monitor = Monitor(p.qber_degraded_prob, p.qber_abort_prob)
        self.x_count = self.x_errors = 0
        self._told_x = (0, 0, 0)
        self._number = self._z_bits = self._z_errors = 0
        self._blocks: list[tuple[float, int, int, int]] = []
        self._answers: list[tuple[float, range, tuple[int, int], tuple[int, int], bool]] = []
        self._align("commissioning", self.block)

    def _align(self, cause: str, from_block: int) -> None:
        self._pending.append(from_block)
        self.loop.aligned(from_block, self._number + 1, is_anew=cause in ("commissioning", "test"))
        self._aligned_s = self.now_s
        self.outcome.alignments[cause] += 1

    def _pass(self, count: int) -> tuple[int, tuple[int, int], tuple[int, int]]:
        """Let blocks pass; return clicks, and bits and errors in Z and in X."""
        while self._pending and self._pending[0] <= self.block:
            self._aligned_block, self.turned_prob = self._pending.pop(0), 0.0
        tick = round(self._block_s * 1e12 * (self.block + count / 2)) // TICK_PS
        controls = Controls(aligned_ps=round(self._aligned_block * self._block_s * 1e12))
        drift = self._weather.at(self.parameters, tick, controls)
        rate = np.interp(drift.loss_db, _LOSSES_DB, self._click_probs)
        clicks = int(self._rng.poisson(rate * count * BLOCK_PULSES))
        p = self.parameters
        found = []
        for share, error in (
            (p.transmitter_p_z * p.receiver_p_z, drift.error_z_prob),
            ((1 - p.transmitter_p_z) * (1 - p.receiver_p_z), drift.error_x_prob),
        ):
            bits = int(self._rng.binomial(clicks, share))
            error = 1.0 - (1.0 - error) * (1.0 - self.turned_prob)
            wrong = p.misalignment_prob + error - 2 * p.misalignment_prob * error
            # of what Eve touches half is random
            random = 1.0 - (1.0 - self._random_share) * (1.0 - self.intercept_prob / 2.0)
            found.append((bits, int(self._rng.binomial(bits, wrong * (1.0 - random) + random / 2.0))))
        self.block += count
        return clicks, found[0], found[1]

    def _train(self, is_test: bool) -> tuple[int, int, int]:
        """Let a train pass; return clicks, compared bits and errors of it."""
        left, clicks, compared, wrong = self.protocol.train_blocks, 0, 0, 0
        x_bits = x_wrong = 0
        while left:
            count = min(self._stretch, left)
            # what comes back while this stretch is on its way is for the next one
            self._take_answers(self.now_s + count * self._block_s, count)
            got, z, x = self._pass(count)
            left -= count
            clicks, compared, wrong = clicks + got, compared + z[0] + x[0], wrong + z[1] + x[1]
            x_bits, x_wrong = x_bits + x[0], x_wrong + x[1]
            blocks = range(self.block - count, self.block)
            self._answers.append((self.now_s + _ANSWER_S, blocks, z if is_test else (0, 0), x, is_test))
            if not is_test:
                # what was answered by now is told with this part
                self.monitor.see_x_bits(*self._told_x)
                qber_prob = self.monitor.qber_prob
                if self.outcome.first_over_s is None and (qber_prob or 0.0) >= self.protocol.qber_abort_prob:
                    self.outcome.first_over_s = self.now_s
                self._sift(z)
        if not is_test and x_bits:
            self.outcome.x_errors.append(x_wrong / x_bits)
        return clicks, compared, wrong

    def _take_answers(self, until_s: float, ahead: int) -> None:
        while self._blocks and self._blocks[0][0] <= until_s:
            _, number, bits, errors = self._blocks.pop(0)
            self.monitor.see_block(0 if errors > 0.06 * bits else 1, errors / bits)
            self.outcome.block_qbers.append((bits, errors / bits))
            self.loop.see_key_block(number, bits, errors)
        while self._answers and self._answers[0][0] <= until_s:
            _, blocks, z, x, is_test = self._answers.pop(0)
            before = self.loop.behind_count
            self.loop.see_part(blocks, z, x)
            if not is_test:
                bits, errors, aligned = self._told_x
                self._told_x = (bits + x[0], errors + x[1], bits if self.loop.behind_count > before else aligned)
            many = z[0] + x[0] >= 120
            is_bad = is_test and many and z[1] + x[1] >= self.protocol.qber_degraded_prob * (z[0] + x[0])
            if self.loop.is_due:
                self._align("errors" if self.loop.has_errors else "ahead", self.block + ahead)
            elif is_bad and self.now_s - self._aligned_s >= _REALIGN_S:
                self._align("test", self.block + ahead)

    def _sift(self, z: tuple[int, int]) -> None:
        bits, errors = z
        ramp = self.protocol.block_ramp_bits
        while self._z_bits + bits >= (size := ramp[min(self._number, len(ramp) - 1)]):
            take = size - self._z_bits
            part = int(self._rng.hypergeometric(errors, bits - errors, take)) if take else 0
            self._blocks.append((self.now_s + _BLOCK_S, self._number, size, self._z_errors + part))
            self._number += 1
            bits, errors, self._z_bits, self._z_errors = bits - take, errors - part, 0, 0
        self._z_bits, self._z_errors = self._z_bits + bits, self._z_errors + errors

    def _enter(self, state: LinkState, reason: str = "") -> None:
        self.outcome.changes += state is not self.state
        self.state, self.reason = state, reason

    def _idle(self, seconds: float) -> None:
        self.block += math.ceil(seconds / self._block_s)

    def run(self, seconds: float) -> Outcome:
        """Let emulated time pass."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            before_s, state = self.now_s, self.state
            if state in (LinkState.COMMISSIONING, LinkState.DOWN):
                self._commission()
            else:
                self._serve()
            self.outcome.state_s[state] = self.outcome.state_s[state] + self.now_s - before_s
        return self.outcome

    def _commission(self) -> None:
        tally = CommissioningTally.after(self.reason, self.protocol.qber_abort_prob)
        while True:
            tally.add(*self._train(is_test=True))
            tally.train_count += 1
            # the next train waits for the findings, which wait for the answer
            self._take_answers(self.now_s + 2 * _ANSWER_S, 0)
            self._idle(_ANSWER_S)
            if not tally.needs_more:
                break
        if tally.trouble:
            self._enter(LinkState.DOWN, tally.trouble)
            self._idle(_PROBE_S)
        else:
            self._enter(LinkState.OPERATING if self.state is LinkState.COMMISSIONING else LinkState.COMMISSIONING)

    def _serve(self) -> None:
        if self.monitor.trouble:
            self.outcome.downs.append((self.now_s, self.monitor.trouble))
            self._enter(LinkState.DOWN, self.monitor.trouble)
            self._idle(_LEAVING_S)
            self._begin()
            return
        self._enter(*self.monitor.verdict)
        self._train(is_test=False)
