"""The JSON schema that editors use: it takes what the reader takes, and refuses shapes and units that it refuses."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from qnetem.topology import TopologyError, from_dict, json_schema, parse, ring, template
from qnetem.topology.rendering import as_file

READY = sorted((Path(__file__).parents[3] / "topologies").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    """The schema, itself checked."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", READY, ids=lambda path: path.name)
def test_the_ready_topologies_fit(validator: Any, path: Path) -> None:
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_template_a_ring_and_a_rendered_topology_fit(validator: Any) -> None:
    validator.validate(yaml.safe_load(template("lab")))
    validator.validate(ring(5))
    validator.validate(as_file(parse(template("lab"))))


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        ("quantum", "length", 25),
        ("quantum", "length", "25"),
        ("quantum", "length", "25kn"),
        ("quantum", "lenght", "25km"),
        ("quantum", "efficiency", 1.5),
        ("quantum", "p_z", 1),
        ("quantum", "intensities", []),
        ("classical", "delay", 5),
        ("protocol", "train_blocks", 0),
        ("protocol", "block_ramp", ["100kB"]),
    ],
)
def test_what_the_reader_refuses_does_not_fit(validator: Any, block: str, field: str, value: object) -> None:
    content = ring(2)
    validator.validate(content)
    content["topology"]["links"][0][block] = {field: value}
    assert not validator.is_valid(content)
    with pytest.raises(TopologyError, match=field):
        from_dict(content)


def test_a_name_that_is_no_label_does_not_fit(validator: Any) -> None:
    content = ring(2)
    content["topology"]["nodes"]["No Label"] = {}
    assert not validator.is_valid(content)


def test_every_field_has_a_description() -> None:
    schema = json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        # What a $ref leads to describes itself.
        assert all(field.get("description") or "$ref" in field for field in model["properties"].values())
