"""The pytest plugin in projects of its users: fixtures, reports of failures, options, xdist. Real testbeds."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from qnetem.testbed.launching import down, state_of

pytestmark = pytest.mark.timeout(300)
STRICT = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error")
AUTO = ("-o", "asyncio_mode=auto", *STRICT[2:])


@pytest.fixture
def project(pytester: pytest.Pytester, pair: dict[str, Any]) -> pytest.Pytester:
    """A project with the topology pair.yaml."""
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "pair.yaml").write_text(json.dumps(pair | {"seed": 7}))
    return pytester


def write(project: pytest.Pytester, text: str) -> None:
    """Write tests/test_it.py."""
    head = "import pytest\npytestmark = pytest.mark.topology('pair.yaml')\n"
    (project.path / "tests" / "test_it.py").write_text(head + re.sub(r"^ {8}", "", text, flags=re.MULTILINE))


def left_over(folder: Path) -> list[str]:
    """The command lines of processes of testbeds below a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command and "qnetem.testbed.supervisor" in command:
            found.append(command)
    return found


@pytest.mark.parametrize("mode", [STRICT, AUTO], ids=["strict", "auto"])
def test_every_fixture_gives_a_testbed_that_is_up_and_nothing_stays(
    project: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    mark = "@pytest.mark.asyncio\n        " if mode is STRICT else ""
    write(
        project,
        f"""
        from qnetem import SyncTestbed, Testbed

        {mark}async def test_own(testbed):
            assert isinstance(testbed, Testbed)
            await testbed.wait_in_service()
            (key,) = await testbed.eventually(lambda: testbed.sae("app-1").enc_keys("app-2"))
            assert await testbed.sae("app-2").dec_keys("app-1", [key.key_id]) == [key]

        def test_own_synchronous(testbed_sync):
            assert isinstance(testbed_sync, SyncTestbed)
            assert testbed_sync.seed == 7

        {mark}async def test_shared(testbed_session, request):
            request.config.pid = (await testbed_session.node("bob").status()).pid
            await testbed_session.link("alice-bob").set(extra_loss="3dB")
            await testbed_session.process("cc").pause()

        def test_shared_synchronous(testbed_session_sync, request):
            assert testbed_session_sync.node("bob").status().pid == request.config.pid
            assert testbed_session_sync.link("alice-bob").parameters()["quantum"]["settings"] == {{}}
            assert testbed_session_sync.process("cc").status().is_healthy

        @pytest.mark.topology({{"apiVersion": "qnetem/v1", "name": "other", "topology": {{
            "defaults": {{"profile": "decoy-bb84-1ghz-apd", "quantum": {{"length": "1km"}}}},
            "nodes": {{"a": {{}}, "b": {{}}}}, "links": [{{"endpoints": ["a", "b"]}}]}}}})
        def test_another_topology(testbed_session_sync):
            assert testbed_session_sync.links().keys() == {{"a-b"}}
    """,
    )
    result = project.runpytest_subprocess(*mode, "tests")
    result.assert_outcomes(passed=5)
    assert left_over(project.path) == []
    base = project.path.parent
    assert [path for path in base.rglob("keys.sqlite") if project.path.name in str(path)] == []


def test_a_failed_test_reports_how_to_run_it_again_links_events_and_logs(project: pytest.Pytester) -> None:
    write(
        project,
        """
        def test_it(testbed_sync):
            testbed_sync.wait_in_service()
            with testbed_sync.link("alice-bob").cut():
                testbed_sync.link("alice-bob").wait_for("DOWN")
                testbed_sync.node("bob").kill()
                testbed_sync.eventually(lambda: False, within="100ms", what="a miracle")
    """,
    )
    result = project.runpytest_subprocess(*STRICT, "--qnetem-artifacts", "saved", "--qnetem-seed", "11", "tests")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NotInTimeError: not within 100ms: a miracle",
            "*- qnetem testbed pair -*",
            "run again: python -m pytest tests/test_it.py::test_it --qnetem-seed 11*",
            "artifacts: * files in *saved/tests-test_it.py-test_it/pair",
            "*- qnetem testbed pair: links -*",
            "alice-bob: alice *",
            "*- qnetem testbed pair: events -*",
            "*link.fault.begun link_id=alice-bob*",
            "*- qnetem testbed pair: logs -*",
            "*link.state.changed link_id=alice-bob*",
        ]
    )
    # the places inside qnetem are no news to who wrote the test
    result.stdout.no_fnmatch_line("*def eventually*")
    saved = project.path / "saved" / "tests-test_it.py-test_it" / "pair"
    assert {"topology.yaml", "plan.json", "logs", "journals"} <= {path.name for path in saved.iterdir()}
    assert (saved / "journals" / "supervisor.jsonl").stat().st_size > 0
    assert not [path for path in saved.rglob("*") if path.name in ("secret", "config.json") or path.suffix == ".pem"]
    text = b"".join(path.read_bytes() for path in saved.rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in text
    assert b"device_secret" not in text
    assert b"deviceSecret" not in text
    assert left_over(project.path) == []


async def test_the_testbed_of_a_failed_test_is_left_up_and_that_of_a_passed_one_is_not(
    project: pytest.Pytester,
) -> None:
    write(
        project,
        """
        def test_bad(testbed_sync):
            assert testbed_sync.name == "bad"

        def test_good(testbed_sync):
            assert testbed_sync.name == "pair"
    """,
    )
    result = project.runpytest_subprocess(*STRICT, "--qnetem-keep", "tests")
    result.assert_outcomes(failed=1, passed=1)
    kept = re.findall(r"left up: qnetem inspect -t (\S+)", result.stdout.str())
    assert len(kept) == 1
    path = Path(kept[0])
    try:
        assert f"take down: qnetem down -t {path}" in result.stdout.str()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        launch = state_of(path).launch()
        assert launch is not None
        assert launch.is_running
    finally:
        assert await down(state_of(path))
        import shutil

        shutil.rmtree(path.parent)


def test_workers_of_xdist_have_testbeds_of_their_own(project: pytest.Pytester) -> None:
    write(
        project,
        """
        import time
        from pathlib import Path

        here = Path(__file__).parent

        @pytest.mark.parametrize("n", [0, 1])
        def test_both_are_up_at_the_same_time(testbed_sync, n):
            root = str(testbed_sync.layout.root)
            ports = sorted(one.listeners["metrics"] for one in testbed_sync.processes().values())
            (here / f"{n}.txt").write_text(f"{root} {ports}")
            other = here / f"{1 - n}.txt"
            testbed_sync.eventually(other.exists, within="60s")
            mine, its = (here / f"{n}.txt").read_text(), testbed_sync.eventually(other.read_text)
            assert not set(mine.split()) & set(its.split())
    """,
    )
    result = project.runpytest_subprocess(*STRICT, "-n", "2", "tests")
    result.assert_outcomes(passed=2)
    assert left_over(project.path) == []


def test_a_testbed_that_cannot_start_is_one_line(project: pytest.Pytester, pair: dict[str, Any]) -> None:
    (project.path / "tests" / "pair.yaml").write_text(json.dumps(pair).replace('"100kbit"', '"100 parsec"'))
    write(
        project,
        """
        def test_it(testbed_sync):
            pass

        @pytest.mark.topology("nowhere.yaml")
        def test_missing(testbed_session_sync):
            pass

        @pytest.mark.topology(7)
        def test_wrong(testbed_sync):
            pass

        @pytest.mark.asyncio
        async def test_asynchronous(testbed):
            pass
    """,
    )
    (project.path / "tests" / "test_unmarked.py").write_text("def test_it(testbed_sync): pass\n")
    result = project.runpytest_subprocess(*STRICT, "tests")
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(
        [
            "*pair.yaml:1:*'100 parsec' has the unknown unit 'parsec'*",
            "*nowhere.yaml: *",
            "@pytest.mark.topology takes one thing: a file beside the test, or a dict",
            'no topology: mark the test with @pytest.mark.topology("FILE") or a dict',
        ]
    )
    result.stdout.no_fnmatch_line("*qnetem/pytest_plugin/*")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--qnetem-runtime", "swarm"), "ERROR: --qnetem-runtime swarm: there are process and compose"),
        (("--qnetem-seed", "-1"), "ERROR: --qnetem-seed -1: not from 0 to 2^64 - 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_a_line(
    pytester: pytest.Pytester, options: tuple[str, ...], says: str
) -> None:
    result = pytester.runpytest_subprocess(*STRICT, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


def test_without_pytest_asyncio_the_asynchronous_fixtures_say_so(project: pytest.Pytester) -> None:
    write(
        project,
        """
        def test_own(testbed):
            pass

        def test_shared(testbed_session):
            pass
    """,
    )
    result = project.runpytest_subprocess("-p", "no:asyncio", "tests")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "the fixture `testbed` needs pytest-asyncio (`testbed_sync` does not)",
            "the fixture `testbed_session` needs pytest-asyncio (`testbed_session_sync` does not)",
        ]
    )


def test_a_project_without_testbeds_loads_nothing_of_qnetem_but_the_hooks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys
        def test_it():
            loaded = {name for name in sys.modules if name.startswith("qnetem.")}
            assert all(name.startswith("qnetem.pytest_plugin") for name in loaded), loaded
            assert not {"grpc", "numpy", "pydantic", "aiohttp", "yaml", "google.protobuf"} & sys.modules.keys()
    """)
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)
    assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") is None
