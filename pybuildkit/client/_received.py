"""Statuses as they are received, made into values only when somebody asks for them.

Not in BuildKit. Most of what a build sends is output, and most of that only becomes JSON again (rawjson, traces). So
a received status keeps the message, and its line of JSON is made from the bytes, without a value for each log, where
the bytes have the one form that daemons send:

    status = log*
    log    = 1a LENGTH  0a 47 DIGEST(71)  12 LENGTH 08 SECONDS(5) 10 NANOS(1-5)  18 STREAM  22 LENGTH DATA

protobuf has checked the message before. Whatever looks different takes the way over the values.
"""

from __future__ import annotations

from binascii import b2a_base64
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, NamedTuple

from pybuildkit.api.services.control import _methods, control_pb2
from pybuildkit.client._graph import NANOS, SolveStatus, StatusError, log_head_json, seconds_text
from pybuildkit.client._status import fill_status
from pybuildkit.rpc import Method

_FROM_BYTES = control_pb2.StatusResponse.FromString
_KEY_SIZE = 82
_KEY_AND_TAIL = Struct(f"<{_KEY_SIZE}sQ").unpack_from
_MOST_HEADS = 4096


class ReceivedStatus(SolveStatus):
    """A status of the daemon; a `SolveStatus` in every respect.

    Its lists are read from the message when the first of them is asked for or set.
    """

    __slots__ = ("_message", "_wire")

    _message: control_pb2.StatusResponse
    _wire: bytes | None

    @staticmethod
    def read(wire: bytes) -> ReceivedStatus:
        """The status that an encoded message holds; raises protobuf's DecodeError."""
        status = _new(ReceivedStatus)
        _set_message(status, _FROM_BYTES(wire))
        _set_wire(status, wire)
        return status

    def has_warnings(self) -> bool:
        """As `SolveStatus.has_warnings`."""
        return bool(self._message.warnings if self._wire is not None else self.warnings)

    def to_json_line(self) -> bytes:
        """As `SolveStatus.to_json_line`."""
        wire = self._wire
        return (wire and _line_of_logs(wire)) or SolveStatus.to_json_line(self)

    def _fill(self) -> None:
        _set_wire(self, None)
        fill_status(self, self._message)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name == "_wire":
                return None
            if name not in SolveStatus.__slots__ or self._wire is None:
                raise AttributeError(name)
            self._fill()
            return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if self._wire is not None:
            self._fill()
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SolveStatus) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]  # as every dataclass that can be changed

    def __reduce__(self) -> tuple[type[SolveStatus], tuple[object, ...]]:
        return SolveStatus, _values(self)


_new = SolveStatus.__new__
_set_message = vars(ReceivedStatus)["_message"].__set__
_set_wire = vars(ReceivedStatus)["_wire"].__set__


def _values(status: SolveStatus) -> tuple[object, ...]:
    return status.vertexes, status.statuses, status.logs, status.warnings


STATUS: Method[control_pb2.StatusRequest, ReceivedStatus] = Method(
    _methods.STATUS.path,
    client_streaming=False,
    server_streaming=True,
    encode_request=control_pb2.StatusRequest.SerializeToString,
    decode_request=control_pb2.StatusRequest.FromString,
    encode_response=lambda status: status._message.SerializeToString(),
    decode_response=ReceivedStatus.read,
)
"""Control.Status, for a client that wants statuses."""


class _Head(NamedTuple):
    """What all logs of one vertex within one second have in common, if their nanoseconds have the same size.

    The tail is the eight bytes after the head as a number, the first byte lowest: nanoseconds, stream, the tag of
    the data. `mask` and `form` say which of its bits are fixed.
    """

    objects: tuple[bytes, bytes, bytes, bytes]
    moment: bytes
    mask: int
    form: int
    digits: int
    stream_shift: int
    size: int


_heads: dict[bytes, _Head] = {}


def _line_of_logs(wire: bytes) -> bytes | None:
    """The line of JSON of a message that holds logs of the usual form alone, else None."""
    parts: list[bytes] = []
    position, end = 0, len(wire)
    heads = _heads
    try:
        while position < end:
            if wire[position] != 0x1A:
                return None
            length = wire[position + 1]
            position += 2
            if length >= 0x80:
                more = wire[position]
                length += (more << 7) - 0x80
                position += 1
                if more >= 0x80:
                    length += (wire[position] << 14) - 0x4000
                    position += 1
            key, tail = _KEY_AND_TAIL(wire, position)
            objects, moment, mask, form, digits, shift, skip = heads[key] if key in heads else _new_head(key)
            if tail & mask != form:
                return None
            start = position + skip
            position += length
            size = wire[start - 1]
            if size >= 0x80:
                more = wire[start]
                size += (more << 7) - 0x80
                start += 1
                if more >= 0x80:
                    size += (wire[start] << 14) - 0x4000
                    start += 1
            nanos = tail & digits
            nanos = nanos & 0x7F007F007F | (nanos & 0x7F007F00) >> 1
            nanos = nanos & 0x3FFF | nanos >> 2 & 0xFFFC000 | nanos >> 4 & 0x7F0000000
            if start + size != position or not 0 < nanos < NANOS or not size:
                return None
            parts += (
                objects[tail >> shift & 3],
                b2a_base64(wire[start:position], newline=False),
                moment,
                (b"%09d" % nanos).rstrip(b"0"),
            )
    except (IndexError, StructError, _UnusualError):
        return None
    if not parts:
        return None
    parts[0] = b'{"logs":[' + parts[0][4:]
    parts.append(b'Z"}]}\n')
    return b"".join(parts)


class _UnusualError(Exception):
    """Bytes of another form than logs usually have."""


def _new_head(key: bytes) -> _Head:
    """The head that begins a log; raises _UnusualError."""
    width = key[74] - 7
    digits = key[76:81]
    if key[:2] != b"\n\x47" or key[73] != 0x12 or key[75] != 0x08 or key[81] != 0x10 or not 1 <= width <= 5:
        raise _UnusualError
    if [digit >= 0x80 for digit in digits] != [True, True, True, True, False]:
        raise _UnusualError
    seconds = sum((digit & 0x7F) << 7 * index for index, digit in enumerate(digits))
    try:
        moment = f'","timestamp":"{seconds_text(seconds)}.'.encode()
        vertex = key[2:73].decode("utf-8")
    except (StatusError, UnicodeDecodeError) as err:
        raise _UnusualError from err
    one, two, three, four = (f'Z"}},{log_head_json(vertex, stream)}"'.encode() for stream in range(4))
    continued, last, stream_shift = 0x8080808080 >> 8 * (6 - width), 0x80 << 8 * (width - 1), 8 * (width + 1)
    head = _Head(
        objects=(one, two, three, four),
        moment=moment,
        mask=continued | last | 0xFFFCFF << 8 * width,
        form=continued | 0x220018 << 8 * width,
        digits=0x7F7F7F7F7F >> 8 * (5 - width),
        stream_shift=stream_shift,
        size=_KEY_SIZE + width + 4,
    )
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
    _heads[key] = head
    return head
