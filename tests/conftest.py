"""Fixtures that every part of the suite uses."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from qnetem.runtime import identity, pki
from qnetem.runtime.rpc import Credentials
from qnetem.v1 import process_pb2

TESTBED = "lab"

# no test asserts how long anything takes, and all draw the same examples every time
settings.register_profile("qnetem", deadline=None, derandomize=True)
settings.load_profile("qnetem")


@pytest.fixture(scope="session")
def authority() -> pki.Authority:
    """The authority of the testbed `lab`."""
    return pki.create_authority(TESTBED)


@pytest.fixture
def credentials_of(authority: pki.Authority) -> Callable[..., Credentials]:
    """Issue credentials in memory: credentials_of("node", "alice")."""

    def issue(kind: identity.Kind, name: str, testbed: str = TESTBED) -> Credentials:
        issued = authority.issue(identity.uri(testbed, kind, name), [identity.dns_name(testbed, kind, name)])
        return Credentials(issued.certificate, issued.key, authority.pem.certificate)

    return issue


@pytest.fixture
def credential_paths_of(authority: pki.Authority, tmp_path: Path) -> Callable[..., process_pb2.CredentialPaths]:
    """Issue credentials as files: credential_paths_of("node", "alice")."""

    def issue(kind: identity.Kind, name: str, testbed: str = TESTBED) -> process_pb2.CredentialPaths:
        folder = tmp_path / "pki"
        folder.mkdir(exist_ok=True)
        ca = folder / "ca.pem"
        if not ca.exists():
            pki.write_private(ca, authority.pem.certificate)
        issued = authority.issue(identity.uri(testbed, kind, name), [identity.dns_name(testbed, kind, name)])
        return pki.write_credentials(folder, issued, ca, f"{kind}-{name}-")

    return issue


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a port that nothing listens on now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="qn-") as folder:
        yield Path(folder)
