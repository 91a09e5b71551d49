"""bench.sequence_peer: the link of bench.physics in SeQUeNCe: pulses through its source, fibre and detectors. Edge.

Run by a Python that has `sequence` (on PyPI, Python >= 3.12) and nothing of ours; prints JSON.
`python sequence_peer.py LOSS_DB PULSES`
"""

import json
import random
import sys
import time
from importlib.metadata import version

from sequence.components.optical_channel import QuantumChannel
from sequence.kernel.timeline import Timeline
from sequence.topology.node import QKDNode

CLOCK_HZ = 1e9
MEAN_PHOTONS = 0.2245  # that of .40/.13 at .35/.65
EFFICIENCY = 0.85
DEAD_TIME_HZ = 1 / 50e-9  # its detectors have a largest count rate
LENGTH_KM = 10


def main(loss_db: float, pulse_count: int) -> None:
    """Send pulses in random states of two bases; Bob measures in random bases; count what his detectors register."""
    timeline = Timeline(10**15)
    timeline.show_progress = False
    alice, bob = QKDNode("alice", timeline, stack_size=0, seed=1), QKDNode("bob", timeline, stack_size=0, seed=2)
    channel = QuantumChannel("fibre", timeline, attenuation=loss_db / LENGTH_KM / 1e3, distance=LENGTH_KM * 1e3)
    channel.set_ends(alice, "bob")
    alice.destination = "bob"
    alice.update_lightsource_params("frequency", CLOCK_HZ)
    alice.update_lightsource_params("mean_photon_num", MEAN_PHOTONS)
    channel.frequency = CLOCK_HZ
    source = alice.components["alice.lightsource"]
    detector = bob.components["bob.qsdetector"]
    for place in range(2):
        for name, value in (("efficiency", EFFICIENCY), ("dark_count", 0), ("count_rate", DEAD_TIME_HZ)):
            detector.update_detector_params(place, name, value)
    timeline.init()
    chance = random.Random(3)
    bases = source.encoding_type["bases"]
    states = [bases[chance.getrandbits(1)][chance.getrandbits(1)] for _ in range(pulse_count)]
    first_ps = round(channel.delay - 0.5e12 / CLOCK_HZ)
    detector.set_basis_list([chance.getrandbits(1) for _ in range(pulse_count)], first_ps, CLOCK_HZ)
    start_cpu_s = time.process_time()
    source.emit(states)
    timeline.run()
    spent_cpu_s = time.process_time() - start_cpu_s
    clicks = sum(len(times) for times in detector.get_photon_times())
    told = {"version": version("sequence"), "cpu_s": spent_cpu_s, "pulses": pulse_count, "clicks": clicks}
    print(json.dumps(told))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
