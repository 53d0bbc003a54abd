"""What a terminal may be shown of texts that the daemon sends.

Not in BuildKit, which passes everything on: there a name or a log line can move the cursor, set the window's title,
write the clipboard or forge lines of the display. Here, and only where the output is a terminal:
- names, ids, warnings and errors lose escape sequences, whole ones with their arguments, and every control character;
  line ends and tabs become spaces;
- logs keep letters, tabs, line feeds and SGR sequences (colour and style). A carriage return before a line feed is
  dropped, any other becomes a space. Other escape sequences go;
- other texts of several lines, such as the error at the end, keep letters, tabs and line feeds;
- characters that turn the direction of writing go from both; bytes that are no UTF-8 become U+FFFD.
"""

from __future__ import annotations

import re

_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SPACES = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_LINE_SPACES = re.compile("[\v\f\r\x85\u2028\u2029]+")
_SEQUENCE = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # title, clipboard, device
    r"|\x1b[ -/]*[0-~]?"
)
_STEERING = re.compile(rf"{_SEQUENCE}|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f{_DIRECTIONS}]")
_LOG_UNSAFE = re.compile(
    rf"(?P<sgr>\x1b\[[0-9;:]*m)|{_SEQUENCE}|(?P<line>\r+\n)|(?P<space>[\r\v\f\x85\u2028\u2029])"
    rf"|[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f{_DIRECTIONS}]"
)
_PLAIN_LOG = re.compile(rb"[\t\n\x20-\x7e]*")
_CUT_SEQUENCE = re.compile(
    rb"(?:(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*"
    rb"|(?:\x1b[\]PX^_]|\xc2[\x90\x98\x9d-\x9f])(?:[^\x07\x1b\n\xc2]|\xc2[^\x9c])*[\x1b\xc2]?"
    rb"|\x1b[ -/]*|\r)\Z"
)
_CUT_LETTER = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
_MAX_HELD = 4096


def clean_name(text: str) -> str:
    """The text on one line without anything that steers a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return _SPACES.sub(" ", _STEERING.sub("", text))


def clean_text(text: str) -> str:
    """Lines of text without anything that steers a terminal; tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_LINE_SPACES.sub(" ", _STEERING.sub("", line)) for line in lines)


def clean_log(data: bytes) -> bytes:
    """Whole lines or a piece of a log, with colours and styles as the only escape sequences."""
    if _PLAIN_LOG.fullmatch(data):
        return data
    return _LOG_UNSAFE.sub(_keep, data.decode("utf-8", "replace")).encode("utf-8")


def _keep(match: re.Match[str]) -> str:
    if match["sgr"]:
        return match["sgr"]
    if match["line"]:
        return "\n"
    return " " if match["space"] else ""


def split_cut(data: bytes) -> tuple[bytes, bytes]:
    """A piece of a log without the sequence or letter that its end cuts, and that start, to be put before the next.

    A start longer than 4096 bytes is not waited for.
    """
    if data.endswith(b"\n"):
        return data, b""
    for pattern in (_CUT_SEQUENCE, _CUT_LETTER):
        match = pattern.search(data, max(0, len(data) - _MAX_HELD))
        if match is not None and match.start() < len(data):
            return data[: match.start()], data[match.start() :]
    return data, b""
