"""quantum_channel.wire: parameters, settings and clicks as messages of qnetem.v1, and back. Edge."""

from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor import Descriptor

from qnetem.runtime.clock import PS_PER_S, from_time, to_time
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2, quantum_channel_pb2
from quantum_channel.layers import Layer, Series
from quantum_channel.parameters import Parameters, Settings
from quantum_channel.sampler import Sample

__all__ = [
    "Clicks",
    "ClicksMessage",
    "PartnerClicks",
    "clicks_from_message",
    "clicks_message",
    "layer_from_message",
    "layer_message",
    "parameters_from_message",
    "parameters_message",
    "partner_clicks",
    "partner_clicks_from_message",
    "partner_clicks_message",
    "series_from_message",
    "settings_from_message",
    "settings_message",
]

_FIELDS = tuple(field.name for field in fields(Parameters) if field.name != "is_up")
_DEFAULTS = {field.name: field.default for field in fields(Parameters) if field.default is not MISSING}
_LISTS = ("intensities", "intensity_probs")
# of a tag: the lower bits are detectors
_DETECTOR_BITS = 4
_TAG_TYPES: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32, 8: np.int64}


@dataclass(frozen=True, slots=True)
class Clicks:
    """What a receiver is told of a stretch of whole blocks of one train: see quantum_channel.proto's Clicks.

    Attributes:
        train_id: The train.
        first_block: First block of the stretch.
        block_counts: Clicks in each block. Shape (blocks,), uint32.
        offsets: Slot relative to the first pulse of its block. Shape (n,), int32.
        detectors: 1 = detector 0, 2 = detector 1, 3 = both. Shape (n,), uint8.
        arrivals_ps: Arrival relative to the centre of its slot. Shape (n,), int32.
        is_last: The train's last stretch.
        lag_ps: How far behind emulated time it was handed over.
        bias_ratio: Mean bias current of the detectors against what is normal.
    """

    train_id: int
    first_block: int
    block_counts: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int32]
    detectors: npt.NDArray[np.uint8]
    arrivals_ps: npt.NDArray[np.int32]
    is_last: bool
    lag_ps: int
    bias_ratio: float


@dataclass(frozen=True, slots=True)
class ClicksMessage:
    """A ReceiveResponse with Clicks in wire format, in parts: protobuf would copy each column three times.

    Attributes:
        parts: Fields of the Clicks, all but the lag.
    """

    parts: tuple[bytes | memoryview, ...]

    def handed_over(self, lag_ps: int) -> bytes:
        """Return the message."""
        lag = quantum_channel_pb2.Clicks(lag_ps=lag_ps).SerializeToString()
        size = sum(map(len, self.parts)) + len(lag)
        return b"".join((_prefix(quantum_channel_pb2.ReceiveResponse.DESCRIPTOR, "clicks", size), *self.parts, lag))


@dataclass(frozen=True, slots=True)
class PartnerClicks:
    """What a transmitter of pairs is told of a stretch: see quantum_channel.proto's PartnerClicks; arrays as Clicks."""

    train_id: int
    first_block: int
    block_counts: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int32]
    detectors: npt.NDArray[np.uint8]
    is_last: bool


def parameters_from_message(message: parameters_pb2.LinkParameters) -> Parameters:
    """Return what a link is planned to be.

    Raises:
        BadLinkError: A value is out of its range.
    """
    # 0 on the wire is the default where a default is not 0
    values = {name: getattr(message, name) or _DEFAULTS.get(name, getattr(message, name)) for name in _FIELDS}
    return Parameters(**{**values, **{name: tuple(values[name]) for name in _LISTS}})


def parameters_message(parameters: Parameters) -> parameters_pb2.LinkParameters:
    """Return the message of a link's parameters."""
    return parameters_pb2.LinkParameters(**{name: getattr(parameters, name) for name in _FIELDS})


def settings_from_message(message: parameters_pb2.LinkSettings) -> dict[str, float | int | bool]:
    """Return the settings that are present."""
    return {field.name: value for field, value in message.ListFields()}


def settings_message(settings: Settings) -> parameters_pb2.LinkSettings:
    """Return the message of some settings."""
    return parameters_pb2.LinkSettings(**settings)  # type: ignore[arg-type]


def layer_from_message(message: parameters_pb2.SettingsLayer, now_ps: int) -> Layer:
    """Return a layer; without a start it begins at `now_ps`.

    Raises:
        BadLinkError: A value is out of its range.
        BadInputError: The start is not a time.
    """
    start_ps = from_time(message.start) if message.HasField("start") else now_ps
    return Layer.of(settings_from_message(message.settings), start_ps, message.ramp_s, message.duration_s)


def layer_message(layer: Layer) -> parameters_pb2.SettingsLayer:
    """Return the message of a layer."""
    return parameters_pb2.SettingsLayer(
        settings=settings_message(layer.settings),
        start=to_time(layer.start_ps),
        ramp_s=layer.ramp_ps / PS_PER_S,
        duration_s=layer.duration_ps / PS_PER_S,
    )


def series_from_message(message: parameters_pb2.ParameterSeries) -> Series:
    """Return a parameter that follows a table.

    Raises:
        BadLinkError: It cannot be set, times do not ascend, or a value is out of its range.
    """
    return Series(message.field, tuple(message.at_s), tuple(message.values), message.is_repeating)


def clicks_message(
    train_id: int, first_block: int, sample: Sample, *, is_last: bool, bias_ratio: float = 1.0
) -> ClicksMessage:
    """Return the message that tells a receiver of a stretch."""
    head = quantum_channel_pb2.Clicks(
        train_id=train_id, first_block=first_block, is_last=is_last, bias_ratio=bias_ratio
    )
    columns = {
        "block_counts": np.ascontiguousarray(sample.block_counts, "<u4"),
        "offsets": np.ascontiguousarray(sample.offsets, "<i4"),
        "tags": _tags(sample.arrivals_ps, sample.detectors),
    }
    parts: list[bytes | memoryview] = [head.SerializeToString()]
    for name, column in columns.items():
        parts += [_prefix(quantum_channel_pb2.Clicks.DESCRIPTOR, name, column.nbytes), column.data.cast("B")]
    return ClicksMessage(tuple(parts))


def _prefix(message: Descriptor, name: str, size: int) -> bytes:
    """Return what comes before so many bytes of a field: its number, wire type 2 and the size, as varints."""
    number = message.fields_by_name[name].number
    prefix = bytearray()
    for rest in (number << 3 | 2, size):
        while rest > 0x7F:
            prefix.append(rest & 0x7F | 0x80)
            rest >>= 7
        prefix.append(rest)
    return bytes(prefix)


def _tags(arrivals_ps: npt.NDArray[np.int32], detectors: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return arrivals and detectors as one column, as narrow as the arrivals allow: what a click costs is its bytes."""
    reach_ps = max(int(arrivals_ps.max()), -1 - int(arrivals_ps.min())) if len(arrivals_ps) else 0
    size = next(size for size in _TAG_TYPES if reach_ps >> (8 * size - _DETECTOR_BITS - 1) == 0)
    tags = arrivals_ps.astype(f"<i{size}")
    tags <<= _DETECTOR_BITS
    tags |= detectors
    return tags


def _whole(name: str, data: bytes, size: int) -> None:
    if len(data) % size:
        raise BadInputError(f"clicks: {name} has {len(data)} bytes, not a multiple of {size}")


def clicks_from_message(message: quantum_channel_pb2.Clicks) -> Clicks:
    """Return the clicks of a stretch; block counts and offsets are read-only views.

    Raises:
        BadInputError: The arrays do not fit together.
    """
    counts, offsets, tags = message.block_counts, message.offsets, message.tags
    _whole("block_counts", counts, 4)
    _whole("offsets", offsets, 4)
    block_counts = np.frombuffer(counts, "<u4").astype(np.uint32, copy=False)
    count = int(block_counts.sum(dtype=np.uint64))
    size = len(tags) // count if count else 2
    if len(offsets) != 4 * count or len(tags) != size * count or size not in _TAG_TYPES:
        raise BadInputError("clicks: block_counts, offsets and tags do not fit together")
    packed = np.frombuffer(tags, f"<i{size}").astype(_TAG_TYPES[size], copy=False)
    arrivals_ps = (packed >> _DETECTOR_BITS).astype(np.int32)
    detectors = packed.astype(np.uint8)
    detectors &= (1 << _DETECTOR_BITS) - 1
    if count and not detectors.min():
        raise BadInputError("clicks: detectors are not all in 1 .. 15")
    return Clicks(
        message.train_id,
        message.first_block,
        block_counts,
        np.frombuffer(offsets, "<i4").astype(np.int32, copy=False),
        detectors,
        arrivals_ps,
        message.is_last,
        message.lag_ps,
        message.bias_ratio,
    )


def partner_clicks(train_id: int, first_block: int, sample: Sample, *, is_last: bool) -> PartnerClicks:
    """Return what the transmitter's own detectors registered in the slots of a sample: those where they did."""
    seen = sample.partners > 0
    blocks = np.repeat(np.arange(len(sample.block_counts)), sample.block_counts)[seen]
    counts = np.bincount(blocks, minlength=len(sample.block_counts)).astype(np.uint32)
    return PartnerClicks(train_id, first_block, counts, sample.offsets[seen], sample.partners[seen], is_last)


def partner_clicks_message(clicks: PartnerClicks) -> quantum_channel_pb2.TransmitResponse:
    """Return the message that tells a transmitter of a stretch."""
    return quantum_channel_pb2.TransmitResponse(
        partner_clicks=quantum_channel_pb2.PartnerClicks(
            train_id=clicks.train_id,
            first_block=clicks.first_block,
            block_counts=clicks.block_counts.astype("<u4", copy=False).tobytes(),
            offsets=clicks.offsets.astype("<i4", copy=False).tobytes(),
            detectors=clicks.detectors.tobytes(),
            is_last=clicks.is_last,
        )
    )


def partner_clicks_from_message(message: quantum_channel_pb2.PartnerClicks) -> PartnerClicks:
    """Return the transmitter's own clicks of a stretch; the arrays are read-only views.

    Raises:
        BadInputError: The arrays do not fit together.
    """
    _whole("block_counts of the partner", message.block_counts, 4)
    _whole("offsets of the partner", message.offsets, 4)
    clicks = PartnerClicks(
        message.train_id,
        message.first_block,
        np.frombuffer(message.block_counts, "<u4").astype(np.uint32, copy=False),
        np.frombuffer(message.offsets, "<i4").astype(np.int32, copy=False),
        np.frombuffer(message.detectors, np.uint8),
        message.is_last,
    )
    count = int(clicks.block_counts.sum(dtype=np.uint64))
    if not count == len(clicks.offsets) == len(clicks.detectors):
        raise BadInputError("clicks of the partner: block_counts, offsets and detectors do not fit together")
    if count and not (clicks.detectors.min() >= 1 and clicks.detectors.max() <= 3):
        raise BadInputError("clicks of the partner: detectors are not all in 1 .. 3")
    return clicks
