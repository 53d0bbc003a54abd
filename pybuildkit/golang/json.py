"""JSON as Go's encoding/json writes it, and its words for what is no JSON.

Mirrors encoding/json of Go 1.27, whose words are those of its second version.

Values are dict, list, tuple, str, bytes (base64), int, float, bool and None. A dict is written in its own order, as
a Go struct is; a Go map is sorted by key, so give it through `sorted_map`. A byte of a str that is no UTF-8 (a lone
surrogate) is written as U+FFFD.

Differs from Go: `unmarshal` gives plain values and knows no types; a number with a fraction is a `Number`.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import format_float

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn, TypeVar

    V = TypeVar("V")


class SyntaxError(BuildkitError):
    """A text that is no JSON; `offset` is where the trouble was seen, in bytes."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(text)
        self.offset = offset


class UnsupportedValueError(BuildkitError):
    """A value that JSON cannot say, such as an infinite number."""


class Number(float):
    """A number with a fraction or an exponent, and how it was written."""

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x2028, 0x2029)}
_ESCAPES |= {0x22: '\\"', 0x5C: "\\\\", 8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}
_ESCAPES |= dict.fromkeys(range(0xD800, 0xE000), "\\ufffd")
_HTML_ESCAPES = _ESCAPES | {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


def sorted_map(values: Mapping[str, V]) -> dict[str, V]:
    """The entries in the order in which Go writes a map: by the bytes of the key."""
    return dict(sorted(values.items(), key=lambda item: item[0].encode("utf-8", "surrogateescape")))


def marshal(value: object, escape_html: bool = True) -> str:
    """The value on one line.

    Args:
        escape_html: write `<`, `>` and `&` as `\\u00XX`, as Go does unless told otherwise.

    Raises:
        UnsupportedValueError: a number that is infinite or none.
        TypeError: a value of another type.
    """
    out: list[str] = []
    _encode(value, out, _HTML_ESCAPES if escape_html else _ESCAPES)
    return "".join(out)


def marshal_indent(value: object, prefix: str, indent: str, escape_html: bool = True) -> str:
    """The value over many lines, each but the first begun by `prefix` and one `indent` a level."""
    out: list[str] = []
    _encode_indented(value, out, _HTML_ESCAPES if escape_html else _ESCAPES, "\n" + prefix, indent)
    return "".join(out)


def _encode(value: object, out: list[str], escapes: dict[int, str]) -> None:
    if isinstance(value, dict):
        out.append("{")
        between = ""
        for key, member in value.items():
            out.append(between + _string(_key(key), escapes) + ":")
            _encode(member, out, escapes)
            between = ","
        out.append("}")
    elif isinstance(value, (list, tuple)):
        out.append("[")
        for index, member in enumerate(value):
            if index:
                out.append(",")
            _encode(member, out, escapes)
        out.append("]")
    else:
        out.append(_scalar(value, escapes))


def _encode_indented(value: object, out: list[str], escapes: dict[int, str], line: str, indent: str) -> None:
    is_dict = isinstance(value, dict)
    if not isinstance(value, (dict, list, tuple)) or not value:
        _encode(value, out, escapes)
        return
    out.append("{" if is_dict else "[")
    for index, member in enumerate(value):
        out.append(("," if index else "") + line + indent)
        if isinstance(value, dict):
            out.append(_string(_key(member), escapes) + ": ")
            member = value[member]
        _encode_indented(member, out, escapes, line + indent, indent)
    out.append(line + ("}" if is_dict else "]"))


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"json: unsupported type of key: {type(key).__name__}")
    return key


def _string(text: str, escapes: dict[int, str]) -> str:
    return '"' + text.translate(escapes) + '"'


def _scalar(value: object, escapes: dict[int, str]) -> str:
    if isinstance(value, str):
        return _string(value, escapes)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        from binascii import b2a_base64

        return '"' + b2a_base64(value, newline=False).decode() + '"'
    raise TypeError(f"json: unsupported type: {type(value).__name__}")


def _float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise UnsupportedValueError(f"json: unsupported value: {format_float(value)}")
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        text = format_float(value, "e")
        return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
    return format_float(value, "f")


def unmarshal(text: str | bytes) -> object:
    """The value of a JSON text.

    Raises:
        SyntaxError: with Go's words, such as `invalid character 'x' after top-level value`.
    """
    import json

    text = _as_text(text)
    try:
        value: object = json.loads(text, parse_float=Number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        Scanner(text).check()
        raise SyntaxError(f"json: {err}", 0) from None
    return _replace_surrogates(value) if "\\ud" in text or "\\uD" in text else value


def decode(text: str | bytes) -> object:
    """The first value of a text, whatever follows it, as Go's Decoder reads it.

    Raises:
        SyntaxError: with Go's words; "EOF" for nothing at all, "unexpected EOF" for a value that is cut short.
    """
    return _decode_first(text)[0]


def decode_only(text: str, more: str) -> object:
    """The value of a text, as `decode`; raises SyntaxError with the words `more` where another value follows it."""
    value, rest = _decode_first(text)
    if rest.lstrip(" \t\r\n")[:1] not in ("", "]", "}"):
        raise SyntaxError(more, len(text) - len(rest))
    return value


def _decode_first(text: str | bytes) -> tuple[object, str]:
    """The first value of a text, and what follows it."""
    import json

    text = _as_text(text).lstrip(" \t\r\n")
    if not text:
        raise SyntaxError("EOF", 0)
    decoder = json.JSONDecoder(parse_float=Number, parse_constant=_refuse_constant)
    try:
        value, end = decoder.raw_decode(text)
    except (ValueError, RecursionError) as err:
        Scanner(text).check_first()
        raise SyntaxError(f"json: {err}", 0) from None
    if "\\ud" in text or "\\uD" in text:
        value = _replace_surrogates(value)
    return value, text[end:]


def _as_text(text: str | bytes) -> str:
    """The text with U+FFFD for each byte that is no UTF-8."""
    if not isinstance(text, str):
        text = bytes(text).decode("utf-8", "surrogateescape")
    return text if text.isascii() else text.translate(_REPLACE_BYTES)


def _replace_surrogates(value: object) -> object:
    """The value with U+FFFD for the halves of surrogate pairs that escapes left alone."""
    if isinstance(value, str):
        return value.translate(_REPLACE_BYTES)
    if isinstance(value, list):
        return [_replace_surrogates(member) for member in value]
    if isinstance(value, dict):
        return {key.translate(_REPLACE_BYTES): _replace_surrogates(member) for key, member in value.items()}
    return value


_REPLACE_BYTES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class Scanner:
    """Goes through a text by JSON's grammar; `check` raises for the first character that breaks it."""

    _SPACE = " \t\r\n"
    _DIGITS = "0123456789"
    _HEX = "0123456789abcdefABCDEF"

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def check(self) -> None:
        """Raise SyntaxError unless the text is one JSON value."""
        self._values()
        self._skip_space()
        if self._at < len(self._text):
            self._fail("after top-level value")

    def check_first(self) -> None:
        """Raise SyntaxError unless the text begins with a JSON value; "unexpected EOF" where it is cut short."""
        try:
            self._values()
        except SyntaxError as err:
            if self._at >= len(self._text):
                raise SyntaxError("unexpected EOF", err.offset) from None
            raise

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _fail(self, where: str) -> NoReturn:
        """Raise for the character at hand, or for the end of the text."""
        char = self._peek()
        offset = len(self._text[: self._at + 1].encode("utf-8", "replace"))
        if not char:
            raise SyntaxError("unexpected end of JSON input", offset)
        raise SyntaxError(f"invalid character {_quote_char(char)} {where}", offset)

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in self._SPACE:
            self._at += 1

    def _values(self) -> None:
        """A value with all that is inside it, without recursion."""
        ends: list[str] = []
        while True:
            opened = self._begin_value()
            if opened == "{":
                self._skip_space()
                if self._peek() != "}":
                    self._member_name("looking for beginning of object key string")
                    ends.append("}")
                    continue
                self._at += 1
            elif opened == "[":
                self._skip_space()
                if self._peek() != "]":
                    ends.append("]")
                    continue
                self._at += 1
            if not self._after_value(ends):
                return

    def _after_value(self, ends: list[str]) -> bool:
        """What follows a value; whether another value has to come."""
        while ends:
            self._skip_space()
            char = self._peek()
            if char == ends[-1]:
                self._at += 1
                ends.pop()
                continue
            if char != ",":
                self._fail("after object key:value pair" if ends[-1] == "}" else "after array element")
            self._at += 1
            if ends[-1] == "}":
                self._skip_space()
                self._member_name("looking for beginning of object key string")
            return True
        return False

    def _member_name(self, where: str) -> None:
        if self._peek() != '"':
            self._fail(where)
        self._string()
        self._skip_space()
        if self._peek() != ":":
            self._fail("after object key")
        self._at += 1

    def _begin_value(self) -> str:
        """A scalar as a whole, or the opening bracket of a compound, which is returned."""
        self._skip_space()
        char = self._peek()
        if char in ("{", "["):
            self._at += 1
            return char
        if char == '"':
            self._string()
        elif char == "-" or (char and char in self._DIGITS):
            self._number()
        elif char in ("t", "f", "n"):
            self._word({"t": "true", "f": "false", "n": "null"}[char])
        else:
            self._fail("looking for beginning of value")
        return ""

    def _word(self, word: str) -> None:
        for expected in word:
            if self._peek() != expected:
                self._fail(f"in literal {word} (expecting {_quote_char(expected)})")
            self._at += 1

    def _string(self) -> None:
        self._at += 1
        while (char := self._peek()) != '"':
            if not char or char < " ":
                self._fail("in string")
            if char == "\\":
                self._escape()
            else:
                self._at += 1
        self._at += 1

    def _escape(self) -> None:
        start = self._at
        self._at += 1
        char = self._peek()
        if not char:
            self._fail("in string")
        self._at += 1
        if char == "u":
            while self._at < start + 6 and self._peek() and self._peek() in self._HEX:
                self._at += 1
            if self._at < start + 6:
                self._refuse_escape(start, 6)
        elif char not in 'bfnrt\\/"':
            self._refuse_escape(start, 2)

    def _refuse_escape(self, start: int, size: int) -> NoReturn:
        if not self._peek() and size > 2:
            self._fail("in string")
        from pybuildkit.golang.strconv import quote

        shown = self._text[start : start + size]
        self._at = start + len(shown)
        offset = len(self._text[: self._at].encode("utf-8", "replace"))
        is_plain = shown.isprintable() and "`" not in shown and " " not in shown
        raise SyntaxError(f"invalid escape sequence {f'`{shown}`' if is_plain else quote(shown)} in string", offset)

    def _number(self) -> None:
        if self._peek() == "-":
            self._at += 1
        if self._peek() == "0":
            self._at += 1
        else:
            self._digits()
        if self._peek() == ".":
            self._at += 1
            self._digits()
        if self._peek() in ("e", "E"):
            self._at += 1
            if self._peek() in ("+", "-"):
                self._at += 1
            self._digits()

    def _digits(self) -> None:
        if not self._peek() or self._peek() not in self._DIGITS:
            self._fail("in numeric literal")
        while self._peek() and self._peek() in self._DIGITS:
            self._at += 1


def _quote_char(char: str) -> str:
    """A character as Go's scanner shows it."""
    from pybuildkit.golang.strconv import quote, quote_rune

    if "\udc80" <= char <= "\udcff":
        return "'" + quote(char)[1:-1] + "'"
    return quote_rune(char)
