"""qnetem.topology.importing.naming: labels of a drawing become names of nodes, each one once. Pure."""

import re
import unicodedata
from collections.abc import Container, Iterable
from pathlib import PurePath
from typing import Final

from qnetem.topology.importing.network import Decision, Site

__all__ = ["NAME_CHARS", "default_name", "node_names", "slug", "unique"]

# Two names, a hyphen and a span's number fit in a link's id of 60 characters.
NAME_CHARS: Final = 24
# Names that the testbed's own processes have; `qnetem.topology.references` refuses them.
_RESERVED: Final = re.compile(r"(?:broker|supervisor|zygote|(?:qc|cc)(?:-.*)?)\Z")
# Letters that do not come apart into one of ASCII and an accent.
_LETTERS: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "n"}
)


def node_names(sites: Iterable[Site]) -> tuple[dict[str, str], list[Decision]]:
    """Return a name for each site's key, and the decisions where it is not simply the label's.

    A label that several sites have stays with the first; the others are numbered from 2. Sites without a label are
    `unnamed-1` and so on, those that stand for a hyperedge `junction-1`.
    """
    sites = list(sites)
    plain = {site.key: slug(site.label) for site in sites}
    firsts: dict[str, str] = {}
    for site in sites:
        if plain[site.key] and not _RESERVED.match(plain[site.key]):
            firsts.setdefault(plain[site.key], site.key)
    names = {key: name for name, key in firsts.items()}
    taken = set(firsts)
    decisions: list[Decision] = []
    for site in sites:
        wanted = plain[site.key]
        if site.key in names:
            whole = _words(site.label)
            why = "shortened" if len(whole) > NAME_CHARS else ""
        elif not wanted:
            word = "junction" if site.is_junction else "unnamed"
            names[site.key] = next(name for n in range(1, len(taken) + 2) if (name := f"{word}-{n}") not in taken)
            why = "its label has no letter or digit of ASCII" if site.label else "it has no label"
        elif _RESERVED.match(wanted):
            names[site.key] = unique(_cut(f"node-{wanted}"), taken)
            why = f"the testbed's own processes have the name {wanted}"
        else:
            names[site.key] = unique(wanted, taken)
            why = f"{wanted} is taken"
        taken.add(names[site.key])
        if why:
            decisions.append(Decision("named", names[site.key], f"named {site} {names[site.key]}: {why}"))
    return {site.key: names[site.key] for site in sites}, decisions


def default_name(file: str) -> str:
    """Return the name of a testbed that is made from a file, by the file's name alone."""
    return slug(PurePath(file).stem) or "network"


def slug(label: str) -> str:
    """Return a DNS label of at most NAME_CHARS that reads like a text, cut between words; empty where none does."""
    return _cut(_words(label))


def unique(name: str, taken: Container[str], most_chars: int = NAME_CHARS) -> str:
    """Return the name, or the first of name-2, name-3 and so on that is not taken, cut to fit."""
    number, found = 1, name
    while found in taken:
        number += 1
        tail = f"-{number}"
        found = name[: most_chars - len(tail)].rstrip("-") + tail
    return found


def _words(label: str) -> str:
    plain = unicodedata.normalize("NFKD", label.lower().translate(_LETTERS))
    letters = "".join(char for char in plain if not unicodedata.combining(char))
    return "-".join(re.findall("[a-z0-9]+", letters.lower()))


def _cut(name: str) -> str:
    if len(name) <= NAME_CHARS:
        return name
    end = name.rfind("-", 0, NAME_CHARS + 1)
    return name[: end if end > 0 else NAME_CHARS]
