"""Log entries with fields, at five levels, to one exchangeable sink.

Mirrors util/bklog (logrus entries), v0.32.2. Differs on purpose: until a program sets a sink, entries go to the
standard library's logger "pybuildkit", so that a program that imports the library decides what is shown; the command
sets a sink that writes logrus' formats.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pybuildkit.golang.context import Context

    Sink = Callable[[int, str, Mapping[str, object]], None]

DEBUG = 10
INFO = 20
WARNING = 30
ERROR = 40
FATAL = 50

LEVEL_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", FATAL: "fatal"}


def _standard_library(level: int, message: str, fields: Mapping[str, object]) -> None:
    import logging

    suffix = "".join(f" {key}={fields[key]}" for key in sorted(fields))
    logging.getLogger("pybuildkit").log(level, "%s%s", message, suffix)


_sink: Sink = _standard_library
_level = INFO


def set_sink(sink: Sink | None) -> None:
    """Send entries to `sink(level, message, fields)`; None goes back to the standard library's logger."""
    global _sink
    _sink = sink or _standard_library


def set_level(level: int) -> None:
    """Drop entries below the level."""
    global _level
    _level = level


def get_level() -> int:
    """The lowest level that is kept."""
    return _level


class Entry:
    """A logger that adds its fields to everything it logs.

    Args:
        fields: names and values.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object] | None = None) -> None:
        self._fields = dict(fields or {})

    def with_fields(self, **fields: object) -> Entry:
        """A logger that adds these fields too."""
        return Entry({**self._fields, **fields})

    def log(self, level: int, message: str) -> None:
        """Log at any level."""
        if level >= _level:
            _sink(level, message, self._fields)

    def debug(self, message: str) -> None:
        """What only someone who looks for a fault wants to know."""
        self.log(DEBUG, message)

    def info(self, message: str) -> None:
        """What is good to know."""
        self.log(INFO, message)

    def warning(self, message: str) -> None:
        """What may be a mistake."""
        self.log(WARNING, message)

    def error(self, message: str) -> None:
        """What went wrong without ending the work."""
        self.log(ERROR, message)


L = Entry()
"""The logger without fields."""

_LOGGER_KEY = "pybuildkit.util.bklog.logger"


def with_logger(ctx: Context, entry: Entry) -> Context:
    """A context whose logger is `entry`."""
    from pybuildkit.golang import context

    return context.with_value(ctx, _LOGGER_KEY, entry)


def get_logger(ctx: Context) -> Entry:
    """The context's logger, else the one without fields."""
    entry = ctx.value(_LOGGER_KEY)
    return entry if isinstance(entry, Entry) else L
