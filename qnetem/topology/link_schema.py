"""qnetem.topology.link_schema: the shape of a link in a topology file as pydantic models. Pure.

Importing this imports pydantic (0.1 s): only the reader does, when it reads.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    create_model,
    model_validator,
)

from qnetem.topology import fields, quantities
from qnetem.topology.attacks import ATTACKS
from qnetem.topology.environments import ENVIRONMENTS
from qnetem.topology.external import EXTERNAL
from qnetem.topology.profiles import PROFILES
from qnetem.topology.series import DRIVEN, problem_of_columns
from qnetem.topology.units import Choice, Quantity
from qnetem.topology.words import LABEL_PATTERN, did_you_mean, label, shown

__all__ = [
    "Address",
    "Block",
    "ClassicalBlock",
    "EnvironmentName",
    "ExternalBlock",
    "FileName",
    "ImageName",
    "Label",
    "LinkBlock",
    "Placement",
    "Port",
    "ProfileName",
    "ProtocolBlock",
    "QuantumBlock",
    "Username",
    "Word",
    "block_of",
]

_LONGEST_LINE: Final = 1024
_IMAGE: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._/:@-]*[0-9A-Za-z])?")


class Block(BaseModel):
    """A mapping of the file. Unknown keys are refused, nothing is coerced; `key:` with nothing behind it is empty."""

    # Deferred: one validator is built, that of the model that is used, not one for each.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value

    def given(self) -> dict[str, Any]:
        """Return what the file gives, by key."""
        return {key: getattr(self, key) for key in type(self).model_fields if key in self.model_fields_set}


def _address(value: object) -> str:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    is_host = host.isprintable() and host.strip() == host != "" and " " not in host
    if not (is_host and port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise ValueError(f"expected host:port, got {shown(value)}")
    return f"{host}:{port}"


def _named(value: object, what: str, known: Mapping[str, object]) -> str:
    if isinstance(value, str) and value in known:
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected the name of {'an' if what[0] in 'aeiou' else 'a'} {what}, got {shown(value)}")
    raise ValueError(f"there is no {what} {shown(value)}{did_you_mean(value, known)}")


def _name_of(what: str, known: Mapping[str, object]) -> Any:
    """Return the type of a name that must be known."""
    check = PlainValidator(lambda value: _named(value, what, known))
    return Annotated[Any, check, WithJsonSchema({"type": "string", "enum": list(known)})]


def _quantity(quantity: Quantity | Choice) -> Any:
    return Annotated[Any, PlainValidator(quantity.parse), WithJsonSchema(quantity.schema())]


def _line(what: str) -> PlainValidator:
    """Return a validator of a text that stays on one line."""

    def checked(value: object) -> str:
        is_line = isinstance(value, str) and value.isprintable() and value.strip() == value
        if isinstance(value, str) and is_line and 0 < len(value) <= _LONGEST_LINE:
            return value
        raise ValueError(f"expected {what}, got {shown(value)}")

    return PlainValidator(checked)


def _image(value: object) -> str:
    if isinstance(value, str) and len(value) <= _LONGEST_LINE and _IMAGE.fullmatch(value):
        return value
    raise ValueError(f"expected the name of an image, got {shown(value)}")


Label = Annotated[str, PlainValidator(label), WithJsonSchema({"type": "string", "pattern": LABEL_PATTERN})]
Address = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "pattern": r"^\S+:[0-9]{1,5}$"})]
FileName = Annotated[str, _line("the path of a file"), WithJsonSchema({"type": "string", "minLength": 1})]
SaeName = Annotated[str, _line("the id of an SAE"), WithJsonSchema({"type": "string", "minLength": 1})]
Username = Annotated[str, _line("a user name"), WithJsonSchema({"type": "string", "minLength": 1})]
Word = Annotated[str, _line("a word of a command"), WithJsonSchema({"type": "string", "minLength": 1})]
ImageName = Annotated[str, PlainValidator(_image), WithJsonSchema({"type": "string", "pattern": _IMAGE.pattern})]
Port = Annotated[int, Field(ge=1, le=65_535)]
Placement = Literal["link", "group", "one"]
if TYPE_CHECKING:
    ProfileName: TypeAlias = str
    EnvironmentName: TypeAlias = str
else:
    ProfileName = _name_of("profile", PROFILES)
    EnvironmentName = _name_of("environment", ENVIRONMENTS)


def block_of(name: str, doc: str, table: tuple[fields.Field, ...], base: type[Block]) -> Any:
    """Return the model of a block, made from its table of fields."""
    members: dict[str, Any] = {}
    for each in table:
        kind: Any = _quantity(each.quantity)
        if each.is_list:
            kind = Annotated[list[kind], Field(min_length=1, max_length=16), AfterValidator(each.checked)]
        members[each.key] = (kind, Field(default=None, description=f"{each.doc} {_range(each.quantity)}."))
    return _model(name, doc, members, base)


def _range(quantity: Quantity | Choice) -> str:
    return f"Range: {quantity.range_text}" if isinstance(quantity, Quantity) else f"One of: {quantity.range_text}"


def _model(name: str, doc: str, members: dict[str, Any], base: type[Block]) -> Any:
    model = create_model(name, __base__=base, **members)
    model.__doc__ = doc
    return model


def _eve() -> Any:
    """Return the model of a planned eavesdropper: attacks and how strong they are."""
    members: dict[str, Any] = {
        attack.name: (
            _quantity(attack.field.quantity),
            Field(default=None, description=f"Its {attack.strength}. {attack.field.doc}"),
        )
        for attack in ATTACKS.values()
    }
    return _model("EveBlock", "An eavesdropper who is there from the start.", members, Block)


class _Table(Block):
    file: FileName | None = Field(
        default=None, description="CSV beside the topology: a header of time_s and settings of the wire, then rows."
    )
    repeat: bool = Field(default=False, description="Begin again after the last point; else the last value holds.")

    @model_validator(mode="after")
    def _whole(self) -> "_Table":
        given = self.table()
        if self.file is not None and given:
            raise ValueError(f"a table is in a file or here ({next(iter(given))}), not both")
        if self.file is None and (wrong := problem_of_columns(given)):
            raise ValueError(wrong)
        return self

    def table(self) -> dict[str, list[float]]:
        """Return the columns that are given here, by key."""
        return {key: value for key, value in self.given().items() if key not in ("file", "repeat")}


def _series() -> Any:
    """Return the model of a table in time: a file, or a column for each setting that it drives."""
    members: dict[str, Any] = {}
    for key, quantity, doc in (
        ("time", quantities.LONG_SPAN, "When, emulated; rising."),
        *((each.key, each.quantity, each.doc) for each in DRIVEN),
    ):
        kind: Any = _quantity(quantity)
        members[key] = (Annotated[list[kind], Field(min_length=1)], Field(default=None, description=doc))
    return _model("SeriesBlock", "Settings that follow a table in time.", members, _Table)


class _BothBases(Block):
    p_z: Annotated[Any, PlainValidator(quantities.CHOICE.parse), WithJsonSchema(quantities.CHOICE.schema())] = Field(
        default=None, description="Short for the same transmitter_p_z and receiver_p_z."
    )

    @model_validator(mode="after")
    def _once(self) -> "_BothBases":
        both = sorted(self.model_fields_set & {"transmitter_p_z", "receiver_p_z"})
        if "p_z" in self.model_fields_set and both:
            raise ValueError(f"give p_z for both ends or {both[0]} for one, not both")
        return self

    def given(self) -> dict[str, Any]:
        """Return what the file gives, `p_z` spelled out for the two ends."""
        values = super().given()
        if "p_z" in values:
            values["transmitter_p_z"] = values["receiver_p_z"] = values.pop("p_z")
        return values


if TYPE_CHECKING:

    class QuantumBlock(_BothBases): ...

    class ClassicalBlock(Block): ...

    class ProtocolBlock(Block): ...

    class EveBlock(Block): ...

    class SeriesBlock(_Table): ...

else:
    QuantumBlock = block_of("QuantumBlock", "The fibre and the devices at its ends.", fields.QUANTUM, _BothBases)
    ClassicalBlock = block_of("ClassicalBlock", "The classical twin of a link.", fields.CLASSICAL, Block)
    ProtocolBlock = block_of("ProtocolBlock", "How the two ends make keys.", fields.PROTOCOL, Block)
    EveBlock = _eve()
    SeriesBlock = _series()


class ExternalKmeBlock(Block):
    """A KME of another make, to which the node at this end of the link is an SAE (ETSI GS QKD 014)."""

    address: Address = Field(description="Where it listens, host:port.")
    sae: SaeName = Field(description="The node's own id there.")
    ca: FileName = Field(description="Certificates (PEM) that the KME's descends from.")
    certificate: FileName = Field(description="The node's certificate for it (PEM).")
    key: FileName = Field(description="The key of that certificate (PEM).")


class _ExternalBase(Block):
    kmes: dict[Label, ExternalKmeBlock] = Field(description="The KME at each end, by its node.")
    keys_per_block: Annotated[int, Field(ge=1, le=1024)] = Field(default=32, description="Keys taken at once.")

    @model_validator(mode="after")
    def _whole(self) -> "_ExternalBase":
        size = self.given().get("key_size", 8)
        if size % 8:
            raise ValueError(f"key_size: {size}bit is no multiple of 8bit")
        return self


if TYPE_CHECKING:

    class ExternalBlock(_ExternalBase): ...

else:
    ExternalBlock = block_of("ExternalBlock", "KMEs of another make, one at each end.", EXTERNAL, _ExternalBase)


class LinkBlock(Block):
    """A quantum link and its classical twin."""

    endpoints: Annotated[list[Label], Field(min_length=2, max_length=2)] = Field(
        description="Two nodes; the first transmits unless `transmitter` says otherwise."
    )
    name: Label | None = Field(default=None, description="The link's id; its endpoints joined by a hyphen if absent.")
    transmitter: Label | None = Field(default=None, description="The end that sends the light.")
    profile: ProfileName | None = Field(default=None, description="Devices of this link.")
    environment: EnvironmentName | None = Field(default=None, description="Where this link lies.")
    quantum: QuantumBlock = Field(default_factory=QuantumBlock, description="The fibre and the devices at its ends.")
    classical: ClassicalBlock = Field(default_factory=ClassicalBlock, description="The classical twin of the link.")
    protocol: ProtocolBlock = Field(default_factory=ProtocolBlock, description="How the two ends make keys.")
    eve: EveBlock = Field(default_factory=EveBlock, description="An eavesdropper who is there from the start.")
    series: SeriesBlock | None = Field(default=None, description="Settings that follow a table in time.")
    kind: Literal["quantum", "external-kme"] = Field(default="quantum", description="Where its keys come from.")
    external: ExternalBlock | None = Field(default=None, description="The KMEs of a link of kind external-kme.")

    @model_validator(mode="after")
    def _one_kind(self) -> "LinkBlock":
        if (self.kind == "external-kme") != (self.external is not None):
            raise ValueError("a link of kind external-kme needs external, and no other has it")
        light = ("profile", "environment", "quantum", "protocol", "eve", "series")
        given = next((key for key in light if self.external is not None and key in self.model_fields_set), None)
        if given is not None:
            raise ValueError(f"{given} is for a quantum link alone")
        return self

    @model_validator(mode="after")
    def _once(self) -> "LinkBlock":
        for name in self.eve.given():
            key = ATTACKS[name].field.key
            if key in self.quantum.given():
                raise ValueError(f"give eve.{name} or quantum.{key}, not both")
        return self
