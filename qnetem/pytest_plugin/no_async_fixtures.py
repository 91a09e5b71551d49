"""qnetem.pytest_plugin.no_async_fixtures: why there are no asynchronous testbeds without pytest-asyncio. Wiring."""

from typing import NoReturn

import pytest

__all__ = ["testbed", "testbed_session"]


@pytest.fixture
def testbed() -> NoReturn:
    """Refuse."""
    pytest.fail("the fixture `testbed` needs pytest-asyncio (`testbed_sync` does not)", pytrace=False)


@pytest.fixture
def testbed_session() -> NoReturn:
    """Refuse."""
    pytest.fail("the fixture `testbed_session` needs pytest-asyncio (`testbed_session_sync` does not)", pytrace=False)
