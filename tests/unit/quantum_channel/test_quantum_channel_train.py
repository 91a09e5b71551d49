"""Trains: which are taken, when they pass, how they are cut; clicks as messages."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2, quantum_channel_pb2
from quantum_channel import wire
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import Sample
from quantum_channel.train import BadTrainError, Train, TrainOrder, stretch_limit

MESSAGE = parameters_pb2.LinkParameters(
    length_km=25,
    attenuation_db_per_km=0.2,
    clock_hz=1e9,
    intensities=(0.4, 0.13),
    intensity_probs=(0.35, 0.65),
    transmitter_p_z=0.78,
    receiver_p_z=0.5,
    efficiency=0.85,
    dead_time_ps=50_000,
    connector_count=2,
)


def test_a_train_lasts_as_long_as_its_pulses() -> None:
    train = Train(10, 3, 5_000, 1000.0)
    assert (train.time_ps(10), train.end_block) == (5_000, 13)
    assert train.end_ps == 5_000 + 3 * BLOCK_PULSES * 1000
    assert Train(0, 1, 0, 1e12 / 3e9).end_ps == round(BLOCK_PULSES * 1000 / 3)


def test_trains_are_taken_in_order_and_a_picosecond_of_rounding_is_forgiven() -> None:
    order = TrainOrder(ahead_limit_ps=10**12)
    first = Train(0, 2, 0, 1000.0)
    order.take(first, 0, 0)
    order.take(Train(2, 1, first.end_ps - 1, 1000.0), 2, 0)
    with pytest.raises(BadTrainError, match="blocks up to 2 have been used"):
        order.take(Train(2, 1, 10**11, 1000.0), 2, 0)
    with pytest.raises(BadTrainError, match="its id is not its first block"):
        order.take(Train(5, 1, 10**11, 1000.0), 4, 0)
    with pytest.raises(BadTrainError, match="starts at 0 ps, before"):
        order.take(Train(5, 1, 0, 1000.0), 5, 0)
    with pytest.raises(BadTrainError, match="from now"):
        order.take(Train(5, 1, 2 * 10**12, 1000.0), 5, 0)
    # a refused train leaves no trace; gaps are fine
    order.take(Train(3, 1, 10**12, 1000.0), 3, 0)


def test_stretches_are_bound_by_time_and_by_size() -> None:
    bright = wire.parameters_from_message(MESSAGE)
    faint = replace(bright, dead_time_ps=10_000_000)
    assert stretch_limit(respond(faint), 1000.0, 1.0) == 238  # 250 ms of 1.05 ms
    assert stretch_limit(respond(faint), 1000.0, 2.0) == 476  # of wall time, when that passes more slowly
    blocks = stretch_limit(respond(bright), 1000.0, 1.0)
    assert 8 < blocks < 15
    assert blocks * respond(bright).registered_prob * BLOCK_PULSES * 6 < 1e6
    assert stretch_limit(respond(faint), 1e9, 1.0) == 1


def test_parameters_and_settings_survive_the_wire() -> None:
    parameters = wire.parameters_from_message(MESSAGE)
    assert isinstance(parameters, Parameters)
    assert wire.parameters_from_message(wire.parameters_message(parameters)) == parameters
    sent = wire.parameters_message(parameters)
    assert {field.name: value for field, value in MESSAGE.ListFields()}.items() <= {
        field.name: value for field, value in sent.ListFields()
    }.items()
    settings = {"is_up": False, "length_km": 0.0, "dead_time_ps": 7}
    assert wire.settings_from_message(wire.settings_message(settings)) == settings
    assert wire.settings_from_message(parameters_pb2.LinkSettings()) == {}


def clicks(**changes: Any) -> quantum_channel_pb2.Clicks:
    sample = Sample(
        np.array([2, 0, 1], np.uint32),
        np.array([-1, 5, 1 << 20], np.int32),
        np.array([1, 2, 3], np.uint8),
        np.array([-7, 0, 7], np.int32),
    )
    sent = wire.clicks_message(9, 10, sample, is_last=True).handed_over(4)
    message = quantum_channel_pb2.ReceiveResponse.FromString(sent).clicks
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_clicks_survive_the_wire() -> None:
    got = wire.clicks_from_message(clicks())
    assert (got.train_id, got.first_block, got.is_last, got.lag_ps) == (9, 10, True, 4)
    assert got.block_counts.tolist() == [2, 0, 1]
    assert got.offsets.tolist() == [-1, 5, 1 << 20]
    assert got.detectors.tolist() == [1, 2, 3]
    assert got.arrivals_ps.tolist() == [-7, 0, 7]
    assert clicks().offsets == b"\xff\xff\xff\xff\x05\x00\x00\x00\x00\x00\x10\x00"
    assert clicks().tags == b"\x91\xff\x02\x00\x73\x00"
    assert {array.dtype.name for array in (got.offsets, got.arrivals_ps)} == {"int32"}
    assert (got.block_counts.dtype.name, got.detectors.dtype.name) == ("uint32", "uint8")


def test_clicks_are_on_the_wire_what_protobuf_makes_of_them() -> None:
    count = 70_000  # sizes of one, two and three bytes
    sample = Sample(
        np.array([count, 0], np.uint32),
        np.arange(count, dtype=np.int32),
        np.ones(count, np.uint8),
        np.zeros(count, np.int32),
    )
    sent = wire.clicks_message(1 << 40, 1 << 40, sample, is_last=True, bias_ratio=10.0).handed_over(5)
    expected = quantum_channel_pb2.ReceiveResponse(
        clicks=quantum_channel_pb2.Clicks(
            train_id=1 << 40,
            first_block=1 << 40,
            block_counts=sample.block_counts.tobytes(),
            offsets=sample.offsets.tobytes(),
            tags=b"\1\0" * count,
            is_last=True,
            lag_ps=5,
            bias_ratio=10.0,
        )
    )
    assert quantum_channel_pb2.ReceiveResponse.FromString(sent) == expected
    assert len(sent) == expected.ByteSize()


@pytest.mark.parametrize(
    ("arrivals_ps", "size"),
    [
        ([], 2),
        ([-(1 << 11), (1 << 11) - 1], 2),
        ([0, 1 << 11], 4),
        ([-(1 << 11) - 1, 0], 4),
        ([-(1 << 27), (1 << 27) - 1], 4),
        ([0, 1 << 27], 8),
        ([-(1 << 31), (1 << 31) - 1], 8),
    ],
)
def test_tags_are_as_wide_as_arrivals_ask(arrivals_ps: list[int], size: int) -> None:
    count = len(arrivals_ps)
    detectors = np.array([1, 15][:count], np.uint8)
    sample = Sample(
        np.array([count], np.uint32), np.zeros(count, np.int32), detectors, np.array(arrivals_ps, dtype=np.int32)
    )
    sent = wire.clicks_message(9, 9, sample, is_last=False).handed_over(0)
    message = quantum_channel_pb2.ReceiveResponse.FromString(sent).clicks
    assert len(message.tags) == size * count
    got = wire.clicks_from_message(message)
    assert got.arrivals_ps.tolist() == arrivals_ps
    assert got.detectors.tolist() == detectors.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": b"\0" * 11},
        {"offsets": b"\0" * 8},
        {"tags": b""},
        {"tags": b"\1\0\1"},
        {"tags": b"\1\0\1\0"},
        {"tags": b"\1\0\1\0\1"},
        {"tags": b"\1\0\1\0\1\0\1\0\1"},
        {"tags": b"\1\0\1\0\x10\0"},
        {"block_counts": b"\0" * 12},
        {"block_counts": b"\xff" * 12},
        {"block_counts": b"\1"},
    ],
)
def test_clicks_that_do_not_fit_together_are_refused(change: dict[str, bytes]) -> None:
    with pytest.raises(BadInputError, match=r"^clicks: "):
        wire.clicks_from_message(clicks(**change))
