"""qnetem.runtime.log: structured log lines, JSON on standard error. Edge.

An event has a constant name and fields beside it. No secret is ever a field.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

__all__ = ["Logger", "configure", "get_logger"]

Field = str | int | float | bool | None | list[str]


class Logger:
    """Writes events of one room."""

    def __init__(self, room: str) -> None:
        """Log under the name `room`."""
        self._logger = logging.getLogger(f"qnetem.{room}")

    def debug(self, event: str, **fields: Field) -> None:
        """Log what only a developer wants to see."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: Field) -> None:
        """Log what happened."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Field) -> None:
        """Log what should not have happened and was dealt with."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Field) -> None:
        """Log what went wrong and stays so."""
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, **fields: Field) -> None:
        """Log an error with the places of the exception in hand; its values, which could be secrets, stay out."""
        error = sys.exc_info()[1]
        places = _places(error)
        # what a group holds is what went wrong; the first of it tells
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
            places += _places(error)
        name = type(error).__name__ if error is not None else "none"
        self._logger.error(event, extra={"fields": {**fields, "error": name, "detail": str(error), "trace": places}})


def _places(error: BaseException | None) -> list[str]:
    trace = error.__traceback__ if error is not None else None
    return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]


class _JsonLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "wall": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "room": record.name.removeprefix("qnetem."),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info).splitlines()
        return json.dumps(line, default=str)


def get_logger(room: str) -> Logger:
    """Return the logger of a room."""
    return Logger(room)


def configure(process: str, level: int = logging.INFO) -> None:
    """Send all log lines of this process to standard error; libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("qnetem").setLevel(level)
