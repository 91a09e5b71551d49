"""qnetem.topology.importing.writing: an imported network as a topology file that says where it is from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from textwrap import wrap
from typing import Any, Final

from qnetem.topology.importing.attributes import printable
from qnetem.topology.importing.naming import default_name
from qnetem.topology.importing.network import Network
from qnetem.topology.importing.settings import Settings
from qnetem.topology.importing.spans import Span, length_text
from qnetem.topology.model import Placement
from qnetem.topology.rendering import to_yaml

__all__ = ["Content", "command", "file_text"]

_ZOO: Final = "Topology Zoo Toolset"
_COMMENT_CHARS: Final = 118
_SEED: Final = 42
# What a machine of two cores keeps up with on a network of fifty nodes.
_SCALE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Content:
    """What a topology file is written from."""

    # By name, the comment that goes beside it.
    nodes: Mapping[str, str]
    relays: frozenset[str]
    spans: Sequence[Span]
    saes: Mapping[str, str]
    placement: Placement
    # One line each: what is in the file, and what was changed to make it.
    counts: str
    changes: str


def command(file: str, out: str, settings: Settings) -> str:
    """Return the command line that makes a file again, without the folders."""
    words = ["qnetem import", _word(PurePath(file).name), "-o", _word(PurePath(out).name)]
    default = Settings(name=settings.name)
    if settings.name != default_name(file):
        words += ["--name", settings.name]
    if settings.profile != default.profile:
        words += ["--profile", settings.profile]
    if settings.max_span_m != default.max_span_m:
        words += ["--max-span", length_text(settings.max_span_m)]
    if settings.default_length_m is not None:
        words += ["--default-length", length_text(settings.default_length_m)]
    if settings.route_factor != default.route_factor:
        words += ["--route-factor", f"{settings.route_factor:g}"]
    return " ".join(words)


def file_text(network: Network, content: Content, settings: Settings, made_by: str) -> str:
    """Return the topology file."""
    head = {
        "apiVersion": "qnetem/v1",
        "name": settings.name,
        "seed": _SEED,
        "time": {"scale": _SCALE},
        "quantum_channel": {"placement": content.placement},
    }
    body = to_yaml(
        {
            "links": [_link(span) for span in content.spans],
            "saes": {sae: {"node": node} for sae, node in content.saes.items()},
        }
    )
    lines = [
        f"# {line}"
        for comment in _comments(network, content)
        for line in wrap(printable(comment), _COMMENT_CHARS, break_long_words=False, break_on_hyphens=False)
    ]
    lines.append(f"# Made by: {made_by}")
    lines += [*to_yaml(head).splitlines(), "", "topology:"]
    lines += ["  defaults:", f"    profile: {settings.profile}", "  nodes:"]
    for name, comment in content.nodes.items():
        kind = {"kind": "trusted-relay"} if name in content.relays else {}
        lines.append(f"    {to_yaml({name: kind}).rstrip()}" + (f"  # {printable(comment)}" if comment else ""))
    lines += [f"  {line}" for line in body.splitlines()]
    return "\n".join(lines) + "\n"


def _link(span: Span) -> dict[str, Any]:
    name = {} if span.id == "-".join(span.ends) else {"name": span.id}
    return {"endpoints": list(span.ends)} | name | {"quantum": {"length": length_text(span.length_m)}}


def _comments(network: Network, content: Content) -> list[str]:
    file = PurePath(network.source).name
    lines = [f"{network.title or file}: {content.counts}."]
    if network.creator == _ZOO:
        lines.append(
            f"Derived from {file} of the Internet Topology Zoo, DOI 10.25909/30153949, licence CC BY 4.0: S. Knight, "
            'H. X. Nguyen, N. Falkner, R. Bowden, M. Roughan, "The Internet Topology Zoo", IEEE JSAC 29(9), 2011.'
        )
    else:
        credit = f", made by {network.creator}" if network.creator else ""
        lines.append(f"Derived from {file}{credit}; what its licence asks for holds here too.")
    if network.origin:
        lines.append(f"Drawn after {network.origin}")
    return [*lines, f"Changed: {content.changes}."]


def _word(text: str) -> str:
    """Return a word of a command line as a shell takes it, on one line."""
    from shlex import quote

    return quote(text) if text.isprintable() else ascii(text)
