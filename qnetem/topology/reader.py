"""qnetem.topology.reader: files, texts and dicts become topologies, or one error that names all that is wrong. Edge."""

import functools
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnetem.topology.errors import Path as FieldPath
from qnetem.topology.errors import Problem, TopologyError
from qnetem.topology.model import Series, Topology

if TYPE_CHECKING:
    from qnetem.topology.schema import File

__all__ = ["find_default", "from_dict", "json_schema", "load", "parse"]

# pydantic, PyYAML and the wire's messages are imported where they are used: importing this costs nothing.

_LONGEST_BYTES: Final = 2**20
_IS_TOPOLOGY: Final = re.compile(r"^apiVersion\s*:\s*[\"']?qnetem/(?s:.*)^topology\s*:", re.MULTILINE)


def load(path: str | Path) -> Topology:
    """Return the topology in a file.

    Raises:
        TopologyError: The file cannot be read, or something in it is wrong.
    """
    source = str(path)
    text = _text(Path(path), source)
    return replace(parse(text, source, Path(path).parent), path=Path(path).resolve())


def parse(text: str, name: str = "<text>", folder: Path | None = None) -> Topology:
    """Return the topology that a text describes.

    Args:
        text: The topology.
        name: Stands for the file in errors.
        folder: Where files lie that it names; None: the working folder.

    Raises:
        TopologyError: Something in it, or in a file that it names, is wrong.
    """
    from qnetem.topology.markers import read

    if len(text) > _LONGEST_BYTES:
        raise TopologyError.of(_one_line(name), [Problem(0, 0, f"longer than {_LONGEST_BYTES} characters")])
    tree, problems = read(text)
    if tree is None:
        raise TopologyError.of(_one_line(name), problems)
    return _topology(tree, problems, _one_line(name), folder)


def from_dict(content: Mapping[str, Any], name: str = "<dict>") -> Topology:
    """Return the topology that a mapping of the file's shape describes. Errors name paths. Raises TopologyError."""
    from qnetem.topology.markers import from_plain

    try:
        tree = from_plain(dict(content))
    except ValueError as error:
        raise TopologyError.of(_one_line(name), [Problem(0, 0, str(error))]) from None
    return _topology(tree, [], _one_line(name), None)


def find_default(folder: str | Path) -> Path:
    """Return the one topology file in a folder.

    Raises:
        TopologyError: There is none, or several.
    """
    folder = Path(folder)
    source = _one_line(str(folder))
    try:
        candidates = sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except OSError as error:
        raise TopologyError.of(source, [Problem(0, 0, f"cannot be read: {error.strerror}")]) from None
    found = [each for each in candidates if _is_topology(each)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise TopologyError.of(source, [Problem(0, 0, "no topology here (`qnetem init` makes one, -t FILE names one)")])
    names = ", ".join(each.name for each in found)
    raise TopologyError.of(source, [Problem(0, 0, f"several topologies here: {names} (name one with -t FILE)")])


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a topology file, for editors. It knows shapes and units; `parse` knows the rest."""
    schema: dict[str, Any] = _trimmed(_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "qnetem topology", **schema}


@functools.cache
def _schema() -> dict[str, Any]:
    from qnetem.topology.schema import File

    return File.model_json_schema()


def _trimmed(schema: Any) -> Any:
    """Return a schema without pydantic's titles and defaults that no file would say, and closed to other names."""
    if isinstance(schema, list):
        return [_trimmed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _trimmed(each) for name, each in value.items()}
        elif not (key == "title" or (key == "default" and (value is None or isinstance(value, dict)))):
            kept[key] = _trimmed(value)
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def _topology(tree: Any, problems: list[Problem], source: str, folder: Path | None) -> Topology:
    """Return the topology of a tree of values; raises TopologyError with `problems` and all that are found here."""
    from pydantic import ValidationError

    from qnetem.topology.complaints import complaints
    from qnetem.topology.digests import digest
    from qnetem.topology.markers import plain
    from qnetem.topology.references import reference_problems
    from qnetem.topology.resolve import resolved
    from qnetem.topology.schema import File

    data = plain(tree)
    file: File | None = None
    wrong: list[FieldPath] = []
    try:
        file = File.model_validate(data)
    except ValidationError as error:
        for path, problem in complaints(error, tree, _schema()):
            wrong.append(path)
            problems.append(problem)
    problems += reference_problems(data, tree)
    problems += _link_problems(file, data, tree, wrong)
    series = _series(file, tree, folder or Path(), problems) if file is not None else {}
    if problems or file is None:
        raise TopologyError.of(source, problems)
    topology = resolved(file, series)
    return replace(topology, digest=digest(topology))


def _link_problems(file: "File | None", data: Any, tree: Any, wrong: list[FieldPath]) -> list[Problem]:
    """Return what is wrong with each link whose values, and whose defaults', are right one by one."""
    from qnetem.topology.resolve import link_problems
    from qnetem.topology.schema import DefaultsBlock, LinkBlock

    if file is not None:
        defaults = file.topology.defaults
        links = dict(enumerate(file.topology.links))
    else:
        network = data.get("topology") if isinstance(data, dict) else None
        if not isinstance(network, dict) or not isinstance(network.get("links"), list):
            return []
        if any(path[:2] == ("topology", "defaults") for path in wrong):
            return []
        defaults = DefaultsBlock.model_validate(network.get("defaults"))
        bad = {path[:3] for path in wrong}
        links = {
            index: LinkBlock.model_validate(link)
            for index, link in enumerate(network["links"])
            if ("topology", "links", index) not in bad
        }
    problems: list[Problem] = []
    for index, link in links.items():
        problems += link_problems(link, defaults, ("topology", "links", index), tree)
    return problems


def _series(file: "File", tree: Any, folder: Path, problems: list[Problem]) -> dict[int, tuple[Series, ...]]:
    """Return the series of each link that has some, by its index; adds what is wrong with them to `problems`."""
    from qnetem.topology.markers import locate
    from qnetem.topology.series import LONGEST, columns, read_csv, series_of

    found: dict[int, tuple[Series, ...]] = {}
    count = 0
    for index, link in enumerate(file.topology.links):
        if link.series is None:
            continue
        path: FieldPath = ("topology", "links", index, "series")
        name = link.series.file
        table = columns(link.series.table())
        if name is not None:
            try:
                table, wrong = read_csv(_text(folder / name, str(folder / name)), _one_line(name))
            except TopologyError as error:
                text = error.problems[0].text
                wrong = [Problem(*locate(tree, (*path, "file")), f"file: {_one_line(name)}: {text}", path)]
            problems += wrong
            if wrong:
                continue
        count += sum(len(column) for column in table.values())
        if count > LONGEST:
            text = f"the series of all links hold more than {LONGEST} values"
            problems.append(Problem(*locate(tree, path), text, path))
            break
        found[index] = series_of(table, is_repeating=link.series.repeat)
    return found


def _text(path: Path, source: str) -> str:
    """Return a file's text. Raises TopologyError."""

    def refuse(text: str) -> TopologyError:
        return TopologyError.of(_one_line(source), [Problem(0, 0, text)])

    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise refuse("is a folder, not a topology file")
        if not stat.S_ISREG(status.st_mode):
            raise refuse("is not a regular file")
        with path.open("rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    except FileNotFoundError:
        raise refuse("no such file") from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL in the name.
        raise refuse(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > _LONGEST_BYTES:
        raise refuse(f"longer than {_LONGEST_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"not a text file: byte {error.start} is not UTF-8") from None


def _is_topology(path: Path) -> bool:
    try:
        return _IS_TOPOLOGY.search(_text(path, str(path))) is not None
    except TopologyError:
        return False


def _one_line(name: str) -> str:
    """Return a file's name as it may stand in a one-line error."""
    return name if name.isprintable() else ascii(name)[1:-1]
