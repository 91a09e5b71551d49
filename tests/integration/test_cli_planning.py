"""`qnetem plan` as a user runs it: what it prints can be pasted, and what cannot be planned is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qnetem import topology

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PAIR = """
apiVersion: qnetem/v1
name: pair
topology:
  defaults: {profile: decoy-bb84-1ghz-snspd}
  nodes: {alice: {}, bob: {}}
  links:
    - endpoints: [alice, bob]
"""


@pytest.fixture
def qnetem(tmp_path: Path) -> Run:
    (tmp_path / "topology.yaml").write_text(PAIR + "      quantum: {length: 50km}\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qnetem.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")},
        )

    return run


def test_what_is_printed_can_be_pasted_and_makes_what_it_says(qnetem: Run, tmp_path: Path) -> None:
    told = qnetem("plan", "alice-bob")
    assert (told.returncode, told.stderr) == (0, "")
    for word in (
        "PLANNED",
        "BEST",
        "QBER",
        "secret (gross)",
        "secret (net)",
        "first key",
        "PLOB",
        "twin field",
        "measurement-device-independent",
    ):
        assert word in told.stdout
    snippet = told.stdout.split("to paste into the link:\n")[1]
    pasted = "".join(f"      {line}\n" for line in snippet.splitlines()).replace(
        "quantum:\n", "quantum:\n        length: 50km\n", 1
    )
    (tmp_path / "topology.yaml").write_text(PAIR + pasted)
    values = json.loads(qnetem("plan", "alice-bob", "-f", "json").stdout)
    again = json.loads(qnetem("plan", "alice-bob", "--topology", "topology.yaml", "-f", "json").stdout)
    assert values == again, "the same question has the same answer"
    # what was best is now planned, and there is nothing much better
    assert values["now"]["settings"] == values["best"]["settings"]
    assert values["now"]["secret_hz"] == pytest.approx(values["best"]["secret_hz"], rel=2e-3)
    paid_hz = 768 / values["best"]["block_s"]
    assert values["best"]["secret_net_hz"] == pytest.approx(values["best"]["secret_hz"] - paid_hz)
    assert values["now"]["first_key_s"] < values["now"]["block_s"]
    assert values["best"]["secret_hz"] < values["limits"]["decoy_hz"] < values["limits"]["repeaterless_hz"]


@pytest.mark.parametrize("protocol", ["bb84-two-decoys", "bb84-asymptotic"])
def test_another_protocol_is_planned_for_in_the_words_of_a_topology(qnetem: Run, protocol: str) -> None:
    began_s = time.monotonic()
    values = json.loads(qnetem("plan", "alice-bob", "--protocol", protocol, "-f", "json").stdout)
    assert time.monotonic() - began_s < 30
    assert (values["now"], values["protocol"], values["is_secure"]) == (None, protocol, protocol != "bb84-asymptotic")
    content = topology.ring(2)
    content["topology"]["links"] = [{"endpoints": ["n0", "n1"], **values["best"]["settings"]}]
    link = topology.from_dict(content).links["n0-n1"]
    assert link.protocol.protocol == protocol


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bob-carol"], "no link 'bob-carol' in the topology (there are: alice-bob)"),
        (["alice-bob", "--protocol", "b92"], "protocol 'b92' is none of bb84-one-decoy"),
        (["alice-bob", "--protocol", "bbm92"], "bbm92 needs detectors at the transmitter"),
        (["alice-bob", "--block-time", "60"], "'60' has no unit"),
        (["alice-bob", "-t", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_planned_is_refused(qnetem: Run, arguments: list[str], message: str) -> None:
    refused = qnetem("plan", *arguments)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert message in refused.stderr
