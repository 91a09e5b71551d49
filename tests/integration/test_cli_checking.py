"""`check physics` on a running testbed: links as told, also of pairs, one that is not, one that is down, and a plot."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cli_lab import Cli, until

pytestmark = pytest.mark.timeout(240)
HONEST, TAPPED, PAIRS = "alice-bob", "tapped", "pairs"


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running testbed of three parallel links, one of entangled pairs, an eavesdropper on another."""
    folder = tmp_path_factory.mktemp("checking")
    link: dict[str, Any] = {"endpoints": ["alice", "bob"], "quantum": {"length": "25km"}}
    topology = {
        "apiVersion": "qnetem/v1",
        "name": "checked",
        "seed": 7,
        "time": {"scale": 0.05},
        "telemetry": {"broker": "none"},
        "topology": {
            "defaults": {"profile": "decoy-bb84-1ghz-snspd"},
            "nodes": {"alice": {}, "bob": {}},
            "links": [link, link | {"name": TAPPED}, link | {"name": PAIRS, "profile": "bbm92-1ghz-snspd"}],
        },
    }
    (folder / "topology.yaml").write_text(yaml.safe_dump(topology))
    cli = Cli(folder)
    try:
        cli.fine("up")
        cli.fine("eve", "attach", TAPPED, "intercept-resend", "--fraction", "20%")
        yield cli
    finally:
        cli.fine("down", "--purge")
        until(lambda: cli.left_running() == [])


def test_an_honest_link_is_as_it_is_told(bed: Cli) -> None:
    code, shown, _ = bed.run("check", "physics", HONEST, "--clicks", "200000")
    assert (code, "deviates" in shown) == (0, False), shown
    assert shown.startswith("link alice-bob: ")
    assert "errors in Z" in shown


def test_an_eavesdropper_shows_in_the_errors_and_nowhere_else(bed: Cli) -> None:
    code, shown, error = bed.run("check", "physics", "--clicks", "200000", "-f", "json")
    assert (code, error) == (1, "")
    honest, tapped, pairs = json.loads(shown)
    assert (pairs["link_id"], pairs["agrees"]) == (PAIRS, True), pairs
    assert (honest["link_id"], honest["agrees"], tapped["link_id"], tapped["agrees"]) == (HONEST, True, TAPPED, False)
    off = {row["quantity"]: row for row in tapped["rows"] if not row["agrees"]}
    assert set(off) == {"errors in Z", "errors in X"}
    # (1-p) e0 + p (e0/2 + 1/4)
    assert off["errors in Z"]["measured"] == pytest.approx(0.8 * 0.01 + 0.2 * (0.005 + 0.25), abs=0.004)


def test_a_link_of_pairs_is_as_it_is_told_until_it_is_not(bed: Cli) -> None:
    code, shown, _ = bed.run("check", "physics", PAIRS, "--clicks", "100000")
    assert (code, "deviates" in shown) == (0, False), shown
    for quantity in ("clicks, transmitter", "coincidences in Z", "coincidence to accidental", "errors in X", "darks"):
        assert f"\n{quantity} " in shown, shown
    bed.fine("eve", "attach", PAIRS, "intercept-resend", "--fraction", "20%")
    try:
        code, shown, _ = bed.run("check", "physics", PAIRS, "--clicks", "100000", "-f", "json")
    finally:
        bed.fine("eve", "detach", PAIRS, "intercept-resend")
    (tapped,) = json.loads(shown)
    assert (code, tapped["agrees"]) == (1, False)
    assert {row["quantity"] for row in tapped["rows"] if not row["agrees"]} == {"errors in Z", "errors in X"}


def test_it_is_drawn_where_matplotlib_is(bed: Cli) -> None:
    pytest.importorskip("matplotlib")
    bed.fine("check", "physics", HONEST, PAIRS, "--clicks", "20000", "--plot", "physics.svg")
    assert "</svg>" in (bed.folder / "physics.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("alice-bbo",), 3, "no link 'alice-bbo' (did you mean 'alice-bob'?)"),
        (("--plot", "physics.bmp"), 3, "a plot is one of .png, .pdf, .svg"),
    ],
)
def test_what_cannot_be_checked_is_refused(bed: Cli, arguments: tuple[str, ...], code: int, why: str) -> None:
    told = bed.run("check", "physics", *arguments)
    assert (told[0], why in told[2]) == (code, True), told


def test_a_link_that_is_down_cannot_be_checked(bed: Cli) -> None:
    bed.fine("link", "down", HONEST)
    code, _, error = bed.run("check", "physics", HONEST)
    assert (code, error) == (1, "qnetem: link alice-bob is down\n")
    bed.fine("link", "up", HONEST)
    assert bed.run("check", "physics", HONEST, "--clicks", "20000")[0] == 0


def test_a_testbed_that_does_not_run_is_inconclusive(bed: Cli) -> None:
    bed.fine("down")
    code, _, error = bed.run("check", "physics")
    assert (code, error) == (2, "qnetem: testbed checked is not running\n")
