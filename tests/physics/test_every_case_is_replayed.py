"""Each listed case is replayed by exactly one test module, which says so in its REPLAYED.

A statistical one is measured on what runs.
"""

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parent
CASES: Final = {case["id"]: case for case in json.loads((FOLDER / "physics-cases.json").read_text())["cases"]}
MODULES: Final = sorted(path for path in FOLDER.glob("test_*.py") if re.search(r"^REPLAYED\b", path.read_text(), re.M))
# where a channel process runs, and is asked over its sockets
RUNNING: Final = ("test_channel_cases_running", "test_channel_chains_running")


def claims(path: Path) -> set[str]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return set(module.REPLAYED)


def names(path: Path) -> Iterator[re.Pattern[str]]:
    """What a module names outside its REPLAYED: a case, the beginning of some, or a form with places to fill."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "REPLAYED":
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.JoinedStr):
                words = [part.value if isinstance(part, ast.Constant) else "" for part in node.values]
                # a form that is all places names nothing
                if len("".join(words)) > 3:
                    yield re.compile("".join(re.escape(word) if word else ".*" for word in words))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 3:
                yield re.compile(re.escape(node.value) + (".*" if node.value.endswith("-") else ""))


def test_each_case_is_claimed_by_one_module() -> None:
    assert sorted(case for path in MODULES for case in claims(path)) == sorted(CASES)


def test_the_statistical_cases_are_measured_on_what_runs() -> None:
    statistical = {case for case, body in CASES.items() if body["kind"] not in ("analytic", "range")}
    assert {case for name in RUNNING for case in claims(FOLDER / f"{name}.py")} == statistical


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_claimed_case_is_named_where_it_is_used(path: Path) -> None:
    used = list(names(path))
    assert {case for case in claims(path) if not any(form.fullmatch(case) for form in used)} == set()
