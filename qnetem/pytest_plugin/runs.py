"""qnetem.pytest_plugin.runs: which testbed a test wants, and where it lies. Wiring."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from qnetem.testbed.api.testbed import Testbed
    from qnetem.testbed.state import State

__all__ = ["FAILED", "RUNS", "Run", "begun", "refused_as_one_line", "rerun_line", "run_of", "source_of"]

Source = Path | Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A testbed of a test, in a folder of its own."""

    testbed: "Testbed"
    folder: Path
    is_kept: bool

    @property
    def path(self) -> Path:
        """Its topology file."""
        return self.folder / f"{self.testbed.name}.yaml"

    @property
    def state(self) -> "State":
        """Its state."""
        from qnetem.testbed.state import State

        return State.beside(self.path, self.testbed.name)

    def remove(self) -> None:
        """Delete its folder, with the keys in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


# the testbeds of a test, for its report; whether it has failed
RUNS: Final = pytest.StashKey[list[Run]]()
FAILED: Final = pytest.StashKey[bool]()


def source_of(item: pytest.Item) -> Source:
    """Return the topology that the marker of a test names: an absolute path, or a dict."""
    marker = item.get_closest_marker("topology")
    if marker is None:
        pytest.fail('no topology: mark the test with @pytest.mark.topology("FILE") or a dict', pytrace=False)
    if len(marker.args) != 1 or marker.kwargs or not isinstance(marker.args[0], str | Path | Mapping):
        pytest.fail("@pytest.mark.topology takes one thing: a file beside the test, or a dict", pytrace=False)
    given = marker.args[0]
    return given if isinstance(given, Mapping) else item.path.parent / given


@contextmanager
def refused_as_one_line() -> Iterator[None]:
    """Fail the test with the line that our error is, without where it was raised."""
    from qnetem.runtime.errors import QnetemError

    try:
        yield
    except QnetemError as error:
        pytest.fail(str(error), pytrace=False)


def run_of(source: Source, config: pytest.Config, folders: pytest.TempPathFactory, *, is_kept: bool) -> Run:
    """Return a testbed that is not up yet, in a new folder below pytest's own (each worker of xdist has one).

    One that may be kept lies elsewhere: pytest deletes its folders some runs later.
    """
    from qnetem.testbed.api.testbed import Testbed

    folder = Path(tempfile.mkdtemp(prefix="qnetem-")) if is_kept else folders.mktemp("qnetem")
    make: Any = Testbed.from_dict if isinstance(source, Mapping) else Testbed.from_file
    with refused_as_one_line():
        testbed = make(
            source,
            folder=folder,
            seed=config.getoption("--qnetem-seed"),
            keep=is_kept,
            runtime=config.getoption("--qnetem-runtime"),
        )
    return Run(testbed, folder, is_kept)


def begun(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Run:
    """Return the testbed that the marker of a test asks for, and have the test report on it."""
    is_kept = bool(request.config.getoption("--qnetem-keep"))
    run = run_of(source_of(request.node), request.config, folders, is_kept=is_kept)
    request.node.stash.setdefault(RUNS, []).append(run)
    return run


def rerun_line(item: pytest.Item, seed: int) -> str:
    """Return the command that runs a test again with the same seed, from where pytest was called."""
    file = os.path.relpath(item.path, item.config.invocation_params.dir)
    nodeid = "::".join([file, *item.nodeid.split("::")[1:]])
    runtime = item.config.getoption("--qnetem-runtime")
    where = "" if runtime == "process" else f" --qnetem-runtime {runtime}"
    return f"python -m pytest {shlex.quote(nodeid)} --qnetem-seed {seed}{where}"
