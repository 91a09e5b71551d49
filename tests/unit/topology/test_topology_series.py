"""Tables in time, environments and planned attacks: from the file to what the channel is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qnetem.topology import TopologyError, difference, fields, load, parse, render
from qnetem.topology.attacks import ATTACKS
from qnetem.topology.environments import ENVIRONMENTS
from qnetem.topology.model import Link, Series
from qnetem.topology.series import DRIVEN, LONGEST, read_csv
from qnetem.topology.units import Quantity

Changed = Callable[..., str]


@pytest.fixture
def of_csv(changed: Changed, tmp_path: Path) -> Callable[[str], Path]:
    """Return a topology whose link follows a CSV of this text."""

    def make(text: str) -> Path:
        (tmp_path / "loss.csv").write_text(text)
        path = tmp_path / "net.yaml"
        path.write_text(changed(("{length: 25km}", "{length: 25km}\n      series: {file: loss.csv, repeat: true}")))
        return path

    return make


def only_link(text: str) -> Link:
    """Return the one link of a topology."""
    (link,) = parse(text).links.values()
    return link


def test_a_table_becomes_a_series_for_each_column(of_csv: Callable[[str], Path]) -> None:
    (link,) = load(of_csv("extra_loss_db, time_s ,efficiency\n0,0,0.2\n\n3.5,1e1,0.1\n")).links.values()
    assert link.series == (
        Series("extra_loss_db", (0, 10), (0, 3.5), True),
        Series("efficiency", (0, 10), (0.2, 0.1), True),
    )


def test_a_rendered_topology_holds_the_table_and_means_the_same(of_csv: Callable[[str], Path]) -> None:
    topology = load(of_csv("time_s,extra_loss_db,misalignment_prob\n0,0.1,0.01\n0.25,1e-3,0.5\n86400,0,0\n"))
    again = parse(render(topology))
    assert again == topology
    assert again.digest == topology.digest
    assert "time: [0s, 250ms, 86400s]" in render(topology)


def test_another_number_in_the_table_is_another_topology(of_csv: Callable[[str], Path]) -> None:
    before = load(of_csv("time_s,extra_loss_db\n0,0\n1,2\n"))
    after = load(of_csv("time_s,extra_loss_db\n0,0\n1,3\n"))
    assert before.digest != after.digest
    assert difference(before, after) == ["link alice-bob: series.extra_loss [0dB, 2dB] -> [0dB, 3dB]"]
    long = load(of_csv("time_s,extra_loss_db\n" + "".join(f"{i},0\n" for i in range(1000))))
    assert all(len(line) < 400 for line in difference(before, long))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", ["loss.csv:1: no column time_s (the header has nothing)"]),
        ("t,extra_loss_db\n", ["loss.csv:1: no column time_s (the header has 't', 'extra_loss_db')"]),
        ("time_s\n0\n", ["loss.csv:1: no column beside time_s"]),
        (
            "time_s,extra_los_db\n0,1\n",
            ["loss.csv:1: 'extra_los_db' is no setting of a link (did you mean 'extra_loss_db'?)"],
        ),
        ("time_s,is_up\n0,1\n", ["loss.csv:1: 'is_up' is no setting of a link"]),
        ("time_s,clock_hz\n0,1e9\n", ["loss.csv:1: 'clock_hz' is no setting of a link"]),
        ("time_s,extra_loss_db,extra_loss_db\n0,1,1\n", ["loss.csv:1: extra_loss_db is there twice"]),
        ("time_s,extra_loss_db\n", ["loss.csv:1: no row after the header"]),
        ("time_s,extra_loss_db\n0\n", ["loss.csv:2: 1 values where the header has 2"]),
        ("time_s,extra_loss_db\n0,x\n", ["loss.csv:2: extra_loss_db: expected a number, got 'x'"]),
        ("time_s,extra_loss_db\n0,nan\n", ["loss.csv:2: extra_loss_db: nan is out of range (0dB to 200dB)"]),
        ("time_s,extra_loss_db\n-1,0\n", ["loss.csv:2: time_s: -1 is out of range (0 to 1e12)"]),
        ("time_s,extra_loss_db\n1,0\n1,0\n", ["loss.csv:3: time_s: 1 is not after 1"]),
        (
            "time_s,extra_loss_db\n0,350\n1,1\n2,-1\n",
            [
                "loss.csv:2: extra_loss_db: 350 is out of range (0dB to 200dB)",
                "loss.csv:4: extra_loss_db: -1 is out of range (0dB to 200dB)",
            ],
        ),
        ('time_s,extra_loss_db\n0,"1\n', ["loss.csv:2: not CSV: unexpected end of data"]),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_line(
    of_csv: Callable[[str], Path], text: str, answer: list[str]
) -> None:
    with pytest.raises(TopologyError) as refused:
        load(of_csv(text))
    lines = str(refused.value).splitlines()
    assert len(lines) == len(answer)
    assert all(line.startswith(start) for line, start in zip(lines, answer, strict=True)), lines


def test_a_table_that_is_not_there_or_too_long_is_told_where_the_topology_names_it(
    of_csv: Callable[[str], Path], tmp_path: Path
) -> None:
    path = of_csv("time_s,extra_loss_db\n" + "".join(f"{i},0\n" for i in range(LONGEST // 2 + 1)))
    with pytest.raises(
        TopologyError, match=rf"net\.yaml:11:15: the series of all links hold more than {LONGEST} values"
    ):
        load(path)
    (tmp_path / "loss.csv").unlink()
    with pytest.raises(TopologyError, match=r"net\.yaml:11:22: file: loss\.csv: no such file"):
        load(path)
    (tmp_path / "loss.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(TopologyError, match=r"net\.yaml:11:22: file: loss\.csv: not a text file: byte 0 is not UTF-8"):
        load(path)


def test_a_table_can_drive_every_number_that_can_be_set() -> None:
    header = ",".join(["time_s", *(each.wire for each in DRIVEN)])
    values = ",".join(["0", *(str(each.quantity.maximum) for each in DRIVEN if isinstance(each.quantity, Quantity))])
    columns, problems = read_csv(f"{header}\n{values}\n", "all.csv")
    assert problems == []
    assert len(columns) == len(DRIVEN) + 1 > 50


def test_an_environment_lies_over_the_profile_and_under_what_is_said(changed: Changed) -> None:
    plain = only_link(changed())
    assert (plain.environment, plain.planned.polarisation_tau_s, plain.planned.clock_skew_ppb) == (None, 0, 0)
    aerial = only_link(changed(("25km}", "25km, loss_wander: 0dB}\n      environment: aerial")))
    planned = aerial.planned
    assert (aerial.environment, planned.polarisation_tau_s, planned.loss_wander_db) == ("aerial", 60, 0)
    assert planned.clock_skew_ppb == 0.5
    both = changed(
        ("1ghz-apd}", "1ghz-apd, environment: buried, quantum: {temperature_swing: 1K}}"),
        ("25km}", "25km}\n      environment: storm"),
    )
    assert only_link(both).planned.temperature_swing_k == 1
    assert only_link(both).planned.polarisation_tau_s == 5
    by_default = changed(("1ghz-apd}", "1ghz-apd, environment: buried}"))
    assert (only_link(by_default).environment, only_link(by_default).planned.polarisation_tau_s) == ("buried", 7200)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_says_what_a_link_can_be(changed: Changed, name: str) -> None:
    ranges = {each.key: each.quantity for each in fields.QUANTUM if isinstance(each.quantity, Quantity)}
    for key, value in ENVIRONMENTS[name].quantum.items():
        assert ranges[key].minimum <= value <= ranges[key].maximum
    topology = parse(changed(("25km}", f"25km}}\n      environment: {name}")))
    assert parse(render(topology)) == topology


def test_a_planned_attack_is_a_value_of_the_link(changed: Changed) -> None:
    eve = "eve: {intercept-resend: 10%, time-shift: 100ps, trojan: 0.01}"
    topology = parse(changed(("25km}", f"25km}}\n      {eve}")))
    planned = topology.links["alice-bob"].planned
    assert (planned.eve_intercept_prob, planned.eve_time_shift_ps, planned.eve_trojan_photons) == (0.1, 100, 0.01)
    spelled = "25km, eve_intercept: 0.1, eve_time_shift: 100ps, eve_trojan: 0.01}"
    assert topology.digest == parse(changed(("25km}", spelled))).digest
    assert parse(render(topology)) == topology


def test_every_way_of_eve_on_the_wire_is_an_attack() -> None:
    eve = {each.wire for each in fields.QUANTUM if each.wire.startswith("eve_")}
    assert {one.field.wire for one in ATTACKS.values()} == eve
