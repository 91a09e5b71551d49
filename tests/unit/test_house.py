"""The house in order: whose packages these are, what each file says of itself, what is not in it."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
FILES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if (ROOT / "qnetem" / "v1") not in path.parents
)
KINDS = re.compile(r"\b(Pure|Edge|Wiring)\b")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_ours_and_not_one_of_that_name_from_elsewhere(package: str) -> None:
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).is_relative_to(ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_says_its_room_and_kind_first(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__").removesuffix(".__main__")
    text = path.read_text()
    assert text.startswith(f'"""{module}: '), f"{path} does not begin with its name"
    if path.name != "__init__.py":
        assert KINDS.search(text[: text.index('"""', 3)]), f"{path} says neither Pure nor Edge nor Wiring"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_files_touch_no_clock_no_socket_and_no_generator(path: Path) -> None:
    text = path.read_text()
    match = KINDS.search(text[: text.index('"""', 3)])
    if match is None or match.group() != "Pure":
        return
    used = re.findall(r"^(?:import|from) (asyncio|grpc|time|random|socket|subprocess)\b", text, re.MULTILINE)
    assert not used, f"{path} is pure and imports {used}"


def test_no_file_has_grown_into_two() -> None:
    long = {str(path.relative_to(ROOT)): n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long
