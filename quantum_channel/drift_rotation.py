"""quantum_channel.drift_rotation: the polarisation's random walk on SO(3), read at any time. Pure.

`polarisation` says how large the rotations are; here each step has its own by counter, and what the receiver sees is
their product since it was last aligned. Rotations are unit quaternions (w, x, y, z), axes those of the Poincare sphere.
"""

import math
from typing import Final

from quantum_channel.drift_chance import Chance, Process
from quantum_channel.polarisation import step_sigma_rad

__all__ = ["Rotation", "step_level"]

# a step makes 0.4 % of error at most
_STEPS_PER_TAU: Final = 128
_FINEST_LEVEL: Final = -6
# After so many steps (32 tau and more) nothing of the alignment is left: 1 part in 10^13.
_REACH: Final = 4096
# Nobody sees continuity before an alignment: the walk begins anew, anywhere on the sphere, with every so many steps.
_ERA: Final = 1024
_MILESTONE: Final = 64

Quaternion = tuple[float, float, float, float]
_NONE: Final[Quaternion] = (1.0, 0.0, 0.0, 0.0)


def step_level(tau_s: float) -> int:
    """Return the length of the steps, as a power of two of seconds."""
    return max(_FINEST_LEVEL, math.floor(math.log2(tau_s / _STEPS_PER_TAU)))


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def _unit(q: Quaternion) -> Quaternion:
    length = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return q[0] / length, q[1] / length, q[2] / length, q[3] / length


class Rotation:
    """The walk of one link at one time constant."""

    def __init__(self, chance: Chance, tau_s: float) -> None:
        """Drift with the time constant `tau_s`, above 0."""
        self.level: Final = step_level(tau_s)
        self._chance = chance
        self._sigma_rad = step_sigma_rad(math.ldexp(1.0, self.level) / tau_s)
        self._origin: tuple[int, bool] | None = None
        self._milestones: list[Quaternion] = []
        self._last: tuple[int, Quaternion] = (0, _NONE)

    def errors(self, step: int, aligned_step: int | None) -> tuple[float, float]:
        """Return the error probabilities in Z and X at a step, the receiver having been aligned at another, or never.

        Source: e_Z = (1 - R_zz)/2, e_X = (1 - R_xx)/2.
        """
        _, x, y, z = self._since(step, aligned_step)
        return x * x + y * y, y * y + z * z

    def _since(self, step: int, aligned_step: int | None) -> Quaternion:
        is_aligned = aligned_step is not None and step - aligned_step <= _REACH
        first = max(0, min(aligned_step, step)) if is_aligned and aligned_step is not None else step - step % _ERA
        if self._origin != (first, is_aligned):
            start = _NONE if is_aligned else self._anywhere(first)
            self._origin, self._milestones, self._last = (first, is_aligned), [start], (first, start)
        at, rotation = self._last
        if not at <= step < at + _MILESTONE:
            # each milestone is made of steps from the one before, so that the way here leaves no trace
            number = (step - first) // _MILESTONE
            while len(self._milestones) <= number:
                begin = first + (len(self._milestones) - 1) * _MILESTONE
                self._milestones.append(self._walked(self._milestones[-1], begin, begin + _MILESTONE))
            at, rotation = first + number * _MILESTONE, self._milestones[number]
        rotation = self._walked(rotation, at, step)
        self._last = step, rotation
        return rotation

    def _walked(self, rotation: Quaternion, begin: int, end: int) -> Quaternion:
        for step in range(begin, end):
            rotation = _unit(_product(self._move(step), rotation))
        return rotation

    def _move(self, step: int) -> Quaternion:
        n0, n1, n2 = self._chance.three_normals(Process.ROTATION, step, self.level)
        size = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
        half_rad = self._sigma_rad * size / 2.0
        share = math.sin(half_rad) / size if size > 0.0 else 0.0
        return math.cos(half_rad), share * n0, share * n1, share * n2

    def _anywhere(self, step: int) -> Quaternion:
        """Return a rotation uniform on SO(3): the direction of four normal numbers."""
        a = self._chance.normals(Process.ROTATION_ANCHOR, 2 * step, self.level)
        b = self._chance.normals(Process.ROTATION_ANCHOR, 2 * step + 1, self.level)
        return _unit((*a, *b))
