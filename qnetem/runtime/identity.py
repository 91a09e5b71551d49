"""qnetem.runtime.identity: the names a party goes by in certificates. Pure."""

from typing import Final, Literal

__all__ = ["Kind", "dns_name", "party_of", "uri"]

Kind = Literal["node", "quantum-channel", "classical-channel", "controller", "operator", "sae", "broker"]
_SCHEME: Final = "spiffe://"


def uri(testbed: str, kind: Kind, name: str) -> str:
    """Return the SPIFFE URI by which servers authorise the party."""
    return f"{_SCHEME}{testbed}/{kind}/{name}"


def dns_name(testbed: str, kind: Kind, name: str) -> str:
    """Return the DNS name that a dialler expects in the party's certificate, whatever address it dials."""
    return f"{name}.{kind}.{testbed}.qnetem.internal"


def party_of(party_uri: str) -> tuple[str, str, str] | None:
    """Return (testbed, kind, name) of a party's URI; None when it is not one of ours."""
    if not party_uri.startswith(_SCHEME):
        return None
    parts = party_uri[len(_SCHEME) :].split("/")
    if len(parts) != 3 or not all(parts):
        return None
    return parts[0], parts[1], parts[2]
