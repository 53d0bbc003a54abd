"""Time spans as Go writes and reads them: `1h2m3.5s`, kept as whole nanoseconds.

Mirrors time.Duration and time.ParseDuration of Go 1.26.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "μs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_LIMIT = 1 << 63
_DIGITS = frozenset("0123456789")


class DurationError(BuildkitError):
    """A text that is no duration: `time: REASON "TEXT"`."""


def quote_bytes(text: str) -> str:
    """A text in quotes, every byte that is not printable ASCII as \\xNN (the quoting of Go's package time)."""
    out = []
    for byte in text.encode("utf-8", "surrogateescape"):
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            out.append(chr(byte))
        else:
            out.append(f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def parse(text: str) -> int:
    """The nanoseconds that a text such as `1.5h` or `-2m30s` means.

    Raises:
        DurationError: a number or a unit is missing or unknown, or the span is beyond 64 bits.
    """
    rest = text
    negative = rest[:1] == "-"
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    total = 0
    while rest:
        part, rest = _parse_part(rest, text)
        total += part
        if total > _LIMIT:
            raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    if total == _LIMIT and not negative:
        raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    return -total if negative else total


def _parse_part(rest: str, text: str) -> tuple[int, str]:
    """The nanoseconds of the leading `NUMBER UNIT`, and what follows it."""
    whole, rest = _take_digits(rest)
    fraction = ""
    if rest[:1] == ".":
        fraction, rest = _take_digits(rest[1:])
    if not whole and not fraction:
        raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    name = rest
    for index, char in enumerate(rest):
        if char == "." or char in _DIGITS:
            name = rest[:index]
            break
    rest = rest[len(name) :]
    if not name:
        raise DurationError(f"time: missing unit in duration {quote_bytes(text)}")
    unit = _UNITS.get(name)
    if unit is None:
        raise DurationError(f"time: unknown unit {quote_bytes(name)} in duration {quote_bytes(text)}")
    if len(whole) > 40 or int(whole or "0") > _LIMIT // unit:
        raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    value = int(whole or "0") * unit + _fraction(fraction, unit)
    if value > _LIMIT:
        raise DurationError(f"time: invalid duration {quote_bytes(text)}")
    return value, rest


def _take_digits(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    return text[:end], text[end:]


def _fraction(digits: str, unit: int) -> int:
    """A decimal fraction of a unit in nanoseconds, with the rounding of Go's floating-point arithmetic."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > (_LIMIT - 1) // 10:
            break
        grown = value * 10 + int(digit)
        if grown > _LIMIT:
            break
        value = grown
        scale *= 10
    return int(float(value) * (float(unit) / scale)) if value else 0


def string(nanoseconds: int) -> str:
    """The span as Go prints it: `0s`, `1.5µs`, `2h0m0.25s`."""
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    if rest == 0:
        return "0s"
    if rest < MICROSECOND:
        return f"{sign}{rest}ns"
    if rest < MILLISECOND:
        return f"{sign}{_decimal(rest, 3)}µs"
    if rest < SECOND:
        return f"{sign}{_decimal(rest, 6)}ms"
    minutes, rest = divmod(rest, MINUTE)
    seconds = _decimal(rest, 9) + "s"
    if minutes == 0:
        return sign + seconds
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h{minutes}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"


def _decimal(value: int, places: int) -> str:
    """A whole number of 10^-places units, without trailing zeros."""
    whole, fraction = divmod(value, 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def seconds(nanoseconds: int) -> float:
    """The span in seconds, with the rounding of Go's Duration.Seconds."""
    whole, rest = divmod(abs(nanoseconds), SECOND)
    value = float(whole) + float(rest) / 1e9
    return -value if nanoseconds < 0 else value
