"""qnetem.pytest_plugin.hooks: options, the marker `topology`, and what a failed test reports. Wiring.

pytest loads this in every project that has qnetem installed: it imports nothing of qnetem before a fixture is used.
"""

import os
from collections.abc import Generator

import pytest

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("qnetem", "testbeds of quantum networks")
    group.addoption(
        "--qnetem-runtime",
        metavar="NAME",
        default=os.environ.get("QNETEM_RUNTIME") or "process",
        help="How testbeds run: process or compose; default: as QNETEM_RUNTIME says, else process.",
    )
    group.addoption("--qnetem-seed", metavar="N", type=int, help="Run seed instead of the topologies' own.")
    group.addoption(
        "--qnetem-keep", action="store_true", help="Leave the testbed of a failed test running, for a look at it."
    )
    group.addoption("--qnetem-artifacts", metavar="DIR", help="Copy logs and journals of failed tests here.")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, make the marker known, bring the fixtures in."""
    config.addinivalue_line("markers", "topology(source): topology file beside the test, or a dict, of its testbed")
    if (runtime := config.getoption("--qnetem-runtime")) not in ("process", "compose"):
        raise pytest.UsageError(f"--qnetem-runtime {runtime}: there are process and compose")
    if (seed := config.getoption("--qnetem-seed")) is not None and not 0 <= seed < 2**64:
        raise pytest.UsageError(f"--qnetem-seed {seed}: not from 0 to 2^64 - 1")
    from qnetem.pytest_plugin import fixtures

    config.pluginmanager.register(fixtures, "qnetem-fixtures")
    if config.pluginmanager.hasplugin("asyncio"):
        from qnetem.pytest_plugin import async_fixtures

        config.pluginmanager.register(async_fixtures, "qnetem-async-fixtures")
    else:
        from qnetem.pytest_plugin import no_async_fixtures

        config.pluginmanager.register(no_async_fixtures, "qnetem-async-fixtures")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what its testbeds tell."""
    report = yield
    if report.failed and report.when != "teardown":
        from qnetem.pytest_plugin.failures import add_sections

        add_sections(item, report)
    return report
