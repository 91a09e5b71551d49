"""qnetem.pytest_plugin.fixtures: testbeds for synchronous tests, and those that last as long as the session. Wiring."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from qnetem.pytest_plugin.runs import FAILED, RUNS, Run, begun, refused_as_one_line, source_of

if TYPE_CHECKING:
    from qnetem.pytest_plugin.pool import Pool
    from qnetem.testbed.api.sync import SyncTestbed

__all__ = ["qnetem_pool", "qnetem_session_run", "testbed_session_sync", "testbed_sync"]


@pytest.fixture
def testbed_sync(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SyncTestbed]":
    """The testbed of the test's topology, up while the test runs; as `SyncTestbed`."""
    from qnetem.testbed.api.sync import SyncTestbed

    run = begun(request, tmp_path_factory)
    testbed = SyncTestbed(run.testbed)
    with refused_as_one_line():
        testbed.up()
    with testbed:
        yield testbed
        if run.is_kept and request.node.stash.get(FAILED, False):
            return
        testbed.down()
    run.remove()


@pytest.fixture(scope="session")
def qnetem_pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Pool]":
    """The testbeds that last as long as the session."""
    from qnetem.pytest_plugin.pool import Pool

    pool = Pool(request.config, tmp_path_factory)
    yield pool
    pool.close()


@pytest.fixture
def qnetem_session_run(request: pytest.FixtureRequest, qnetem_pool: "Pool") -> Run:
    """The session's testbed of the test's topology, which is up."""
    with refused_as_one_line():
        run = qnetem_pool.run(source_of(request.node))
    request.node.stash.setdefault(RUNS, []).append(run)
    return run


@pytest.fixture
def testbed_session_sync(qnetem_session_run: Run) -> "Iterator[SyncTestbed]":
    """One testbed for all tests of a topology; what a test has done to it is taken back after the test."""
    from qnetem.testbed.api.sync import SyncTestbed

    with SyncTestbed.from_file(qnetem_session_run.path, keep=True) as testbed:
        yield testbed
        testbed.heal()
