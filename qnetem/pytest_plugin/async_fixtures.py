"""qnetem.pytest_plugin.async_fixtures: testbeds for asynchronous tests, where pytest-asyncio is. Wiring."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from qnetem.pytest_plugin.runs import FAILED, Run, begun, refused_as_one_line

if TYPE_CHECKING:
    from qnetem.testbed.api.testbed import Testbed

__all__ = ["testbed", "testbed_session"]


@pytest_asyncio.fixture
async def testbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "AsyncIterator[Testbed]":
    """The testbed of the test's topology, up while the test runs."""
    run = begun(request, tmp_path_factory)
    with refused_as_one_line():
        await run.testbed.up()
    async with run.testbed:
        yield run.testbed
        if run.is_kept and request.node.stash.get(FAILED, False):
            return
        await run.testbed.down()
    run.remove()


@pytest_asyncio.fixture
async def testbed_session(qnetem_session_run: Run) -> "AsyncIterator[Testbed]":
    """One testbed for all tests of a topology; what a test has done to it is taken back after the test."""
    from qnetem.testbed.api.testbed import Testbed

    async with Testbed.from_file(qnetem_session_run.path, keep=True) as testbed:
        yield testbed
        await testbed.heal()
