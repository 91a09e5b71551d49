"""docs/topology.md is true: every field with its range and defaults, and examples that run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qnetem.topology import fields, json_schema, load, parse
from qnetem.topology.attacks import ATTACKS
from qnetem.topology.environments import ENVIRONMENTS
from qnetem.topology.profiles import PROFILES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "topology.md").read_text(encoding="utf-8")
WEATHER = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")


def rows(title: str, page: str = PAGE) -> dict[str, list[str]]:
    """Return the cells of the table below a heading, by the field in the first one."""
    section = re.split(r"^#+ ", page.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def written(field: fields.Field, value: Any) -> str:
    """Return a value as the page writes it."""
    shown = field.render(value)
    return f"[{', '.join(map(str, shown))}]" if field.is_list else str(shown)


def test_every_field_of_the_schema_is_on_the_page() -> None:
    schema = json_schema()
    names = {name for model in (schema, *schema["$defs"].values()) for name in model["properties"]}
    words = set(re.findall(r"[\w-]+|[\w]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE + WEATHER))))
    assert names - words == set()


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("quantum", [field for field in fields.QUANTUM if field.default is None]),
        ("classical", fields.CLASSICAL),
        ("protocol", fields.PROTOCOL),
    ],
)
def test_the_tables_have_the_ranges_and_defaults_that_hold(title: str, table: Sequence[fields.Field]) -> None:
    documented = rows(title)
    assert set(documented) - {"p_z"} == {field.key for field in table}
    for field in table:
        units, limits, *cells = documented[field.key]
        check(field, units, limits)
        for name, cell in zip(("decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd"), cells, strict=False):
            profile = getattr(PROFILES[name], title, {})
            if field.key in profile:
                assert cell == written(field, profile[field.key])


def check(field: fields.Field, units: str, limits: str) -> None:
    """The page gives every unit of a field, and its range."""
    assert limits == field.quantity.range_text
    assert {*field.quantity.spellings} - {"μs", *re.split(r"[ ,]+", units)} == set()


def test_what_is_off_unless_said_has_its_range_and_its_default() -> None:
    documented = {
        key: row
        for title in ("Fibre and air", "Source and receiver", "Clocks", "Eve")
        for key, row in rows(title).items()
    }
    optional = {field.key: field for field in fields.QUANTUM if field.default is not None}
    assert list(documented) == list(optional)
    for key, (units, limits, default, meaning) in documented.items():
        check(optional[key], units, limits)
        assert (default, meaning) == (written(optional[key], optional[key].default), optional[key].doc)


def test_every_profile_is_on_the_page_with_its_protocol() -> None:
    documented = rows("Profiles")
    assert {name: row[0] for name, row in documented.items()} == {
        name: profile.protocol["protocol"] for name, profile in PROFILES.items()
    }


def test_the_default_trains_are_those_of_the_page() -> None:
    blocks = [str(PROFILES[name].train_blocks(1e9)) for name in ("decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd")]
    assert rows("protocol")["train_blocks"][2:4] == blocks


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert list(parse(example).links) == ["alice-relay", "relay-bob"]
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs/topology.md", "exec"), {})  # noqa: S102 (our own page)
    assert capsys.readouterr().out.startswith("alice 25.0 122434701\n")


def test_the_environments_are_those_of_the_page() -> None:
    documented = rows("Environments", WEATHER)
    known = {field.key: field for field in fields.QUANTUM}
    told = re.split(r"\n\n", WEATHER.split("same clocks: ")[1])[0].replace("\n", " ")
    clocks = dict(re.findall(r"`(\w+)` ([^ ,]+?)[,.]? ", told))
    for column, (name, environment) in enumerate(ENVIRONMENTS.items()):
        assert f"`{name}`" in PAGE
        here = {key: cells[column] for key, cells in documented.items() if cells[column]} | clocks
        assert {key: known[key].quantity.parse(cell) for key, cell in here.items()} == environment.quantum


def test_the_examples_of_weather_and_eve_run(tmp_path: Path) -> None:
    whole, series, planned = re.findall(r"```yaml\n(.*?)```", WEATHER, flags=re.DOTALL)
    (table,) = re.findall(r"```csv\n(.*?)```", WEATHER, flags=re.DOTALL)
    (tmp_path / "loss.csv").write_text(table)
    (tmp_path / "weather.yaml").write_text(whole + series + planned)
    link = load(tmp_path / "weather.yaml").links["bob-carol"]
    assert (link.environment, link.planned.polarisation_tau_s, link.planned.loss_event_db) == ("storm", 20, 3)
    assert (link.planned.eve_intercept_prob, link.planned.eve_delay_ps) == (0.1, 5000)
    assert [one.field for one in link.series] == ["extra_loss_db", "misalignment_prob"]
    assert link.series[0].at_s == (0, 600, 1200)
    assert list(rows("Eve", WEATHER)) == list(ATTACKS)
    assert [row[0].strip("`") for row in rows("Eve", WEATHER).values()] == [one.strength for one in ATTACKS.values()]
