"""The verbs: all documented, all with help, quick to answer."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from qnetem import __version__
from qnetem.cli.__main__ import main
from qnetem.cli.app import app

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
# what only a verb that does something may load
HEAVY = ("grpc", "numpy", "rich", "yaml", "aiohttp", "numba", "cryptography", "asyncio", "networkx")


def verbs(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [path]
    return [verb for name, child in children.items() for verb in verbs(child, (*path, name))]


ALL = verbs(typer.main.get_command(app))


def test_the_verbs_are_those_of_the_first_release() -> None:
    assert {" ".join(verb) for verb in ALL} == {
        *("init", "validate", "render", "schema", "up", "down"),
        *("inspect", "graph", "logs", "events", "exec", "doctor", "collect"),
        "version",
        *("start", "stop", "restart", "kill", "pause", "resume", "disconnect", "connect"),
        *("link set", "link show", "link reset", "link down", "link up"),
        *("eve attach", "eve detach", "eve list", "plan", "check physics"),
        *("keys get", "keys status", "sae export", "import"),
        *("keys rotate-storage-key", "keys provision", "audit verify", "audit trace"),
        *("paths list", "paths install", "compose", "kubernetes"),
    }


@pytest.mark.parametrize("verb", ALL, ids=" ".join)
def test_a_verb_is_documented_by_an_example(verb: tuple[str, ...]) -> None:
    assert re.search(rf"^\$ qnetem {' '.join(verb)}\b", DOCS.read_text(), re.MULTILINE)


def test_the_documentation_names_no_verb_that_is_not_there() -> None:
    known = {" ".join(verb) for verb in ALL}
    for words in re.findall(r"^\$ qnetem (\S+)(?: (\S+))?", DOCS.read_text(), re.MULTILINE):
        assert words[0] in known or " ".join(words) in known, words


def test_every_option_in_the_documentation_is_there() -> None:
    for line in re.findall(r"^\$ qnetem ([^#\n>]*)", DOCS.read_text(), re.MULTILINE):
        words = re.split(r" -- | \| ", line)[0].split()  # what follows is another program's
        path = tuple(words[:2]) if tuple(words[:2]) in ALL else tuple(words[:1])
        command: Any = typer.main.get_command(app)
        for name in path:
            command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= options, line


@pytest.mark.parametrize("verb", ALL, ids=" ".join)
def test_a_verb_has_help(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: qnetem {' '.join(verb)} ")
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["upp"], "No such command 'upp'"),
        (["inspect", "--nope"], "No such option: --nope"),
        (["kill"], "Missing argument 'NAME...'"),
        (["inspect", "-f", "xml"], "xml"),
        (["logs", "-n", "-1"], "'-n'"),
        (["up", "--timeout", "90", "-t", "no-such-file.yaml"], "'90' has no unit"),
        (["keys", "get", "app-1"], "either SLAVE"),
        (["keys", "get", "app-1", "app-2", "--id", "x"], "--id goes with --from"),
        (["keys", "get", "app-1", "--from", "app-2"], "--from needs --id"),
    ],
)
def test_a_wrong_command_line_is_bad_input(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("qnetem: ")
    assert why in err
    assert err.count("\n") == 1


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"qnetem {__version__}\n"


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["up", "--help"]], ids=" ".join)
def test_what_does_nothing_loads_nothing(arguments: list[str]) -> None:
    code = (
        "import sys; from qnetem.cli.__main__ import main; code = main(sys.argv[1:]); "
        "print('LOADED', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env={**os.environ}
    )
    loaded = set(run.stderr.split("LOADED", 1)[1].split())
    assert "qnetem.cli.__main__" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [[], ["link"], ["keys"], ["sae"]], ids=" ".join)
def test_without_a_verb_there_is_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: ")
    assert err == ""
