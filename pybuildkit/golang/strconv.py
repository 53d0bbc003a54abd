"""Go's texts for strings, booleans and numbers, both ways.

Mirrors strconv of Go 1.26.

A Go string is a sequence of bytes; here it is a `str` in which a byte that is no UTF-8 is a lone surrogate
(`surrogateescape`, as Python reads argv and file names).
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError


class NumError(BuildkitError):
    """A text that is no such value: `strconv.FUNC: parsing "TEXT": REASON`."""

    def __init__(self, func: str, text: str, reason: str) -> None:
        super().__init__(f"strconv.{func}: parsing {quote(text)}: {reason}")
        self.func = func
        self.text = text
        self.reason = reason


_SYNTAX = "invalid syntax"
_RANGE = "value out of range"

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))

_SHORT_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(text: str) -> str:
    """The text as a double-quoted Go literal (`%q`)."""
    return '"' + _escape(text, '"') + '"'


def quote_rune(char: str) -> str:
    """One character as a single-quoted Go literal (`%q` of a rune); a byte that is no UTF-8 gives U+FFFD."""
    if "\ud800" <= char <= "\udfff":
        char = "\ufffd"
    return "'" + _escape(char, "'") + "'"


def _escape(text: str, mark: str) -> str:
    if text.isascii() and text.isprintable() and mark not in text and "\\" not in text:
        return text
    return "".join([_escape_char(char, mark) for char in text])


def _escape_char(char: str, mark: str) -> str:
    if char == mark or char == "\\":
        return "\\" + char
    if char.isprintable():
        return char
    short = _SHORT_ESCAPES.get(char)
    if short is not None:
        return short
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_bool(text: str) -> bool:
    """The value of one of Go's words for a boolean (1, t, T, true, True, TRUE, and the like for false).

    Raises:
        NumError: it is none of them.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise NumError("ParseBool", text, _SYNTAX)


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIXES = {"b": 2, "o": 8, "x": 16}


def parse_int(text: str, base: int = 10, bit_size: int = 64) -> int:
    """A signed whole number of `bit_size` bits; base 0 takes the base from a prefix and allows underscores.

    Raises:
        NumError: no number, or out of range.
    """
    negative = text[:1] == "-"
    digits = text[1:] if text[:1] in ("-", "+") else text
    value = _parse_unsigned("ParseInt", text, digits, base)
    limit = 1 << (bit_size - 1)
    if value > limit - (not negative):
        raise NumError("ParseInt", text, _RANGE)
    return -value if negative else value


def parse_uint(text: str, base: int = 10, bit_size: int = 64) -> int:
    """An unsigned whole number of `bit_size` bits; see `parse_int`."""
    value = _parse_unsigned("ParseUint", text, text, base)
    if value >> bit_size:
        raise NumError("ParseUint", text, _RANGE)
    return value


def atoi(text: str) -> int:
    """A signed decimal number of 64 bits; errors name Atoi."""
    try:
        return parse_int(text)
    except NumError as err:
        raise NumError("Atoi", text, err.reason) from None


def _parse_unsigned(func: str, text: str, digits: str, base: int) -> int:
    if base == 0:
        if "_" in digits and not _underscores_ok(digits):
            raise NumError(func, text, _SYNTAX)
        digits, base = _split_prefix(digits)
    allowed = _DIGITS[:base]
    if not digits or not digits.isascii() or any(char not in allowed for char in digits.lower()):
        raise NumError(func, text, _SYNTAX)
    # What is longer is out of every range; int() refuses texts of thousands of digits.
    return int(digits, base) if len(digits.lstrip("0")) <= 64 else 1 << 64


def _split_prefix(digits: str) -> tuple[str, int]:
    plain = digits.replace("_", "")
    if not plain.startswith("0"):
        return plain, 10
    base = _PREFIXES.get(plain[1:2].lower())
    if base is not None and len(plain) >= 3:
        return plain[2:], base
    return plain[1:] or "0", 8


def _underscores_ok(text: str) -> bool:
    """Whether every underscore stands between two digits, or between a base prefix and a digit."""
    text = text.lstrip("+-").lower()
    digits, position = _DIGITS[:10], 0
    before = False
    if text[:2] in ("0b", "0o", "0x"):
        digits, position, before = _DIGITS[: 16 if text[1] == "x" else 10], 2, True
    for index in range(position, len(text)):
        if text[index] == "_" and not (before and text[index + 1 : index + 2] in tuple(digits)):
            return False
        before = text[index] in digits
    return True


_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_HEX_FLOAT = r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+"
_SPECIAL_FLOATS = frozenset(f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity")) | {"nan"}


def parse_float(text: str) -> float:
    """A floating-point number of 64 bits in Go's notations (1e3, 0x1p-2, inf, nan).

    Raises:
        NumError: no number, or out of range.
    """
    import re

    plain = text.replace("_", "") if _underscores_ok(text) else text
    if text.lower() in _SPECIAL_FLOATS:
        return float(text)
    if re.fullmatch(_HEX_FLOAT, plain):
        try:
            return float.fromhex(plain)
        except OverflowError:
            raise NumError("ParseFloat", text, _RANGE) from None
    if not re.fullmatch(_FLOAT, plain):
        raise NumError("ParseFloat", text, _SYNTAX)
    value = float(plain)
    if value in (float("inf"), float("-inf")):
        raise NumError("ParseFloat", text, _RANGE)
    return value


def format_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """A number under one of the verbs e, f and g; precision -1 gives the fewest digits that read back the same."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0:
        return f"{value:.{precision}{verb}}"
    sign, digits, point = _shortest(value)
    exponent = point - 1
    if verb == "e" or (verb == "g" and (exponent < -4 or exponent >= 6)):
        return sign + _exponent_form(digits, exponent)
    return sign + _plain_form(digits, point)


def _shortest(value: float) -> tuple[str, str, int]:
    """The sign, the fewest digits that mean the value, and where the decimal point lies in them."""
    mantissa, _, exponent = repr(value).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or "0")
    stripped = digits.lstrip("0")
    if not stripped:
        return sign, "0", 1
    return sign, stripped.rstrip("0"), point - (len(digits) - len(stripped))


def _exponent_form(digits: str, exponent: int) -> str:
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{exponent:+03d}"


def _plain_form(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return digits[:point] + "." + digits[point:]
