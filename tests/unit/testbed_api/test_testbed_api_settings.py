"""Settings as keyword arguments: the keys and units of a topology file."""

import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.settings import settings_from
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings


def test_keywords_go_to_their_planes() -> None:
    quantum, classical = settings_from({"extra_loss": "6dB", "delay": "5ms", "efficiency": 0.2}.items())
    assert quantum == LinkSettings(extra_loss_db=6, efficiency=0.2)
    assert classical == ClassicalSettings(delay_ps=5 * 10**9)
    assert settings_from({"classical.delay": "1us"}.items()) == (None, ClassicalSettings(delay_ps=10**6))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"extra_loss": 6}, "extra_loss: 6 has no unit"),
        ({"extra_los": "6dB"}, "no setting 'extra_los' .did you mean 'extra_loss'"),
        ({"efficiency": "120%"}, "efficiency: '120%' is out of range"),
        ({"delay": None}, "delay: expected a time, got nothing"),
        ({"delay": "1ms", "classical.delay": "2ms"}, "classical.delay is given twice"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_that_names_it(settings: dict[str, object], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        settings_from(settings.items())
