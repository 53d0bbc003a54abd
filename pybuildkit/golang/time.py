"""Points in time as Go writes and reads them.

Mirrors time.Time of Go 1.26. A point is a whole number of nanoseconds since the epoch, UTC; what was written with
another offset keeps it in a `Time`. Go's zero time, the year 1, is `ZERO`.
"""

from __future__ import annotations

import time as _clock

from pybuildkit.golang.duration import quote_bytes
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Time(NamedTuple):
        """A point in time and where its clock stood."""

        ns: int
        offset: int | None

else:
    from collections import namedtuple

    Time = namedtuple("Time", ("ns", "offset"))

SECOND = 1_000_000_000
ZERO = -62_135_596_800 * SECOND
RFC3339 = "2006-01-02T15:04:05Z07:00"
RFC3339_NANO = "2006-01-02T15:04:05.999999999Z07:00"


class TimeError(BuildkitError):
    """A text that is no time: `parsing time "TEXT" as "LAYOUT": cannot parse "REST" as "ELEMENT"`."""


def now() -> int:
    """The current time."""
    return _clock.time_ns()


def local_offset(ns: int) -> int:
    """How many seconds the machine's time zone (TZ) is ahead of UTC at that time."""
    return _clock.localtime(ns // SECOND).tm_gmtoff


def rfc3339(ns: int, offset: int | None = None) -> str:
    """The time to the second: `2006-01-02T15:04:05Z`, or with `+07:00` where an offset in seconds is given."""
    return _civil(ns, offset, "T") + _zone(offset, ":", "Z")


def rfc3339_nano(ns: int, offset: int | None = None) -> str:
    """The time with the digits of its fraction that are needed."""
    return _civil(ns, offset, "T") + _fraction(ns) + _zone(offset, ":", "Z")


def string(ns: int, offset: int | None = None) -> str:
    """The time as Go's `Time.String`: `2006-01-02 15:04:05.5 +0000 UTC`."""
    name = " UTC" if offset is None else " " + _zone(offset, "", "+0000")
    return _civil(ns, offset, " ") + _fraction(ns) + " " + _zone(offset, "", "+0000") + name


_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
# Longer elements come before those that they begin with.
_ELEMENTS = (
    *("January", "Jan", "Monday", "Mon", "MST", "2006", "01", "02", "03", "04", "05", "06", "002", "15", "PM", "pm"),
    *("-07:00", "-0700", "-07", "Z07:00", "Z0700", "_2", "1", "2", "3", "4", "5"),
)


def format(ns: int, layout: str, offset: int | None = None) -> str:
    """The time by a layout that shows how Go's reference time, Jan 2 15:04:05 2006 -0700, is to look."""
    out: list[str] = []
    position = 0
    while position < len(layout):
        digits = _fraction_digits(layout, position)
        if digits:
            out.append(_layout_fraction(ns, layout[position + 1], digits, layout[position]))
            position += 1 + digits
            continue
        element = next((e for e in _ELEMENTS if layout.startswith(e, position)), None)
        out.append(layout[position] if element is None else _element(ns, offset, element))
        position += 1 if element is None else len(element)
    return "".join(out)


def _fraction_digits(layout: str, position: int) -> int:
    """How many zeros or nines follow a point or comma, 0 where that is no fraction."""
    if layout[position] not in ".," or layout[position + 1 : position + 2] not in ("0", "9"):
        return 0
    end = position + 1
    while end < len(layout) and layout[end] == layout[position + 1]:
        end += 1
    return 0 if layout[end : end + 1] in _DIGITS else end - position - 1


def _layout_fraction(ns: int, digit: str, count: int, point: str) -> str:
    text = f"{ns % SECOND:09d}"[:count].ljust(count, "0")
    text = text.rstrip("0") if digit == "9" else text
    return point + text if text else ""


def _element(ns: int, offset: int | None, element: str) -> str:
    year, month, day, hour, minute, second = civil(ns, offset)
    days = (ns // SECOND + (offset or 0)) // 86400
    weekday = _DAY_NAMES[(days + 3) % 7]
    texts = {
        "January": _MONTH_NAMES[month - 1],
        "Jan": _MONTH_NAMES[month - 1][:3],
        "Monday": weekday,
        "Mon": weekday[:3],
        "MST": "UTC" if offset is None else _zone(offset, "", "+0000"),
        "2006": f"{year:04d}",
        "06": f"{year % 100:02d}",
        "01": f"{month:02d}",
        "1": str(month),
        "02": f"{day:02d}",
        "_2": f"{day:2d}",
        "2": str(day),
        "002": f"{days - _days(year, 1, 1) + 1:03d}",
        "15": f"{hour:02d}",
        "03": f"{hour % 12 or 12:02d}",
        "3": str(hour % 12 or 12),
        "04": f"{minute:02d}",
        "4": str(minute),
        "05": f"{second:02d}",
        "5": str(second),
        "PM": "PM" if hour >= 12 else "AM",
        "pm": "pm" if hour >= 12 else "am",
        "-07:00": _zone(offset or 0, ":", "+00:00"),
        "-0700": _zone(offset or 0, "", "+0000"),
        "-07": _zone(offset or 0, "", "+0000")[:3],
        "Z07:00": _zone(offset, ":", "Z"),
        "Z0700": _zone(offset, "", "Z"),
    }
    return texts[element]


def _zone(offset: int | None, colon: str, zulu: str) -> str:
    if not offset and (offset is None or zulu == "Z"):
        return zulu
    minutes = abs(offset) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}{colon}{minutes % 60:02d}"


def _fraction(ns: int) -> str:
    rest = ns % SECOND
    return f".{rest:09d}".rstrip("0") if rest else ""


def civil(ns: int, offset: int | None = None) -> tuple[int, int, int, int, int, int]:
    """Year, month, day, hour, minute and second."""
    days, second = divmod(ns // SECOND + (offset or 0), 86400)
    year, month, day = _date(days)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return year, month, day, hour, minute, second


def _civil(ns: int, offset: int | None, between: str) -> str:
    """Date and clock, without a fraction."""
    year, month, day, hour, minute, second = civil(ns, offset)
    sign = "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}{between}{hour:02d}:{minute:02d}:{second:02d}"


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since the epoch, in the Gregorian calendar of all times."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def _days(year: int, month: int, day: int) -> int:
    """The reverse of `_date`."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DIGITS = frozenset("0123456789")


def _days_in(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else _MONTH_DAYS[month - 1]


class _Parser:
    """Reads one text by the elements of a layout; what is wrong is told with Go's words."""

    def __init__(self, layout: str, text: str) -> None:
        self.layout = layout
        self.text = text
        self.rest = text

    def cannot(self, element: str, rest: str) -> TimeError:
        return TimeError(
            f"parsing time {quote_bytes(self.text)} as {quote_bytes(self.layout)}: "
            f"cannot parse {quote_bytes(rest)} as {quote_bytes(element)}"
        )

    def out_of_range(self, what: str) -> TimeError:
        return TimeError(f"parsing time {quote_bytes(self.text)}: {what} out of range")

    def literal(self, char: str) -> None:
        if self.rest[:1] != char:
            raise self.cannot(char, self.rest)
        self.rest = self.rest[1:]

    def year(self) -> int:
        digits = self.rest[:4]
        if len(digits) < 4 or any(char not in _DIGITS for char in digits):
            raise self.cannot("2006", self.rest)
        self.rest = self.rest[4:]
        return int(digits)

    def number(self, element: str, what: str, low: int, high: int, *, fixed: bool = True) -> int:
        """One or two digits (exactly two where `fixed`)."""
        width = 2 if self.rest[1:2] in _DIGITS else 1
        if self.rest[:1] not in _DIGITS or (fixed and width == 1):
            raise self.cannot(element, self.rest)
        value = int(self.rest[:width])
        self.rest = self.rest[width:]
        if not low <= value <= high:
            raise self.out_of_range(what)
        return value

    def fraction(self) -> int:
        if self.rest[:1] not in (".", ",") or self.rest[1:2] not in _DIGITS:
            return 0
        end = 1
        while self.rest[end : end + 1] in _DIGITS:
            end += 1
        digits = self.rest[1:end][:9]
        self.rest = self.rest[end:]
        return int(digits.ljust(9, "0"))

    def zone(self) -> int | None:
        """Seconds ahead of UTC, None for `Z`."""
        if self.rest[:1] == "Z":
            self.rest = self.rest[1:]
            return None
        text = self.rest[:6]
        digits = text[1:3] + text[4:6]
        if len(text) < 6 or text[3] != ":" or any(char not in _DIGITS for char in digits):
            raise self.cannot("Z07:00", self.rest)
        self.rest = self.rest[6:]
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 24:
            raise self.out_of_range("time zone offset hour")
        if minutes > 60:
            raise self.out_of_range("time zone offset minute")
        if text[0] not in "+-":
            raise self.cannot("Z07:00", text + self.rest)
        seconds = (hours * 60 + minutes) * 60
        return -seconds if text[0] == "-" else seconds


def parse(text: str, layout: str = RFC3339_NANO) -> Time:
    """Read a time as RFC 3339 has it; the fraction may have any number of digits, nine of which count.

    Args:
        text: such as `2006-01-02T15:04:05.5+07:00`.
        layout: RFC3339 or RFC3339_NANO; it shows in errors alone.

    Raises:
        TimeError: no time, or out of range.
    """
    parser = _Parser(layout, text)
    year = parser.year()
    parser.literal("-")
    month = parser.number("01", "month", 1, 12)
    parser.literal("-")
    day = parser.number("02", "day", 0, 99)
    parser.literal("T")
    hour = parser.number("15", "hour", 0, 23, fixed=False)
    parser.literal(":")
    minute = parser.number("04", "minute", 0, 59)
    parser.literal(":")
    second = parser.number("05", "second", 0, 59)
    fraction = parser.fraction()
    offset = parser.zone()
    if parser.rest:
        raise TimeError(f"parsing time {quote_bytes(text)}: extra text: {quote_bytes(parser.rest)}")
    if not 1 <= day <= _days_in(year, month):
        raise parser.out_of_range("day")
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - (offset or 0)
    return Time(seconds * SECOND + fraction, offset or None)
