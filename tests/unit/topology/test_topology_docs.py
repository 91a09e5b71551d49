"""docs/topology.md is true: every field with its range and defaults, and examples that run."""

import re
from pathlib import Path
from typing import Any

import pytest

from qnetem.topology import fields, json_schema, parse
from qnetem.topology.profiles import PROFILES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "topology.md").read_text(encoding="utf-8")


def rows(title: str) -> dict[str, list[str]]:
    """Return the cells of the table below a heading, by the field in the first one."""
    section = re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def written(field: fields.Field, value: Any) -> str:
    """Return a value as the page writes it."""
    if field.is_list:
        return f"[{', '.join(str(field.quantity.render(each)) for each in value)}]"
    return str(field.quantity.render(value))


def test_every_field_of_the_schema_is_on_the_page() -> None:
    schema = json_schema()
    names = {name for model in (schema, *schema["$defs"].values()) for name in model["properties"]}
    words = set(re.findall(r"[\w]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert names - words == set()


@pytest.mark.parametrize(
    ("title", "table"), [("quantum", fields.QUANTUM), ("classical", fields.CLASSICAL), ("protocol", fields.PROTOCOL)]
)
def test_the_tables_have_the_ranges_and_defaults_that_hold(title: str, table: tuple[fields.Field, ...]) -> None:
    documented = rows(title)
    assert set(documented) - {"p_z"} == {field.key for field in table}
    for field in table:
        units, limits, *cells = documented[field.key]
        assert limits == field.quantity.range_text
        assert [
            unit for unit in field.quantity.units if unit not in ("μs",) and unit not in re.split(r"[ ,]+", units)
        ] == []
        for name, cell in zip(("decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd"), cells, strict=False):
            profile = getattr(PROFILES[name], title, {})
            if field.key in profile:
                assert cell == written(field, profile[field.key])


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
