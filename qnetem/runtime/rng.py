"""qnetem.runtime.rng: the choice function and derived secrets of proto/qnetem/v1/choice.proto. Pure.

Counter-based: any pulse index can be evaluated alone, in any order, by array. `rng_compiled` holds the same function
for compiled kernels; the two are tested equal.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.compiled import loaded
from qnetem.runtime.errors import BadInputError

__all__ = [
    "BLOCK_PULSES",
    "SECRET_BYTES",
    "STREAM_NATURE",
    "STREAM_RECEIVER",
    "STREAM_TRANSMITTER",
    "derive_secret",
    "device_secret",
    "intensity_thresholds",
    "nature_secret",
    "philox4x32",
    "prob_threshold",
    "receiver_choices",
    "reproducible_testbed_secret",
    "secret_words",
    "transmitter_choices",
]

SECRET_BYTES: Final = 16
BLOCK_PULSES: Final = 1 << 20
STREAM_TRANSMITTER: Final = 1
STREAM_RECEIVER: Final = 2
STREAM_NATURE: Final = 3

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

_M0: Final = np.uint64(0xD2511F53)
_M1: Final = np.uint64(0xCD9E8D57)
_W0: Final = 0x9E3779B9
_W1: Final = 0xBB67AE85
_MASK: Final = 0xFFFFFFFF
_LOW: Final = np.uint64(_MASK)
_HALF: Final = np.uint64(32)


def philox4x32(
    c0: npt.ArrayLike, c1: npt.ArrayLike, c2: npt.ArrayLike, c3: npt.ArrayLike, k0: int, k1: int
) -> tuple[U32, U32, U32, U32]:
    """Return the four output words of Philox4x32-10 for each counter.

    Args:
        c0, c1, c2, c3: Counter words, uint32 or uint64 below 2^32. Broadcast together; result shape (n,) or ().
        k0, k1: Key words, below 2^32.

    Returns:
        Four uint32 arrays.

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    x0, x1, x2, x3 = (np.asarray(c, dtype=np.uint64) for c in (c0, c1, c2, c3))
    for _ in range(10):
        p0 = x0 * _M0
        p1 = x2 * _M1
        x0, x1, x2, x3 = (
            (p1 >> _HALF) ^ x1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _HALF) ^ x3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return x0.astype(np.uint32), x1.astype(np.uint32), x2.astype(np.uint32), x3.astype(np.uint32)


def secret_words(secret: bytes) -> tuple[int, int, int, int]:
    """Return the four little-endian words s0..s3 of a 16-byte secret.

    Raises:
        BadInputError: The secret is not 16 bytes long.
    """
    if len(secret) != SECRET_BYTES:
        raise BadInputError(f"a secret has {SECRET_BYTES} bytes, this one {len(secret)}")
    s0, s1, s2, s3 = struct.unpack("<4I", secret)
    return s0, s1, s2, s3


def derive_secret(parent: bytes, *labels: str) -> bytes:
    """Return the 16-byte secret that `labels` name below `parent` (HMAC-SHA256, labels length-prefixed)."""
    encoded = [label.encode() for label in labels]
    message = b"".join(struct.pack("<I", len(label)) + label for label in encoded)
    return hmac.new(parent, message, hashlib.sha256).digest()[:SECRET_BYTES]


def _seed_bytes(run_seed: int) -> bytes:
    if not 0 <= run_seed < 1 << 64:
        raise BadInputError(f"seed {run_seed} is not in 0 .. 2^64-1")
    return struct.pack("<Q", run_seed)


def nature_secret(run_seed: int, testbed: str, link_id: str) -> bytes:
    """Return the secret that keys nature's streams on a link; it follows the printed run seed."""
    return derive_secret(_seed_bytes(run_seed), "nature", testbed, link_id)


def device_secret(testbed_secret: bytes, link_id: str, node: str) -> bytes:
    """Return the secret that keys a node's own choices on a link."""
    return derive_secret(testbed_secret, "device", link_id, node)


def reproducible_testbed_secret(run_seed: int) -> bytes:
    """Return the testbed secret of `keys: {reproducible: true}`."""
    return derive_secret(_seed_bytes(run_seed), "testbed")


def prob_threshold(prob: float) -> int:
    """Return round(prob 2^32): a uint32 word below it happens with probability `prob`.

    Raises:
        BadInputError: `prob` is not in [0, 1].
    """
    if not 0.0 <= prob <= 1.0:
        raise BadInputError(f"probability {prob} is not in 0 .. 1")
    return round(prob * 4294967296.0)


def intensity_thresholds(intensity_probs: Sequence[float]) -> U64:
    """Return the cumulative thresholds round((p_0 + .. + p_k) 2^32), k = 0 .. n-2. Shape (n-1,), uint64."""
    total = 0.0
    thresholds = []
    for prob in list(intensity_probs)[:-1]:
        total += prob
        thresholds.append(prob_threshold(min(total, 1.0)))
    return np.array(thresholds, dtype=np.uint64)


def _choice_words(secret: bytes, stream: int, indices: U64) -> tuple[U32, U32, U32]:
    s0, s1, s2, s3 = secret_words(secret)
    w0, w1, w2, _ = philox4x32(indices & _LOW, indices >> _HALF, stream ^ s2, s3, s0, s1)
    return w0, w1, w2


def _compiled() -> Any:
    """Return the compiled twin when this process has loaded it (numba is never imported for its sake), else None."""
    return loaded("qnetem.runtime.rng_compiled")


def transmitter_choices(secret: bytes, indices: U64, p_z: float, intensity_probs: Sequence[float]) -> tuple[U8, U8, U8]:
    """Return what the transmitter chose at pulses `indices`.

    Args:
        secret: The transmitter's device secret, 16 bytes.
        indices: Pulse indices. Shape (n,), uint64.
        p_z: Probability of basis Z.
        intensity_probs: Probability of each intensity, in the table's order.

    Returns:
        (bases, intensities, bits): basis 0 for Z, 1 for X; index into the intensity table; bit. Each (n,), uint8.
    """
    thresholds = intensity_thresholds(intensity_probs)
    compiled = _compiled()
    if compiled is not None:
        chosen = tuple(np.empty(len(indices), dtype=np.uint8) for _ in range(3))
        words = np.array(secret_words(secret), dtype=np.uint32)
        indices = np.ascontiguousarray(indices, dtype=np.uint64)
        compiled.transmitter_kernel(indices, words, prob_threshold(p_z), thresholds, *chosen)
        return chosen[0], chosen[1], chosen[2]
    w0, w1, w2 = _choice_words(secret, STREAM_TRANSMITTER, indices)
    bases = (w0.astype(np.uint64) >= prob_threshold(p_z)).astype(np.uint8)
    intensities = np.zeros(len(indices), dtype=np.uint8)
    for threshold in thresholds:
        intensities += (w1.astype(np.uint64) >= threshold).astype(np.uint8)
    return bases, intensities, (w2 >> np.uint32(31)).astype(np.uint8)


def receiver_choices(secret: bytes, indices: U64, p_z: float) -> tuple[U8, U8]:
    """Return what the receiver chose at pulses `indices`: (bases, bits given to double clicks). Each (n,), uint8."""
    compiled = _compiled()
    if compiled is not None:
        bases, bits = np.empty(len(indices), dtype=np.uint8), np.empty(len(indices), dtype=np.uint8)
        words = np.array(secret_words(secret), dtype=np.uint32)
        compiled.receiver_kernel(
            np.ascontiguousarray(indices, dtype=np.uint64), words, prob_threshold(p_z), bases, bits
        )
        return bases, bits
    w0, _, w2 = _choice_words(secret, STREAM_RECEIVER, indices)
    bases = (w0.astype(np.uint64) >= prob_threshold(p_z)).astype(np.uint8)
    return bases, (w2 >> np.uint32(31)).astype(np.uint8)
