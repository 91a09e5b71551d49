"""qnetem.topology.references: names in a topology that point to other names. Pure.

Works on the file as it was read, whatever else is wrong with it, so that one run reports everything.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from qnetem.topology.errors import Path, Problem
from qnetem.topology.markers import Marked, locate
from qnetem.topology.policies import policy_name
from qnetem.topology.words import did_you_mean, label_of, shown

__all__ = ["LINK_ID_CHARS", "reference_problems"]

# A link's quantum channel is a process "qc-<link id>", and that is a DNS label too.
LINK_ID_CHARS: Final = 60
# Names of the testbed's own processes, beside which nodes are listed.
_RESERVED: Final = re.compile(r"(?:broker|controller|operator|supervisor|zygote|(?:qc|cc)(?:-.*)?)\Z")


def reference_problems(data: Any, tree: Marked) -> Iterator[Problem]:
    """Yield every name that points nowhere, is taken, or is used twice."""
    topology = _mapping(_mapping(data).get("topology"))
    nodes = topology.get("nodes")
    if not isinstance(nodes, dict):
        return  # reported elsewhere; against no nodes at all, every name would seem unknown
    for name in nodes:
        if _RESERVED.match(name):
            path: Path = ("topology", "nodes", name)
            place = locate(tree, path, is_key=True)
            yield Problem(*place, f"{shown(name)} is the name of one of the testbed's own processes", path[:-1])
    yield from _links(topology.get("links"), list(nodes), tree)
    for sae, body in _mapping(topology.get("saes")).items():
        home = label_of(_mapping(body).get("node"))
        if home is not None and home not in nodes:
            path = ("topology", "saes", sae, "node")
            yield Problem(*locate(tree, path), f"node: {_no_node(home, list(nodes))}", path[:-1])
    yield from _policies(topology, list(nodes), tree)
    yield from _prefills(_mapping(_mapping(data).get("keys")), list(nodes), tree)


def _prefills(keys: dict[str, Any], nodes: list[str], tree: Marked) -> Iterator[Problem]:
    prefills = keys.get("prefill")
    seen: dict[frozenset[str], int] = {}
    for index, prefill in enumerate(prefills if isinstance(prefills, list) else []):
        path: Path = ("keys", "prefill", index)
        given = _mapping(prefill).get("between")
        ends = [label_of(end) for end in given] if isinstance(given, list) and len(given) == 2 else []
        for side, end in enumerate(ends):
            if end is not None and end not in nodes:
                where = (*path, "between", side)
                yield Problem(*locate(tree, where), f"between[{side}]: {_no_node(end, nodes)}", path)
        pair = frozenset(end for end in ends if end is not None)
        if ends and None not in ends and len(pair) == 1:
            text = f"between: a pool needs two different nodes, not {shown(ends[0])} twice"
            yield Problem(*locate(tree, (*path, "between", 1)), text, path)
        elif len(pair) == 2 and pair in seen:
            text = f"between: the pool of {' and '.join(sorted(pair))} is named already"
            yield Problem(*locate(tree, path), text, path)
        seen.setdefault(pair, index)


def _policies(topology: dict[str, Any], nodes: list[str], tree: Marked) -> Iterator[Problem]:
    saes = list(_mapping(topology.get("saes")))
    policies = topology.get("policies")
    seen: dict[str, int] = {}
    for index, policy in enumerate(policies if isinstance(policies, list) else []):
        path: Path = ("topology", "policies", index)
        block = _mapping(policy)
        relays = block.get("allowed_relays")
        for side, relay in enumerate(relays if isinstance(relays, list) else []):
            name = label_of(relay)
            if name is not None and name not in nodes:
                where = (*path, "allowed_relays", side)
                yield Problem(*locate(tree, where), f"allowed_relays[{side}]: {_no_node(name, nodes)}", path)
        given = block.get("saes")
        pair = [label_of(sae) for sae in given] if isinstance(given, list) and len(given) == 2 else []
        for side, sae in enumerate(pair):
            if sae is not None and sae not in saes:
                text = f"saes[{side}]: there is no SAE {shown(sae)}{did_you_mean(sae, saes, 'SAEs')}"
                yield Problem(*locate(tree, (*path, "saes", side)), text, path)
        if None in pair or (given is not None and not pair):
            continue  # reported elsewhere
        if pair and pair[0] == pair[1]:
            yield Problem(
                *locate(tree, (*path, "saes", 1)), f"saes: a pair needs two, not {shown(pair[0])} twice", path
            )
            continue
        name = policy_name(pair or None)
        if name in seen:
            line, _ = locate(tree, ("topology", "policies", seen[name]))
            who = f"{pair[0]} and {pair[1]}" if pair else "all other pairs"
            where_text = f" in line {line}" if line else ""
            yield Problem(*locate(tree, path), f"saes: {who} have a policy already{where_text}", path)
        seen.setdefault(name, index)


def _links(links: Any, nodes: list[str], tree: Marked) -> Iterator[Problem]:
    taken: dict[str, int] = {}
    pairs: dict[frozenset[str], int] = {}
    for index, link in enumerate(links if isinstance(links, list) else []):
        path: Path = ("topology", "links", index)
        block = _mapping(link)
        given = block.get("endpoints")
        ends = [label_of(end) for end in given] if isinstance(given, list) and len(given) == 2 else []
        for side, end in enumerate(ends):
            if end is not None and end not in nodes:
                where = (*path, "endpoints", side)
                yield Problem(*locate(tree, where), f"endpoints[{side}]: {_no_node(end, nodes)}", path)
        known = [end for end in ends if end is not None]
        if len(known) != 2:
            continue
        first, second = known
        if first == second:
            text = f"endpoints: a link needs two different nodes, not {shown(first)} twice"
            yield Problem(*locate(tree, (*path, "endpoints", 1)), text, path)
            continue
        transmitter = label_of(block.get("transmitter"))
        if transmitter is not None and transmitter not in known:
            text = f"transmitter: {shown(transmitter)} is no end of this link ({first} or {second})"
            yield Problem(*locate(tree, (*path, "transmitter")), text, path)
        name = label_of(block.get("name"))
        if "name" in block and block["name"] is not None and name is None:
            continue  # not a label: reported as such
        yield from _identity(name, (first, second), index, tree, taken, pairs)


def _identity(
    name: str | None,
    ends: tuple[str, str],
    index: int,
    tree: Marked,
    taken: dict[str, int],
    pairs: dict[frozenset[str], int],
) -> Iterator[Problem]:
    """Yield what is wrong with a link's id, given those before it."""
    link_id = name or "-".join(ends)
    path: Path = ("topology", "links", index)
    place = locate(tree, (*path, "name") if name else path)
    if len(link_id) > LINK_ID_CHARS:
        hint = f"at most {LINK_ID_CHARS}" + ("" if name else "; give it a name")
        yield Problem(*place, f"link id {shown(link_id)} has {len(link_id)} characters ({hint})", path)
    elif name is None and frozenset(ends) in pairs:
        hint = f"the first is {_where(tree, pairs[frozenset(ends)])}"
        yield Problem(*place, f"a second link between {ends[0]} and {ends[1]} needs a name ({hint})", path)
    elif link_id in taken:
        where = _where(tree, taken[link_id])
        yield Problem(*place, f"link {shown(link_id)} is there already, {where} (give this one another name)", path)
    taken.setdefault(link_id, index)
    pairs.setdefault(frozenset(ends), index)


def _where(tree: Marked, index: int) -> str:
    line, _ = locate(tree, ("topology", "links", index))
    return f"in line {line}" if line else f"links[{index}]"


def _no_node(name: str, nodes: list[str]) -> str:
    return f"there is no node {shown(name)}{did_you_mean(name, nodes[:20], 'nodes')}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
