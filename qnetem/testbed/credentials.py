"""qnetem.testbed.credentials: certificates, keys and MQTT passwords of all parties, made when missing. Edge."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qnetem.runtime import identity
from qnetem.runtime.errors import StorageError
from qnetem.runtime.pki import Authority, create_authority, load_authority
from qnetem.testbed.addresses import HOST
from qnetem.testbed.layout import Layout
from qnetem.testbed.mosquitto_files import password_line
from qnetem.testbed.plan import CONTROLLER, KINDS, ProcessPlan
from qnetem.testbed.state import write_quickly
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = ["ADMIN", "MQTT_OPERATOR", "SUPERVISOR", "make_missing"]

# names of the operators: the supervisor itself, and who works at the command line
SUPERVISOR: Final = "supervisor"
ADMIN: Final = "admin"
MQTT_OPERATOR: Final = "operator"
# a party is dialled by its bare name where each has a host of its own
_LOCAL: Final = ("localhost",)
_SALT_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class _Party:
    kind: identity.Kind
    name: str
    prefix: str = ""
    # only where a client goes by host names
    is_local: bool = False


def make_missing(layout: Layout, topology: Topology, processes: Mapping[str, ProcessPlan]) -> None:
    """Make what is missing of the authority, the certificates and the MQTT passwords below `layout`.

    Raises:
        StartError: The authority that is there cannot be used.
        StorageError: A file cannot be written.
    """
    try:
        parties = list(_parties(topology, processes))
        absent = [party for party in parties if not _is_there(layout, party)]
        if absent:
            authority = _authority(layout, topology.name)
            for party in absent:
                _issue(layout, topology.name, authority, party)
        if topology.has_broker:
            _write_users(layout, topology.telemetry.broker, (*processes, MQTT_OPERATOR))
    except OSError as error:
        raise StorageError(f"{error.filename or layout.pki}: {error.strerror}") from error


def _parties(topology: Topology, processes: Mapping[str, ProcessPlan]) -> Iterator[_Party]:
    for plan in processes.values():
        yield _Party(KINDS[plan.kind], plan.name, is_local=plan.kind == process_pb2.PROCESS_KIND_BROKER)
        if plan.kind == process_pb2.PROCESS_KIND_NODE:
            yield _Party("node", plan.name, prefix="https-", is_local=True)
    if topology.control_plane.kind == "external":
        yield _Party("controller", CONTROLLER)
    for sae in topology.saes:
        yield _Party("sae", sae)
    for operator in (SUPERVISOR, ADMIN):
        yield _Party("operator", operator)


def _is_there(layout: Layout, party: _Party) -> bool:
    paths = layout.credentials(party.kind, party.name, party.prefix)
    return _has_content(Path(paths.certificate_path)) and _has_content(Path(paths.key_path))


def _has_content(path: Path) -> bool:
    # a crash of the machine can leave a file empty
    return path.exists() and path.stat().st_size > 0


def _authority(layout: Layout, testbed: str) -> Authority:
    if not _has_content(layout.authority) or not _has_content(layout.authority_key):
        authority = create_authority(testbed)
        write_quickly(layout.authority_key, authority.pem.key)
        write_quickly(layout.authority, authority.pem.certificate)
        return authority
    return load_authority(layout.authority, layout.authority_key)


def _issue(layout: Layout, testbed: str, authority: Authority, party: _Party) -> None:
    dns_names = () if party.kind in ("sae", "operator") else (identity.dns_name(testbed, party.kind, party.name),)
    issued = authority.issue(
        identity.uri(testbed, party.kind, party.name),
        (*dns_names, *_LOCAL, party.name) if party.is_local else dns_names,
        (HOST,) if party.is_local else (),
        common_name=party.name,
    )
    folder = layout.party(party.kind, party.name)
    _make_folders(folder.parent, folder)
    paths = layout.credentials(party.kind, party.name, party.prefix)
    write_quickly(Path(paths.key_path), issued.key)
    write_quickly(Path(paths.certificate_path), issued.certificate)


def _make_folders(*folders: Path) -> None:
    for folder in folders:  # not parents=True, which gives the outer ones the mode that the umask leaves
        folder.mkdir(mode=0o700, exist_ok=True)


def _write_users(layout: Layout, broker: str, usernames: Iterable[str]) -> None:
    lines = []
    for username in usernames:
        path = layout.mqtt_password(username)
        if not _has_content(path):
            _make_folders(path.parent)
            write_quickly(path, secrets.token_urlsafe(24).encode())
        password = path.read_text().strip()
        if broker == "mosquitto":
            lines.append(password_line(username, password, secrets.token_bytes(_SALT_BYTES)))
        else:
            lines.append(f"{username}:{hashlib.sha256(password.encode()).hexdigest()}")
    write_quickly(layout.mqtt_users(broker), ("\n".join(lines) + "\n").encode())
