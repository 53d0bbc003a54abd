"""Logs of an encoded status as JSON, straight from the bytes.

Not in BuildKit. Most of what a build sends is output, and most of that only becomes JSON again (rawjson, traces). So
the objects are made without a value for each log, where the bytes have the one form that daemons send:

    status = log*
    log    = 1a LENGTH  0a 47 DIGEST(71)  12 LENGTH 08 SECONDS(5) 10 NANOS(4-5)  18 STREAM  22 LENGTH DATA

Whatever looks different is refused, for its values to be read by protobuf; which has to check the message anyway.
"""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from pybuildkit.client._graph import NANOS, StatusError, log_head_json, seconds_text

_KEY_SIZE = 82
_MOST_HEADS = 1024
_LONG_NANOS = Struct("<HHBHBB").unpack_from
_SHORT_NANOS = Struct("<HHHBB").unpack_from
_GOES_ON = 0x8000
_NO_VALUE = 1 << 40


class _Head(NamedTuple):
    """What all logs of one vertex within one second have in common.

    `width` is the size of the nanoseconds in bytes. `objects` has the start of the object for each stream, by the
    number that its two bytes make. `moment` is the text of the second, and `next_moment` that of the next one;
    `offset` is what moved times add to the nanoseconds.
    """

    width: int
    objects: dict[int, bytes]
    moment: bytes
    next_moment: bytes
    offset: int


class _UnusualError(Exception):
    """Bytes of another form than logs usually have."""


class LogLines:
    """Makes lines of JSON.

    Args:
        shift: nanoseconds that are taken from every time.
    """

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift
        self._heads: dict[bytes, _Head] = {}

    def add(self, wire: bytes, parts: list[bytes]) -> bool:
        """Add the pieces of a line for a message that holds logs of the usual form alone; whether it does."""
        mark = len(parts)
        try:
            self._add_objects(wire, parts)
        except (IndexError, KeyError, StructError, _UnusualError):
            del parts[mark:]
            return False
        if len(parts) == mark:
            return False
        parts[mark] = b'{"logs":[' + parts[mark][4:]
        parts.append(b'Z"}]}\n')
        return True

    def _add_objects(self, wire: bytes, parts: list[bytes]) -> None:
        """Add the pieces of every log; one loop without calls, since it runs for everything that a build prints."""
        heads, values = self._heads, _two_digits()
        position, end = 0, len(wire)
        while position < end:
            if wire[position] != 0x1A:
                raise _UnusualError
            length = wire[position + 1]
            position += 2
            if length >= 0x80:
                more = wire[position]
                length += (more << 7) - 0x80
                position += 1
                if more >= 0x80:
                    length += (wire[position] << 14) - 0x4000
                    position += 1
            key = wire[position : position + _KEY_SIZE]
            try:
                width, objects, moment, next_moment, offset = heads[key]
            except KeyError:
                width, objects, moment, next_moment, offset = self._new_head(key)
            start = position + _KEY_SIZE + 4 + width
            if width == 5:
                low, high, last, stream, data_tag, size = _LONG_NANOS(wire, position + _KEY_SIZE)
                nanos = values[low] | values[high] << 14 | last << 28
            else:
                low, high, stream, data_tag, size = _SHORT_NANOS(wire, position + _KEY_SIZE)
                nanos = values[low] | values[high ^ _GOES_ON] << 14
            position += length
            if size >= 0x80:
                more = wire[start]
                size += (more << 7) - 0x80
                start += 1
                if more >= 0x80:
                    size += (wire[start] << 14) - 0x4000
                    start += 1
            if start + size != position or not 0 < nanos < NANOS or data_tag != 0x22 or not size:
                raise _UnusualError
            if offset:
                nanos += offset
                if nanos >= NANOS:
                    nanos -= NANOS
                    moment = next_moment
                if not nanos:
                    raise _UnusualError
            text = b"%09d" % nanos
            data = b2a_base64(wire[start:position])[:-1]
            parts += objects[stream], data, moment, text if nanos % 10 else text.rstrip(b"0")

    def _new_head(self, key: bytes) -> _Head:
        """The head of a log that begins so; raises _UnusualError."""
        width = key[74] - 7
        digits = key[76:81]
        if key[:2] != b"\n\x47" or key[73] != 0x12 or key[75] != 0x08 or key[81] != 0x10 or not 4 <= width <= 5:
            raise _UnusualError
        if [digit >= 0x80 for digit in digits] != [True, True, True, True, False]:
            raise _UnusualError
        seconds = sum((digit & 0x7F) << 7 * index for index, digit in enumerate(digits))
        second, offset = divmod(seconds * NANOS - self.shift, NANOS)
        try:
            moment, next_moment = (f'","timestamp":"{seconds_text(second + more)}.'.encode() for more in range(2))
            vertex = key[2:73].decode("utf-8")
        except (StatusError, UnicodeDecodeError) as err:
            raise _UnusualError from err
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        head = self._heads[key] = _Head(width, _objects(vertex), moment, next_moment, offset)
        return head


@lru_cache(maxsize=_MOST_HEADS)
def _objects(vertex: str) -> dict[int, bytes]:
    """The end of the object before and the start of one of the vertex, by the tag and the number of its stream."""
    return {stream << 8 | 0x18: f'Z"}},{log_head_json(vertex, stream)}"'.encode() for stream in range(1, 4)}


_values: list[int] = []


def _two_digits() -> list[int]:
    """The values of two digits of a number that goes on, by the number that their bytes make."""
    if not _values:
        table = [_NO_VALUE] * 0x10000
        for low in range(0x80):
            table[low | 0x8080 : 0x10000 : 0x100] = range(low, 0x4000, 0x80)
        _values.extend(table)
    return _values
