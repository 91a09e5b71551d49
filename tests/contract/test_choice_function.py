"""The choice function against its vectors: what another implementation must reproduce bit for bit."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from qnetem.runtime import rng

VECTORS = json.loads((Path(__file__).parent / "choice-vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["philox"])
def test_philox_gives_its_published_words(vector: dict[str, list[str]]) -> None:
    counter = [int(word, 16) for word in vector["counter"]]
    key = [int(word, 16) for word in vector["key"]]
    words = rng.philox4x32(*[np.array([word]) for word in counter], *key)
    assert [f"{int(word[0]):08x}" for word in words] == vector["words"]


@pytest.mark.parametrize("vector", VECTORS["philox"])
def test_the_compiled_philox_gives_the_same_words(vector: dict[str, list[str]]) -> None:
    from qnetem.runtime.rng_compiled import philox4x32

    arguments = [np.uint32(int(word, 16)) for word in vector["counter"] + vector["key"]]
    assert [f"{int(word):08x}" for word in philox4x32(*arguments)] == vector["words"]


@pytest.fixture(params=["numpy", "compiled"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either implementation: the compiled one is used when it is loaded."""
    if request.param == "compiled":
        importlib.import_module("qnetem.runtime.rng_compiled")
    else:
        monkeypatch.delitem(sys.modules, "qnetem.runtime.rng_compiled", raising=False)
    return str(request.param)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("vector", VECTORS["transmitter"])
def test_transmitter_choices_are_those_of_the_vectors(vector: dict[str, object]) -> None:
    bases, intensities, bits = rng.transmitter_choices(
        bytes.fromhex(str(vector["secret"])),
        np.array(vector["indices"], dtype=np.uint64),
        float(str(vector["p_z"])),
        vector["intensity_probs"],  # type: ignore[arg-type]
    )
    assert (bases.tolist(), intensities.tolist(), bits.tolist()) == (
        vector["bases"],
        vector["intensities"],
        vector["bits"],
    )


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("vector", VECTORS["receiver"])
def test_receiver_choices_are_those_of_the_vectors(vector: dict[str, object]) -> None:
    bases, double_bits = rng.receiver_choices(
        bytes.fromhex(str(vector["secret"])), np.array(vector["indices"], dtype=np.uint64), float(str(vector["p_z"]))
    )
    assert (bases.tolist(), double_bits.tolist()) == (vector["bases"], vector["double_click_bits"])


@pytest.mark.parametrize("vector", VECTORS["derived"])
def test_derived_secrets_are_those_of_the_vectors(vector: dict[str, object]) -> None:
    labels: list[str] = vector["labels"]  # type: ignore[assignment]
    assert rng.derive_secret(bytes.fromhex(str(vector["parent"])), *labels).hex() == vector["secret"]
