"""qnetem.topology.templates: the file that `qnetem init` writes. Pure."""

from qnetem.topology.errors import Problem, TopologyError
from qnetem.topology.words import label

__all__ = ["template"]

_TEXT = """\
# A quantum network: two ends and a third node, all of them real processes once `qnetem up` has run.
# Every field: docs/topology.md. Check this file with `qnetem validate`, see all its defaults with `qnetem render`.
apiVersion: qnetem/v1
name: {name}
seed: 42                    # same seed, same loss and noise
time: {{scale: 1}}            # emulated seconds per second of the host

topology:
  defaults:
    profile: decoy-bb84-1ghz-apd      # or decoy-bb84-1ghz-snspd: faster, and heavier on the host
  nodes:
    alice: {{}}
    bob: {{}}
    carol: {{}}
  links:                    # the first endpoint transmits
    - endpoints: [alice, bob]
      quantum: {{length: 25km}}
      # classical: {{delay: 125us}}     # the fibre's own latency when absent
    - endpoints: [bob, carol]
      quantum: {{length: 40km, attenuation: 0.21dB/km}}
  saes:                     # who fetches keys, and where
    app-1: {{node: alice}}
    app-2: {{node: bob}}
"""


def template(name: str) -> str:
    """Return a commented topology to start from. Raises TopologyError when `name` is no DNS label."""
    try:
        return _TEXT.format(name=f'"{label(name)}"' if not name[:1].isalpha() else label(name))
    except ValueError as error:
        raise TopologyError.of("name", [Problem(0, 0, str(error))]) from None
