"""A small topology that tests change in one place."""

from collections.abc import Callable

import pytest

PAIR = """\
apiVersion: qnetem/v1
name: lab
topology:
  defaults: {profile: decoy-bb84-1ghz-apd}
  nodes:
    alice: {}
    bob: {}
  links:
    - endpoints: [alice, bob]
      quantum: {length: 25km}
  saes:
    app-1: {node: alice}
"""


@pytest.fixture
def changed() -> Callable[..., str]:
    """Return the small topology with texts replaced: changed(("25km", "25")). Each text must be there."""

    def change(*replacements: tuple[str, str]) -> str:
        text = PAIR
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        return text

    return change
