"""`qnetem import` as a user runs it: what it writes, what it tells, what it refuses; its page and what is shipped."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qnetem.topology import load

ROOT = Path(__file__).parents[2]
ZOO = ROOT.parent / "shared" / "data" / "topology-zoo"
PAGE = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
NETWORK = re.search(r"```gml\n(.*?)```", PAGE, re.DOTALL)
assert NETWORK is not None
DELTA = NETWORK[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def qnetem(tmp_path: Path) -> Run:
    """Run the command in a folder that holds the page's network, delta.gml."""
    (tmp_path / "delta.gml").write_text(DELTA)

    def run(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")}
        return subprocess.run(
            [sys.executable, "-m", "qnetem.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=clean | {"PYTHONHASHSEED": hash_seed},
        )

    return run


def test_the_network_of_the_page_becomes_a_topology(qnetem: Run, tmp_path: Path) -> None:
    made = qnetem("import", "delta.gml", "-o", "delta.yaml", "--max-span", "60km")
    assert made.returncode == 0, made.stderr
    told = made.stderr.splitlines()
    assert told[0].startswith("placed zoom at the middle of rotterdam, middelburg, antwerpen: 51.5")
    assert told[1] == "cut rotterdam-zoom, 61km, into 2 spans of 30.5km: rotterdam-zoom-r1"
    assert told[-1] == (
        "delta.gml: nodes 4 of 4, links 3 of 3, relays 1, spans 4 (decided: 1 placed, 1 cut, 3 sae, 1 placement)"
    )
    assert made.stdout.startswith("wrote delta.yaml: testbed delta, 5 nodes, 4 links, 3 SAEs; bring it up with ")
    topology = load(tmp_path / "delta.yaml")
    assert list(topology.nodes) == ["rotterdam", "middelburg", "antwerpen", "zoom", "rotterdam-zoom-r1"]
    assert qnetem("validate", "-t", "delta.yaml").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta.gml", "delta.yaml"]


def test_the_report_for_programs_says_the_same(qnetem: Run, tmp_path: Path) -> None:
    made = qnetem("import", "delta.gml", "-o", "delta.yaml", "--name", "lab", "-f", "json")
    assert (made.returncode, made.stderr) == (0, "")
    report = json.loads(made.stdout)
    topology = load(tmp_path / "delta.yaml")
    assert (report["file"], report["output"], report["name"], topology.name) == (
        "delta.gml",
        "delta.yaml",
        "lab",
        "lab",
    )
    assert report["drawn"] == {"nodes": 4, "links": 3}
    assert report["made"]["spans"] == len(topology.links)
    assert report["saes"] == topology.saes
    assert [one["subject"] for one in report["decisions"] if one["kind"] == "placed"] == ["zoom"]
    assert sum(report["decided"].values()) == len(report["decisions"])


def test_each_option_shows(qnetem: Run, tmp_path: Path) -> None:
    (tmp_path / "bare.gml").write_text(re.sub(r" (Lat|Long)itude \S+", "", DELTA))
    options = ["--default-length", "90km", "--max-span", "100km", "--profile", "decoy-bb84-1ghz-snspd"]
    made = qnetem("import", "bare.gml", "-o", "bare.yaml", *options)
    assert made.returncode == 0, made.stderr
    topology = load(tmp_path / "bare.yaml")
    assert {(link.planned.length_km, link.profile) for link in topology.links.values()} == {
        (90, "decoy-bb84-1ghz-snspd")
    }
    assert (
        f"# Made by: qnetem import bare.gml -o bare.yaml --profile {options[-1]} --max-span 100km --default-length 90km"
        in (tmp_path / "bare.yaml").read_text()
    )
    lengths = []
    for factor in ("1", "2"):
        assert qnetem("import", "delta.gml", "-o", f"{factor}.yaml", "--route-factor", factor).returncode == 0
        lengths.append(sum(link.planned.length_km for link in load(tmp_path / f"{factor}.yaml").links.values()))
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.5)


def test_nothing_is_overwritten_unless_asked(qnetem: Run, tmp_path: Path) -> None:
    out = tmp_path / "delta.yaml"
    out.write_text("mine\n")
    refused = qnetem("import", "delta.gml", "-o", "delta.yaml")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr == "qnetem: delta.yaml: is there already (--force replaces it)\n"
    assert out.read_text() == "mine\n"
    assert qnetem("import", "delta.gml", "-o", "delta.yaml", "--force").returncode == 0
    assert load(out).name == "delta"


def test_neither_the_network_nor_a_folder_is_replaced(qnetem: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for out, why in (("delta.gml", "is the network itself"), ("folder", "is not a regular file")):
        refused = qnetem("import", "delta.gml", "-o", out, "--force")
        assert (refused.returncode, refused.stderr) == (3, f"qnetem: {out}: {why}\n")
    assert (tmp_path / "delta.gml").read_text() == DELTA


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["absent.gml"], "absent.gml: no such file"),
        (["broken.gml"], "broken.gml:4:1: is broken: expected ']', found EOF"),
        (["bare.gml"], "bare.gml: no node of the network has coordinates, so no length is known"),
        (["delta.yaml"], "delta.yaml: expected a file of networks, .gml or .graphml"),
        (["delta.gml", "--max-span", "80"], "--max-span: '80' has no unit (expected m or km, such as 80km)"),
        (["delta.gml", "--max-span", "10m"], "--max-span: '10m' is out of range (1km to 10000km)"),
        (["delta.gml", "--default-length", "0km"], "--default-length: '0km' is out of range"),
        (["delta.gml", "--route-factor", "0.5"], "--route-factor: 0.5 is out of range (1 to 10)"),
        (["delta.gml", "--route-factor", "far"], "--route-factor"),
        (["delta.gml", "--name", "My Net"], "did you mean 'my-net'?"),
        (["delta.gml", "--profile", "apd"], "there is no profile 'apd'"),
        (["delta.gml", "-f", "xml"], "xml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_writes_nothing(qnetem: Run, tmp_path: Path, arguments: list[str], why: str) -> None:
    (tmp_path / "broken.gml").write_text("\n".join(DELTA.splitlines()[:3]) + "\n")
    (tmp_path / "bare.gml").write_text(re.sub(r" (Lat|Long)itude \S+", "", DELTA))
    refused = qnetem("import", *arguments, "-o", "out.yaml")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("qnetem: ")
    assert why in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out.yaml").exists()


def test_where_nothing_can_be_written_is_told(qnetem: Run) -> None:
    for out, why in (("/dev/full/x.yaml", "Not a directory"), ("no/such/x.yaml", "No such file or directory")):
        refused = qnetem("import", "delta.gml", "-o", out)
        assert (refused.returncode, refused.stderr.splitlines()[-1]) == (4, f"qnetem: {out}: {why}")


def test_the_same_bytes_whatever_the_hashes(qnetem: Run, tmp_path: Path) -> None:
    for seed in ("1", "2", "3"):
        (tmp_path / seed).mkdir()
        assert qnetem("import", "delta.gml", "-o", f"{seed}/delta.yaml", hash_seed=seed).returncode == 0
    assert len({(tmp_path / seed / "delta.yaml").read_bytes() for seed in "123"}) == 1


def test_the_shipped_network_is_what_its_own_command_makes(qnetem: Run, tmp_path: Path) -> None:
    drawn = ZOO / "Surfnet.gml"
    if not drawn.exists():
        pytest.skip("the Topology Zoo's files are not beside this repository")
    shipped = ROOT / "topologies" / "surfnet.yaml"
    made_by = re.search(r"^# Made by: qnetem (.*)$", shipped.read_text(), re.MULTILINE)
    assert made_by is not None
    assert f"$ qnetem {made_by[1]}\n" in PAGE
    shutil.copy(drawn, tmp_path)
    made = qnetem(*made_by[1].split())
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "surfnet.yaml").read_bytes() == shipped.read_bytes()
    shown = PAGE.split(f"$ qnetem {made_by[1]}\n")[1].split("```")[0].splitlines()
    assert {line for line in shown if line != "..."} <= {*made.stderr.splitlines(), *made.stdout.splitlines()}


def test_the_shipped_network_is_surfnet_with_its_attribution() -> None:
    shipped = ROOT / "topologies" / "surfnet.yaml"
    topology, text = load(shipped), shipped.read_text()
    relays = [node for node in topology.nodes.values() if node.kind == "trusted-relay"]
    assert (len(topology.nodes), len(relays), len(topology.links)) == (56, 6, 74)
    assert "# SURFNET: 50 nodes, 68 links, " in text
    head = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    for words in ("Internet Topology Zoo", "10.25909/30153949", "CC BY 4.0", "M. Roughan", "Changed: 5 doubled"):
        assert words in head


def test_every_option_and_every_kind_of_decision_is_on_the_page(qnetem: Run) -> None:
    from typing import get_args

    from qnetem.topology.importing.network import Kind

    assert re.findall(r"^\| `(\w+)` \| ", PAGE.split("## What is decided")[1], re.MULTILINE) == list(get_args(Kind))
    options = set(re.findall(r"--[a-z-]+", qnetem("import", "--help").stdout)) - {"--help"}
    assert options == set(re.findall(r"^\| `(--[a-z-]+)`", PAGE, re.MULTILINE))
