"""Filters: lists of conditions on the fields of an object, as `du --filter` and `debug workers --filter` take them.

Mirrors github.com/containerd/containerd/v2/pkg/filters, v2.3.3.

    filter   := selector (',' selector)*            all must hold; of several filters one must
    selector := path [operator value]               without an operator: the field is present
    path     := field ('.' field)*
    field    := quoted | letters, digits and '_'
    operator := '==' | '!=' | '~='                  the last takes a regular expression
    value    := quoted | anything up to a blank or ','
    quoted   := "…" with Go's escapes; behind '~=' also /…/ and |…|

Differs from Go: regular expressions are Python's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from pybuildkit.golang.errors import BuildkitError

Adaptor = Callable[[Sequence[str]], str | None]
"""Gives the value of the field of that path, or None where the object has no such field."""


class FilterError(BuildkitError):
    """A text that is no filter: `filters: parse error: [BEFORE >|C|< AFTER]: REASON: invalid argument`."""


class _Selector:
    def __init__(self, path: list[str], operator: str, value: str) -> None:
        self._path = path
        self._operator = operator
        self._value = value
        self._pattern: re.Pattern[str] | None = None
        if operator == "~=":
            try:
                self._pattern = re.compile(value)
            except re.error:
                self._operator = "never"

    def matches(self, adaptor: Adaptor) -> bool:
        value = adaptor(self._path)
        if self._operator == "":
            return value is not None
        if self._operator == "==":
            return value is not None and value == self._value
        if self._operator == "!=":
            return (value or "") != self._value
        return self._pattern is not None and self._pattern.search(value or "") is not None


class Filter:
    """A filter; `match` says whether an object passes."""

    def __init__(self, alternatives: list[list[_Selector]] | None) -> None:
        self._alternatives = alternatives

    def match(self, adaptor: Adaptor) -> bool:
        """Whether one of the alternatives holds; without any, everything passes."""
        if self._alternatives is None:
            return True
        return any(all(selector.matches(adaptor) for selector in every) for every in self._alternatives)


def parse_all(texts: Sequence[str]) -> Filter:
    """The filter that passes what one of the texts passes; no text, or an empty one, passes everything.

    Raises:
        FilterError: one of them is no filter.
    """
    alternatives = []
    for text in texts:
        try:
            alternatives.append(_Parser(text).parse() if text else [])
        except FilterError as err:
            raise FilterError(f"{err}: invalid argument") from None
    return Filter(alternatives if texts else None)


_EOF, _QUOTED, _VALUE, _FIELD, _SEPARATOR, _OPERATOR, _ILLEGAL, _OTHER = range(8)
_NO_CHAR = ""
_BAD_CHAR = "\0"
_FIELD_CHARS = frozenset("_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SIMPLE_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5C}
_DIGITS_AFTER = {"x": 2, "u": 4, "U": 8}
_HEX = frozenset("0123456789abcdefABCDEF")


def _is_space(char: str) -> bool:
    return char.isspace() and char not in "\x1c\x1d\x1e\x1f"


def _is_value_char(char: str) -> bool:
    return char != "," and not _is_space(char) and unicodedata.category(char)[0] in "LMNPSZ"


class _Scanner:
    """Cuts a text into tokens; `start` is where the last character that was read begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = 0
        self.end = 0
        self.error = ""
        self._in_value = False

    def peek(self) -> str:
        """The next character: "" at the end, NUL for one that may not be there."""
        if self.end >= len(self.text):
            return _NO_CHAR
        char = self.text[self.end]
        if char == "\ufffd" or "\ud800" <= char <= "\udfff":
            self._fail("rune error")
            return _BAD_CHAR
        if char == "\0":
            self._fail("unexpected null")
        return char

    def _next(self) -> str:
        char = self.peek()
        self.start = self.end
        self.end += len(char)
        return char

    def _fail(self, reason: str) -> None:
        self.error = self.error or reason

    def scan(self) -> tuple[int, int, str]:
        """Where the next token begins, its kind and its text."""
        char = self._next()
        while char and _is_space(char):
            char = self._next()
        begin = self.start
        kind = self._scan_kind(char)
        return begin, kind, self.text[begin : self.end]

    def _scan_kind(self, char: str) -> int:
        if char == _NO_CHAR:
            return _EOF
        if char == _BAD_CHAR:
            return _ILLEGAL
        if char in '/|"':
            return _QUOTED if self._scan_quoted(char) else _ILLEGAL
        if char in ",.":
            self._in_value = False
            return _SEPARATOR
        if char in "=!~":
            self._skip(lambda c: c in "=!~")
            self._in_value = True
            return _OPERATOR
        if self._in_value:
            self._skip(_is_value_char)
            self._in_value = False
            return _VALUE
        if char in _FIELD_CHARS:
            self._skip(lambda c: c in _FIELD_CHARS)
            return _FIELD
        return _OTHER

    def _skip(self, belongs: Callable[[str], bool]) -> None:
        while (char := self.peek()) and char != _BAD_CHAR and belongs(char):
            self._next()

    def _scan_quoted(self, mark: str) -> bool:
        legal = True
        char = self._next()
        while char != mark:
            if char in ("\n", _NO_CHAR, _BAD_CHAR):
                self._fail("quoted literal not terminated")
                return False
            if char == "\\":
                char, ok = self._scan_escape(mark)
                legal = legal and ok
            else:
                char = self._next()
        return legal

    def _scan_escape(self, mark: str) -> tuple[str, bool]:
        char = self._next()
        if char and (char in _SIMPLE_ESCAPES or char == mark):
            return self._next(), True
        if char and char in "01234567":
            return self._scan_digits(char, "01234567", 3)
        if char in _DIGITS_AFTER:
            return self._scan_digits(self._next(), "".join(sorted(_HEX)), _DIGITS_AFTER[char])
        self._fail("illegal escape sequence")
        return char, False

    def _scan_digits(self, char: str, allowed: str, count: int) -> tuple[str, bool]:
        while count > 0 and char and char in allowed:
            char = self._next()
            count -= 1
        if count > 0:
            self._fail("illegal numeric escape sequence")
        return char, count == 0


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._scanner = _Scanner(text)

    def parse(self) -> list[_Selector]:
        selectors = [self._selector()]
        while (char := self._scanner.peek()) != _NO_CHAR:
            if char != ",":
                shown = "\ufffd" if char == _BAD_CHAR else char
                raise self._error(self._scanner.end, f"unexpected input: {shown}")
            self._scanner.scan()
            selectors.append(self._selector())
        return selectors

    def _error(self, position: int, reason: str) -> FilterError:
        data = self._text.encode("utf-8", "surrogateescape")
        at = len(self._text[:position].encode("utf-8", "surrogateescape"))
        where = self._text
        if at < len(data):
            parts = (data[:at], data[at : at + 1], data[at + 1 :])
            before, char, after = (part.decode("utf-8", "surrogateescape") for part in parts)
            where = f"{before} >|{char}|< {after}"
        return FilterError(f"filters: parse error: [{where}]: {reason}")

    def _selector(self) -> _Selector:
        path = [self._field()]
        while self._scanner.peek() == ".":
            self._scanner.scan()
            path.append(self._field())
        if self._scanner.peek() in (",", _NO_CHAR):
            return _Selector(path, "", "")
        operator = self._operator()
        return _Selector(path, operator, self._value(operator == "~="))

    def _field(self) -> str:
        begin, kind, text = self._scanner.scan()
        if kind == _FIELD:
            return text
        if kind == _QUOTED:
            return self._unquote(begin, text, False)
        raise self._error(begin, self._scanner.error if kind == _ILLEGAL else "expected field or quoted")

    def _operator(self) -> str:
        begin, kind, text = self._scanner.scan()
        if kind == _OPERATOR:
            if text in ("==", "!=", "~="):
                return text
            raise self._error(begin, f'unsupported operator "{text}"')
        if kind == _ILLEGAL:
            raise self._error(begin, self._scanner.error)
        raise self._error(begin, 'expected an operator ("=="|"!="|"~=")')

    def _value(self, other_quotes: bool) -> str:
        begin, kind, text = self._scanner.scan()
        if kind in (_VALUE, _FIELD):
            return text
        if kind == _QUOTED:
            return self._unquote(begin, text, other_quotes)
        raise self._error(begin, self._scanner.error if kind == _ILLEGAL else "expected value or quoted")

    def _unquote(self, begin: int, text: str, other_quotes: bool) -> str:
        if not other_quotes and text[0] != '"':
            raise self._error(begin, "invalid quote encountered")
        inner = _unescape(text[1:-1], text[0])
        if inner is None:
            raise self._error(begin, "unquoting failed: quote syntax error")
        return inner


def _unescape(text: str, mark: str) -> str | None:
    """The text that escapes stand for, None where one is not well formed."""
    out = bytearray()
    position = 0
    while position < len(text):
        char = text[position]
        if char != "\\":
            out += char.encode("utf-8", "surrogateescape")
            position += 1
            continue
        name = text[position + 1 : position + 2]
        position += 2
        if name in _SIMPLE_ESCAPES:
            out.append(_SIMPLE_ESCAPES[name])
        elif name == mark:
            out += name.encode()
        elif name in _DIGITS_AFTER:
            digits = text[position : position + _DIGITS_AFTER[name]]
            position += _DIGITS_AFTER[name]
            code = int(digits, 16)
            if name != "x" and code > 0x10FFFF:
                return None
            out += bytes((code,)) if name == "x" else _rune(code)
        else:
            digits = text[position - 1 : position + 2]
            position += 2
            if int(digits, 8) > 255:
                return None
            out.append(int(digits, 8))
    return out.decode("utf-8", "surrogateescape")


def _rune(code: int) -> bytes:
    return ("\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)).encode()
