"""qnetem.topology.errors: what is wrong with a topology file, each problem at its place. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from qnetem.runtime.errors import BadInputError
from qnetem.topology.words import word

__all__ = ["Path", "Problem", "TopologyError", "path_text"]

_TOLD: Final = 100

# Keys and list indices that lead from the root of the file to a value.
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 where there is no text to point into.

    `source` is another file than the topology itself, one that it names.
    """

    line: int
    column: int
    text: str
    path: Path = ()
    source: str = ""

    def render(self, source: str) -> str:
        """Return the one line that tells a user: `file:line:column: what (hint)`."""
        source = self.source or source
        if self.line and self.column:
            return f"{source}:{self.line}:{self.column}: {self.text}"
        if self.line:
            return f"{source}:{self.line}: {self.text}"
        return f"{source}: {path_text(self.path)}: {self.text}" if self.path else f"{source}: {self.text}"


class TopologyError(BadInputError):
    """A topology cannot be used. The text has one line per problem, in the order of the file.

    `problems` is empty where the error came over the wire, as text.
    """

    reason: ClassVar[str] = "BAD_TOPOLOGY"

    def __init__(self, text: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, source: str, problems: Iterable[Problem]) -> "TopologyError":
        """Return the error that tells of problems in a source, sorted; the text ends after the first hundred."""
        # Two lines that read the same are one problem: an alias shows its block to every link that uses it.
        lines = {problem.render(source): problem for problem in problems}
        ordered = sorted(lines, key=lambda line: (lines[line].source, lines[line].line, lines[line].column))
        rest = [f"{source}: and {len(ordered) - _TOLD} more"] if len(ordered) > _TOLD else []
        return cls("\n".join(ordered[:_TOLD] + rest), [lines[line] for line in ordered])


def path_text(path: Path) -> str:
    """Return a path as a user writes it: `topology.links[0].quantum`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{word(step)}" for step in path)
    return text.removeprefix(".")
