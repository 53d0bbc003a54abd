"""One line of comma-separated values, as the option values of the command line are written.

Mirrors github.com/tonistiigi/go-csvvalue (030d3b2) with its default parser.

Fields are separated by `,`; one that begins with `"` runs to the closing quote, `""` stands for a quote in it, and a
quote anywhere else is an error. One line end at the end is dropped; other line ends belong to their field. Columns in
errors count bytes from 1.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError


class EmptyLineError(BuildkitError):
    """There is no field at all."""

    def __str__(self) -> str:
        return "EOF"


class ParseError(BuildkitError):
    """A quote where none may be.

    Args:
        column: the byte, counted from 1.
        reason: what is wrong there.
    """

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(f"parse error on line 1, column {column}: {reason}")
        self.column = column
        self.reason = reason


_BARE_QUOTE = 'bare " in non-quoted-field'
_QUOTE = 'extraneous or missing " in quoted-field'


def fields(line: str) -> list[str]:
    """The fields of a line.

    Raises:
        EmptyLineError: the line is empty.
        ParseError: a quote is misplaced or missing.
    """
    data = line.encode("utf-8", "surrogateescape")
    if data.endswith(b"\n"):
        data = data[:-2] if data.endswith(b"\r\n") else data[:-1]
    if not data:
        raise EmptyLineError
    found: list[bytes] = []
    start: int | None = 0
    while start is not None:
        field, start = _quoted(data, start + 1) if data[start : start + 1] == b'"' else _plain(data, start)
        found.append(field)
    return [field.decode("utf-8", "surrogateescape") for field in found]


def _plain(data: bytes, start: int) -> tuple[bytes, int | None]:
    """The field that begins at `start`, and where the next one begins (None: there is none)."""
    comma = data.find(b",", start)
    end = len(data) if comma < 0 else comma
    quote = data.find(b'"', start, end)
    if quote >= 0:
        raise ParseError(quote + 1, _BARE_QUOTE)
    return data[start:end], None if comma < 0 else comma + 1


def _quoted(data: bytes, start: int) -> tuple[bytes, int | None]:
    """The field whose text begins at `start`, after its quote, and where the next one begins."""
    field = b""
    while True:
        quote = data.find(b'"', start)
        if quote < 0:
            raise ParseError(start + 1, _QUOTE)
        field += data[start:quote]
        following = data[quote + 1 : quote + 2]
        if following == b"":
            return field, None
        if following == b",":
            return field, quote + 2
        if following != b'"':
            raise ParseError(quote + 1, _QUOTE)
        field += b'"'
        start = quote + 2
