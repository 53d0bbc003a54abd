"""Log lines in the two formats of logrus, on standard error.

Mirrors the text formatter (full timestamps) and the JSON formatter of github.com/sirupsen/logrus as cmd/buildctl,
v0.32.2, sets them: text is `time="…" level=… msg=…` and fields in order, or coloured where standard error is a
terminal; JSON has its keys in byte order. Differs on purpose: a message on a terminal is cleaned of what would steer
it.
"""

from __future__ import annotations

import time

from pybuildkit.util import bklog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pybuildkit.cmd.buildctl.common._std import Std
    from pybuildkit.util.bklog import Sink

_COLOURS = {bklog.DEBUG: 37, bklog.INFO: 36, bklog.WARNING: 33}
_RED = 31
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")


def text_sink(stream: Std) -> Sink:
    """A sink that writes text lines, coloured where the stream is a terminal."""
    format_line = format_coloured if stream.isatty() else format_text
    return lambda level, message, fields: stream.write(format_line(level, message, fields, now()))


def early_sink(stream: Std) -> Sink:
    """The sink before any flag is read: as `text_sink`, but on a terminal the time is the seconds since the start."""
    if stream.isatty():
        return lambda level, message, fields: stream.write(format_coloured(level, message, fields, "0000"))
    return text_sink(stream)


def json_sink(stream: Std) -> Sink:
    """A sink that writes a JSON object a line."""
    return lambda level, message, fields: stream.write(format_json(level, message, fields, now()))


def now() -> str:
    """The time with its offset from UTC, to the second (RFC 3339)."""
    local = time.localtime()
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    zone = "Z" if offset == 0 else f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + zone


def format_text(level: int, message: str, fields: Mapping[str, object], when: str) -> str:
    """A line of `key=value` pairs."""
    pairs: list[tuple[str, object]] = [("time", when), ("level", bklog.LEVEL_NAMES[level])]
    if message:
        pairs.append(("msg", message))
    pairs += sorted(fields.items())
    return " ".join(f"{key}={_value(value)}" for key, value in pairs) + "\n"


def format_coloured(level: int, message: str, fields: Mapping[str, object], when: str) -> str:
    """A line for a terminal: a coloured word, the time, the message padded, and the fields."""
    colour = _COLOURS.get(level, _RED)
    word = bklog.LEVEL_NAMES[level].upper()[:4]
    message = message.removesuffix("\n")
    if not message.isprintable():
        from pybuildkit.util.progress.progressui._clean import clean_text

        message = clean_text(message)
    line = f"\x1b[{colour}m{word}\x1b[0m[{when}] {message:<44} "
    line += "".join(f" \x1b[{colour}m{key}\x1b[0m={_value(value)}" for key, value in sorted(fields.items()))
    return line + "\n"


def format_json(level: int, message: str, fields: Mapping[str, object], when: str) -> str:
    """A JSON object."""
    import json

    entry = {"level": bklog.LEVEL_NAMES[level], "msg": message, "time": when}
    entry.update({key: str(value) for key, value in fields.items() if key not in entry})
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char, escape in (("<", "3c"), (">", "3e"), ("&", "26"), ("\u2028", "2028"), ("\u2029", "2029")):
        text = text.replace(char, f"\\u{escape:0>4}")
    return text + "\n"


def _value(value: object) -> str:
    text = str(value)
    if all(char in _PLAIN for char in text):
        return text
    from pybuildkit.golang import strconv

    return strconv.quote(text)
