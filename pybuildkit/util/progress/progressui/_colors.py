"""The colours of the terminal's display, and what the environment says about them.

Mirrors util/progress/progressui/colors.go and init.go, v0.32.2, with the colour codes of github.com/morikuni/aec and
the one-line reader of github.com/tonistiigi/go-csvvalue.

    NO_COLOR=1                                   no colours
    BUILDKIT_COLORS=run=green:error=255,0,128    one or more of run, cancel, warning, error; a name or R,G,B
    BUILDKIT_TTY_LOG_LINES=12                    log lines of a running step

The command reads the environment once, at its start, as Go does, and warns of it then; a program that uses the library
is warned when it makes a display.

Differs on purpose: more than 1000 log lines count as 1000.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util import bklog
from pybuildkit.util.progress.progressui._trace import TERM_HEIGHT_MIN

FAINT = b"\x1b[2m"
RESET = b"\x1b[0m"

_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
TERM_COLORS = {
    "default": b"\x1b[39m",
    **{name: b"\x1b[%dm" % (30 + index) for index, name in enumerate(_NAMES)},
    **{f"light-{name}": b"\x1b[%dm" % (90 + index) for index, name in enumerate(_NAMES)},
}

_MAX_LOG_LINES = 1000
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


@dataclass(slots=True)
class Colors:
    """Escape sequences for finished lines; b"" for no colour at all."""

    run: bytes = TERM_COLORS["blue"]
    cancel: bytes = TERM_COLORS["yellow"]
    warning: bytes = TERM_COLORS["yellow"]
    error: bytes = TERM_COLORS["red"]


class FieldsError(BuildkitError):
    """A list of values that cannot be read."""


def paint(text: bytes, color: bytes) -> bytes:
    """The text in a colour; an empty colour leaves it alone."""
    return color + text + RESET if color else text


def colors_from_environment(environ: Mapping[str, str] | None = None) -> Colors:
    """The colours that the user wants; what cannot be understood is warned about and left as it is."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR"):
        return Colors(b"", b"", b"", b"")
    colors = Colors()
    text = environ.get("BUILDKIT_COLORS")
    if text is not None and _at_start is not None and text == _at_start[0]:
        return replace(_at_start[1])
    if text is not None:
        _set_user_colors(colors, text)
    return colors


_at_start: tuple[str, Colors] | None = None
"""What the environment said when the process began, and what was made of it."""


def read_at_start() -> None:
    """Read the user's colours now; displays of this process then warn of them no more."""
    global _at_start
    text = os.environ.get("BUILDKIT_COLORS")
    if text is not None and not os.environ.get("NO_COLOR"):
        _at_start = (text, colors_from_environment())


def log_lines_from_environment(environ: Mapping[str, str] | None = None) -> int:
    """How many log lines a running step may show."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR"):
        return TERM_HEIGHT_MIN
    lines = parse_int(environ.get("BUILDKIT_TTY_LOG_LINES", ""))
    return min(lines, _MAX_LOG_LINES) if lines is not None and 0 < lines < 1 << 63 else TERM_HEIGHT_MIN


def _set_user_colors(colors: Colors, text: str) -> None:
    try:
        entries = _fields(text, ":")
    except FieldsError as err:
        log = bklog.L.with_fields(error=err)
        log.warning("could not parse BUILDKIT_COLORS. Falling back to defaults.")
        return
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not separator or "=" in value:
            log = bklog.L.with_fields(error=BuildkitError("valid entry must have exactly two fields"))
            log.warning(f"Could not parse BUILDKIT_COLORS component: {entry}")
            continue
        key = key.lower()
        color = TERM_COLORS.get(value.lower())
        if color is not None:
            _set_color(colors, key, color)
        elif "," in value:
            color = _read_rgb(value)
            if color is not None:
                _set_color(colors, key, color)
        else:
            reason = BuildkitError("colors must be a name from the pre-defined list or a valid 3-part RGB value")
            bklog.L.with_fields(error=reason).warning(f"Unknown color value found in BUILDKIT_COLORS: {key}={value}")


def _set_color(colors: Colors, key: str, color: bytes) -> None:
    if key in ("run", "cancel", "error", "warning"):
        setattr(colors, key, color)
    else:
        bklog.L.warning(
            f"Unknown key found in BUILDKIT_COLORS (expected: run, cancel, error, or warning): {key}",
        )


def _read_rgb(value: str) -> bytes | None:
    """The nearest of the terminal's 216 colours to `R,G,B`, or None after a warning."""
    try:
        fields = _fields(value, ",")
    except FieldsError as err:
        log = bklog.L.with_fields(error=err)
        log.warning(f"Could not parse value {value} as valid comma-separated RGB color. Ignoring.")
        return None
    if len(fields) != 3:
        log = bklog.L.with_fields(error=BuildkitError("valid RGB color must have three fields"))
        log.warning(f"Could not parse value {value} as valid RGB color. Ignoring.")
        return None
    parts: list[int] = []
    for field in fields:
        part = _rgb_part(field, fields)
        if part is None:
            return None
        parts.append(part)
    red, green, blue = parts
    return b"\x1b[38;5;%dm" % (16 + 36 * (red // 43) + 6 * (green // 43) + blue // 43)


def _rgb_part(field: str, fields: list[str]) -> int | None:
    number = parse_int(field)
    where = f"A field in BUILDKIT_COLORS appears to contain an RGB value that is not %s: {','.join(fields)}"
    if number is None:
        bklog.L.warning(where % "an integer")
        return None
    if not 0 <= number <= 255:
        bklog.L.warning(where % "within the valid range of 0-255")
        return None
    return number


def parse_int(text: str) -> int | None:
    """A decimal number of at most 19 characters; None for anything else, with spaces or underscores too."""
    if _INTEGER.fullmatch(text) is None or len(text) > 19:
        return None
    return int(text)


def _fields(line: str, comma: str) -> list[str]:
    """The values of one line, quoted or not.

    Raises:
        FieldsError: nothing to read, or a quote where none may be.
    """
    line = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
    if not line:
        raise FieldsError("EOF")
    fields = []
    position = 0
    while True:
        if line.startswith('"', position):
            field, position = _quoted_field(line, position, comma)
            fields.append(field)
            if position < 0:
                return fields
            continue
        end = line.find(comma, position)
        field = line[position:] if end < 0 else line[position:end]
        quote = field.find('"')
        if quote >= 0:
            raise _parse_error(line, position + quote, 'bare " in non-quoted-field')
        fields.append(field)
        if end < 0:
            return fields
        position = end + 1


def _quoted_field(line: str, position: int, comma: str) -> tuple[str, int]:
    """The quoted value at the position, and where the next one begins, -1 after the last."""
    parts = []
    position += 1
    while True:
        quote = line.find('"', position)
        if quote < 0:
            raise _parse_error(line, position, 'extraneous or missing " in quoted-field')
        parts.append(line[position:quote])
        position = quote + 1
        following = line[position : position + 1]
        if following == '"':
            parts.append('"')
            position += 1
        elif following == comma:
            return "".join(parts), position + 1
        elif not following:
            return "".join(parts), -1
        else:
            raise _parse_error(line, position - 1, 'extraneous or missing " in quoted-field')


def _parse_error(line: str, position: int, what: str) -> FieldsError:
    column = len(line[:position].encode("utf-8", "surrogateescape")) + 1
    return FieldsError(f"parse error on line 1, column {column}: {what}")
