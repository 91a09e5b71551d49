"""Fixtures that every part of the suite uses."""

import os
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


# testbeds of containers take their time to start and to end
CONTAINERS_TIMEOUT_S = 600


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known; have testbeds that tests make themselves run as those of the plugin."""
    config.addinivalue_line(
        "markers", "processes(reason): not for testbeds of containers (QNETEM_RUNTIME=compose), and why"
    )
    if config.getoption("--qnetem-runtime") != "process":
        os.environ["QNETEM_RUNTIME"] = config.getoption("--qnetem-runtime")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With containers, skip what needs processes, and be patient."""
    if config.getoption("--qnetem-runtime") == "process":
        return
    for item in items:
        item.add_marker(pytest.mark.timeout(CONTAINERS_TIMEOUT_S))
        for marker in item.iter_markers("processes"):
            (reason,) = marker.args
            item.add_marker(pytest.mark.skip(reason=f"needs the process runtime: {reason}"))


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
