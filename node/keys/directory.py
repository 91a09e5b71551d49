"""node.keys.directory: which SAE is attached to which KME, as one KME knows it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qnetem.runtime.errors import DeniedError
from qnetem.runtime.identity import party_of

__all__ = ["Directory"]


@dataclass(frozen=True, slots=True)
class Directory:
    """The SAEs of the testbed, seen from one KME.

    Attributes:
        testbed: Its name, part of every identity.
        own_node: The node of this KME.
        places: The node of every SAE, by SAE id.
        neighbours: The nodes that this one has a quantum link with.
    """

    testbed: str
    own_node: str
    places: Mapping[str, str]
    neighbours: frozenset[str]

    def is_attached(self, sae_id: str) -> bool:
        """Return whether the SAE is attached to this KME."""
        return self.places.get(sae_id) == self.own_node

    def remote_nodes(self, sae_ids: Iterable[str]) -> list[str]:
        """Return the other KMEs that the (known) SAEs are attached to, each once, sorted."""
        return sorted({self.places[sae_id] for sae_id in sae_ids} - {self.own_node})

    def name_of(self, uri: str, kind: str) -> str | None:
        """Return the name of a party of this testbed and kind; None when the URI is another's."""
        party = party_of(uri)
        return party[2] if party is not None and party[:2] == (self.testbed, kind) else None

    def neighbour_of(self, uri: str) -> str:
        """Return the name of the neighbour that has an identity.

        Raises:
            DeniedError: It is none.
        """
        name = self.name_of(uri, "node")
        if name is None or name not in self.neighbours:
            raise DeniedError(f"{uri} is no neighbour of {self.own_node}")
        return name
