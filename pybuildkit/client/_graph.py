"""What a daemon tells about a solve while it runs, and its JSON form.

Mirrors client/graph.go, v0.32.2. `SolveStatus.to_json` gives byte for byte what Go's encoding/json gives for the
same status: it is the format of `--trace` files and of the rawjson display.

Units and limits:
- Times are integers, nanoseconds since 1970-01-01T00:00:00Z, or None where Go has a nil pointer. Times that are
  never nil in Go start as `ZERO_TIME` (0001-01-01T00:00:00Z). Only years 0 to 9999 have a JSON form.
- `NIL` is an empty `bytes` that stands for Go's nil slice: it is written as `null` where b"" is written as `""`.

Differs from Go: a time read from JSON loses its zone, so it is written back in UTC.
"""

from __future__ import annotations

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.solver.pb.ops_pb2 import ProgressGroup, Range, SourceInfo

T = TypeVar("T")

NANOS = 1_000_000_000
ZERO_TIME: Final = -62_135_596_800 * NANOS
"""Go's zero time, 0001-01-01T00:00:00Z."""


class _Nil(bytes):
    """The class of `NIL`, Go's nil slice of bytes."""

    def __reduce__(self) -> str:
        return "NIL"


NIL: Final[bytes] = _Nil()


class StatusError(BuildkitError):
    """A status that has no JSON form, or a JSON text that is no status; the text says why."""


@dataclass(slots=True)
class Vertex:
    """A step of the build; sent again, whole, whenever something about it changes."""

    digest: str = ""
    inputs: list[str] = field(default_factory=list)
    name: str = ""
    started: int | None = None
    completed: int | None = None
    cached: bool = False
    error: str = ""
    progress_group: ProgressGroup | None = None


@dataclass(slots=True)
class VertexStatus:
    """The progress of one part of a vertex, such as a layer that is pulled; `current` and `total` are bytes."""

    id: str = ""
    vertex: str = ""
    name: str = ""
    total: int = 0
    current: int = 0
    timestamp: int = ZERO_TIME
    started: int | None = None
    completed: int | None = None


@dataclass(slots=True)
class VertexLog:
    """A piece of a vertex's output, cut anywhere; `stream` is 1 for standard output and 2 for standard error."""

    vertex: str = ""
    stream: int = 0
    data: bytes = NIL
    timestamp: int = ZERO_TIME


@dataclass(slots=True)
class VertexWarning:
    """A warning that a frontend gives, with the place in the source that it is about."""

    vertex: str = ""
    level: int = 0
    short: bytes = NIL
    detail: list[bytes] = field(default_factory=list)
    url: str = ""
    source_info: SourceInfo | None = None
    range: list[Range] = field(default_factory=list)


BareLog = tuple[str, bytes, int]
"""The vertex, the data and the timestamp of a log."""


@dataclass(slots=True)
class SolveStatus:
    """What changed since the last status of the same solve."""

    vertexes: list[Vertex] = field(default_factory=list)
    statuses: list[VertexStatus] = field(default_factory=list)
    logs: list[VertexLog] = field(default_factory=list)
    warnings: list[VertexWarning] = field(default_factory=list)

    def to_json(self) -> str:
        """The status as Go's encoding/json writes it, one line without its newline.

        Raises:
            StatusError: a time lies outside the years 0 to 9999.
        """
        parts = []
        if self.vertexes:
            parts.append(f'"vertexes":[{",".join(map(_vertex_json, self.vertexes))}]')
        if self.statuses:
            parts.append(f'"statuses":[{",".join(map(_status_json, self.statuses))}]')
        if self.logs:
            parts.append(f'"logs":[{_logs_json(self.logs)}]')
        if self.warnings:
            parts.append(f'"warnings":[{",".join(map(_warning_json, self.warnings))}]')
        return "{" + ",".join(parts) + "}"

    def has_warnings(self) -> bool:
        """Whether there are warnings in it."""
        return bool(self.warnings)

    def bare_logs(self, following: Sequence[SolveStatus] = ()) -> Iterable[BareLog] | None:
        """The logs of this status and of those that follow it as tuples.

        Returns:
            None where there is more than logs in one of them, or where they are too many to be read at once.
        """
        statuses = (self, *following)
        for status in statuses:
            if status.vertexes or status.statuses or status.warnings:
                return None
        return [(log.vertex, log.data, log.timestamp) for status in statuses for log in status.logs]

    def shifted(self, shift: int) -> SolveStatus:
        """The status with so many nanoseconds taken from every time; this one is not changed."""
        return SolveStatus(
            vertexes=[
                replace(vertex, started=_back(vertex.started, shift), completed=_back(vertex.completed, shift))
                for vertex in self.vertexes
            ],
            statuses=[
                replace(
                    item,
                    started=_back(item.started, shift),
                    completed=_back(item.completed, shift),
                    timestamp=item.timestamp - shift,
                )
                for item in self.statuses
            ],
            logs=[VertexLog(log.vertex, log.stream, log.data, log.timestamp - shift) for log in self.logs],
            warnings=self.warnings,
        )

    def put_json_line(self, parts: list[bytes]) -> None:
        """Add the pieces of `to_json` in UTF-8 and a newline to a list; raises as that, and then adds nothing."""
        parts.append((self.to_json() + "\n").encode("utf-8"))

    @classmethod
    def from_json(cls, text: str | bytes) -> SolveStatus:
        """The status that a line of a trace holds; names that no status has are passed over, as Go does.

        Raises:
            StatusError: the text is not JSON, or a field has a value of the wrong kind.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise StatusError(f"invalid status: {err}") from err
        return cls.from_object(value)

    @classmethod
    def from_object(cls, value: object) -> SolveStatus:
        """The status that a parsed JSON value (dicts, lists, strings, numbers) stands for; see `from_json`."""
        obj = _object(value, "status")
        return cls(
            vertexes=_list(obj, "vertexes", _vertex_from),
            statuses=_list(obj, "statuses", _status_from),
            logs=_list(obj, "logs", _log_from),
            warnings=_list(obj, "warnings", _warning_from),
        )


def _back(moment: int | None, shift: int) -> int | None:
    return None if moment is None else moment - shift


_UNSAFE = re.compile(r'[\x00-\x1f"\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    if "\ud800" <= char <= "\udfff":
        return "\\ufffd"
    return _SHORT_ESCAPES.get(char) or f"\\u{ord(char):04x}"


def quote_json(text: str) -> str:
    """A JSON string as Go writes it: `<`, `>`, `&` and the line separators are escaped, other letters are not."""
    if _UNSAFE.search(text) is None:
        return f'"{text}"'
    return f'"{_UNSAFE.sub(_escape, text)}"'


@lru_cache(maxsize=1024)
def seconds_text(seconds: int) -> str:
    """The date and the time of day, without zone, of a second since the epoch (proleptic Gregorian calendar)."""
    days, rest = divmod(seconds, 86_400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    if not 0 <= year <= 9999:
        raise StatusError("Time.MarshalJSON: year outside of range [0,9999]")
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"


def format_time(nanos: int) -> str:
    """RFC 3339 in UTC with as many decimals as needed, Go's RFC3339Nano.

    Args:
        nanos: nanoseconds since the epoch.

    Raises:
        StatusError: the year is not within 0 to 9999.
    """
    fraction = nanos % NANOS
    if fraction == 0:
        return seconds_text(nanos // NANOS) + "Z"
    return f"{seconds_text(nanos // NANOS)}.{fraction:09}".rstrip("0") + "Z"


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@lru_cache(maxsize=1024)
def _days_since_epoch(year: int, month: int, day: int) -> int:
    shifted_year = year - (month <= 2)
    era, year_of_era = divmod(shifted_year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time.

    Raises:
        StatusError: the text is no such time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise StatusError(f"invalid time {quote_json(text)}")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    valid_date = 1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month - 1] and (leap or (month, day) != (2, 29))
    if not valid_date or hour > 23 or minute > 59 or second > 59:
        raise StatusError(f"invalid time {quote_json(text)}")
    seconds = _days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
    if match.group(8):
        offset = int(match.group(9)) * 3600 + int(match.group(10)) * 60
        seconds += offset if match.group(8) == "-" else -offset
    return seconds * NANOS + int((match.group(7) or "0")[:9].ljust(9, "0"))


def bytes_to_json(data: bytes) -> str:
    """A JSON string of base64, or null for `NIL`."""
    return "null" if data is NIL else f'"{b2a_base64(data, newline=False).decode("ascii")}"'


def _vertex_json(vertex: Vertex) -> str:
    parts = []
    if vertex.digest:
        parts.append(f'"digest":{quote_json(vertex.digest)}')
    if vertex.inputs:
        parts.append(f'"inputs":[{",".join(map(quote_json, vertex.inputs))}]')
    if vertex.name:
        parts.append(f'"name":{quote_json(vertex.name)}')
    if vertex.started is not None:
        parts.append(f'"started":"{format_time(vertex.started)}"')
    if vertex.completed is not None:
        parts.append(f'"completed":"{format_time(vertex.completed)}"')
    if vertex.cached:
        parts.append('"cached":true')
    if vertex.error:
        parts.append(f'"error":{quote_json(vertex.error)}')
    if vertex.progress_group is not None:
        parts.append(f'"progressGroup":{_message_json(vertex.progress_group)}')
    return "{" + ",".join(parts) + "}"


def _status_json(status: VertexStatus) -> str:
    parts = [f'"id":{quote_json(status.id)}']
    if status.vertex:
        parts.append(f'"vertex":{quote_json(status.vertex)}')
    if status.name:
        parts.append(f'"name":{quote_json(status.name)}')
    if status.total:
        parts.append(f'"total":{status.total}')
    parts.append(f'"current":{status.current},"timestamp":"{format_time(status.timestamp)}"')
    if status.started is not None:
        parts.append(f'"started":"{format_time(status.started)}"')
    if status.completed is not None:
        parts.append(f'"completed":"{format_time(status.completed)}"')
    return "{" + ",".join(parts) + "}"


@lru_cache(maxsize=4096)
def log_head_json(vertex: str, stream: int) -> str:
    """The start of a log's object, up to its data."""
    digest = f'"vertex":{quote_json(vertex)},' if vertex else ""
    number = f'"stream":{stream},' if stream else ""
    return f'{{{digest}{number}"data":'


def _logs_json(logs: list[VertexLog]) -> str:
    """The objects of a list of logs; one loop with few calls, since most of what a build sends is logs.

    What ends every object is put between them when they are joined.
    """
    parts = []
    known_second = None
    moment = ""
    for log in logs:
        second, fraction = divmod(log.timestamp, NANOS)
        if second != known_second:
            known_second = second
            moment = f'","timestamp":"{seconds_text(second)}'
        data = log.data
        head = log_head_json(log.vertex, log.stream)
        if data is NIL:
            parts.append(f"{head}null{moment[1:]}{_fraction_text(fraction)}")
        elif fraction:
            text = b2a_base64(data, newline=False).decode()
            parts.append(f'{head}"{text}{moment}.{fraction:09}'.rstrip("0"))
        else:
            parts.append(f'{head}"{b2a_base64(data, newline=False).decode()}{moment}')
    return 'Z"},'.join(parts) + 'Z"}'


def _fraction_text(fraction: int) -> str:
    return f".{fraction:09}".rstrip("0") if fraction else ""


def _warning_json(warning: VertexWarning) -> str:
    parts = []
    if warning.vertex:
        parts.append(f'"vertex":{quote_json(warning.vertex)}')
    if warning.level:
        parts.append(f'"level":{warning.level}')
    if warning.short:
        parts.append(f'"short":{bytes_to_json(warning.short)}')
    if warning.detail:
        parts.append(f'"detail":[{",".join(map(bytes_to_json, warning.detail))}]')
    if warning.url:
        parts.append(f'"url":{quote_json(warning.url)}')
    if warning.source_info is not None:
        parts.append(f'"sourceInfo":{_message_json(warning.source_info)}')
    if warning.range:
        parts.append(f'"range":[{",".join(map(_message_json, warning.range))}]')
    return "{" + ",".join(parts) + "}"


def _message_json(message: ProgressGroup | SourceInfo | Range) -> str:
    from pybuildkit.client._pbjson import message_to_json

    return message_to_json(message)


def _wrong(what: str, value: object) -> StatusError:
    return StatusError(f"invalid status: {what} cannot be {type(value).__name__}")


def _object(value: object, what: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(what, value)
    return value


def _list(obj: dict[str, object], name: str, convert: Callable[[object], T]) -> list[T]:
    value = obj.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name, value)
    return [convert(item) for item in value if item is not None]


def clean_text(text: str) -> str:
    """The text with each half of a broken surrogate pair replaced, so that it has a UTF-8 form."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(obj: dict[str, object], name: str) -> str:
    value = obj.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, value)
    return clean_text(value)


def _int(obj: dict[str, object], name: str) -> int:
    value = obj.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise _wrong(name, value)
    return value


def _bool(obj: dict[str, object], name: str) -> bool:
    value = obj.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, value)
    return bool(value)


def bytes_from_json(value: object, what: str) -> bytes:
    """The bytes that a JSON string of base64 holds, `NIL` for null; raises StatusError naming `what`."""
    if value is None:
        return NIL
    if not isinstance(value, str):
        raise _wrong(what, value)
    try:
        return a2b_base64(value, strict_mode=True) if value else b""
    except (Base64Error, ValueError) as err:
        raise StatusError(f"invalid status: {what} is not base64: {err}") from err


def _time(obj: dict[str, object], name: str) -> int | None:
    value = obj.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(name, value)
    return parse_time(value)


def _vertex_from(value: object) -> Vertex:
    obj = _object(value, "vertex")
    group = obj.get("progressGroup")
    return Vertex(
        digest=_text(obj, "digest"),
        inputs=_list(obj, "inputs", _digest_from),
        name=_text(obj, "name"),
        started=_time(obj, "started"),
        completed=_time(obj, "completed"),
        cached=_bool(obj, "cached"),
        error=_text(obj, "error"),
        progress_group=None if group is None else _progress_group_from(group),
    )


def _digest_from(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("inputs", value)
    return clean_text(value)


def _status_from(value: object) -> VertexStatus:
    obj = _object(value, "vertex status")
    timestamp = _time(obj, "timestamp")
    return VertexStatus(
        id=_text(obj, "id"),
        vertex=_text(obj, "vertex"),
        name=_text(obj, "name"),
        total=_int(obj, "total"),
        current=_int(obj, "current"),
        timestamp=ZERO_TIME if timestamp is None else timestamp,
        started=_time(obj, "started"),
        completed=_time(obj, "completed"),
    )


def _log_from(value: object) -> VertexLog:
    obj = _object(value, "log")
    timestamp = _time(obj, "timestamp")
    return VertexLog(
        vertex=_text(obj, "vertex"),
        stream=_int(obj, "stream"),
        data=bytes_from_json(obj.get("data"), "data"),
        timestamp=ZERO_TIME if timestamp is None else timestamp,
    )


def _warning_from(value: object) -> VertexWarning:
    obj = _object(value, "warning")
    detail = obj.get("detail")
    if detail is not None and not isinstance(detail, list):
        raise _wrong("detail", detail)
    info = obj.get("sourceInfo")
    return VertexWarning(
        vertex=_text(obj, "vertex"),
        level=_int(obj, "level"),
        short=bytes_from_json(obj.get("short"), "short"),
        detail=[bytes_from_json(item, "detail") for item in detail or []],
        url=_text(obj, "url"),
        source_info=None if info is None else _source_info_from(info),
        range=_list(obj, "range", _range_from),
    )


def _progress_group_from(value: object) -> ProgressGroup:
    from pybuildkit.client._pbjson import message_from_json
    from pybuildkit.solver.pb.ops_pb2 import ProgressGroup

    return message_from_json(value, ProgressGroup)


def _source_info_from(value: object) -> SourceInfo:
    from pybuildkit.client._pbjson import message_from_json
    from pybuildkit.solver.pb.ops_pb2 import SourceInfo

    return message_from_json(value, SourceInfo)


def _range_from(value: object) -> Range:
    from pybuildkit.client._pbjson import message_from_json
    from pybuildkit.solver.pb.ops_pb2 import Range

    return message_from_json(value, Range)
