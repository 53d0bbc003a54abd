"""Statuses as they are received, made into values only when somebody asks for them.

Not in BuildKit. Most of what a build sends is output, which the displays need as bytes and not as values. So a
received status keeps its encoded message, which protobuf has checked, and reads it when it is asked for something:
its logs, its line of JSON, or its lists of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from pybuildkit.api.services.control import _methods, control_pb2
from pybuildkit.client._graph import NANOS, BareLog, SolveStatus
from pybuildkit.client._loglines import LogLines
from pybuildkit.client._status import fill_status, marshal
from pybuildkit.rpc import Method

_FROM_BYTES = control_pb2.StatusResponse.FromString
_MOST_JOINED = 1 << 20
_log_fields = attrgetter("vertex", "msg", "timestamp.seconds", "timestamp.nanos")
_lines = LogLines()


class ReceivedStatus(SolveStatus):
    """A status of the daemon; a `SolveStatus` in every respect.

    Its lists are read from the message when the first of them is asked for or set.
    """

    __slots__ = ("_has_only_logs", "_lines", "_shift", "_wire")

    _wire: bytes | None
    _has_only_logs: bool
    _shift: int
    _lines: LogLines

    @staticmethod
    def read(wire: bytes) -> ReceivedStatus:
        """The status that an encoded message holds; raises protobuf's DecodeError."""
        _FROM_BYTES(wire)  # not kept: many messages in memory cost more than reading one of them again
        return _received(wire, 0, _lines)

    def has_warnings(self) -> bool:
        """As `SolveStatus.has_warnings`."""
        if self._wire is None:
            return bool(self.warnings)
        return not self._has_only_logs and bool(_FROM_BYTES(self._wire).warnings)

    def bare_logs(self, following: Sequence[SolveStatus] = ()) -> Iterable[BareLog] | None:
        """As `SolveStatus.bare_logs`: messages put one behind the other are one message."""
        shift = self._shift
        wires = [self._wire]
        for status in following:
            if type(status) is not ReceivedStatus or status._shift != shift:
                return SolveStatus.bare_logs(self, following)
            wires.append(status._wire)
        whole = [wire for wire in wires if wire is not None]
        if len(whole) < len(wires):  # one of them was made into values
            return SolveStatus.bare_logs(self, following)
        if following and sum(map(len, whole)) > _MOST_JOINED:
            return None
        message = _FROM_BYTES(b"".join(whole))
        if message.vertexes or message.statuses or message.warnings:
            return None
        return [
            (vertex, data, seconds * NANOS + nanos - shift)
            for vertex, data, seconds, nanos in map(_log_fields, message.logs)
        ]

    def put_json_line(self, parts: list[bytes]) -> None:
        """As `SolveStatus.put_json_line`."""
        wire = self._wire
        if wire is not None and self._lines.add(wire, parts):
            _set_has_only_logs(self, True)
        else:
            SolveStatus.put_json_line(self, parts)

    def shifted(self, shift: int) -> SolveStatus:
        """As `SolveStatus.shifted`."""
        if self._wire is None:
            return SolveStatus.shifted(self, shift)
        shift += self._shift
        return _received(self._wire, shift, _lines_of(shift))

    def _fill(self) -> None:
        wire, shift = self._wire, self._shift
        assert wire is not None
        _set_wire(self, None)
        fill_status(self, _FROM_BYTES(wire))
        if shift:
            moved = SolveStatus.shifted(self, shift)
            self.vertexes, self.statuses, self.logs = moved.vertexes, moved.statuses, moved.logs

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
_set_wire = vars(ReceivedStatus)["_wire"].__set__
_set_has_only_logs = vars(ReceivedStatus)["_has_only_logs"].__set__
_set_shift = vars(ReceivedStatus)["_shift"].__set__
_set_lines = vars(ReceivedStatus)["_lines"].__set__


def _received(wire: bytes, shift: int, lines: LogLines) -> ReceivedStatus:
    status = _new(ReceivedStatus)
    _set_has_only_logs(status, False)
    _set_shift(status, shift)
    _set_lines(status, lines)
    _set_wire(status, wire)  # the last one: a status with a message refuses to be set otherwise
    return status


_moved_lines = LogLines()


def _lines_of(shift: int) -> LogLines:
    """What makes lines with times moved so; the last one is kept, since a build moves all of them alike."""
    global _moved_lines
    if _moved_lines.shift != shift:
        _moved_lines = LogLines(shift)
    return _moved_lines


def _values(status: SolveStatus) -> tuple[object, ...]:
    return status.vertexes, status.statuses, status.logs, status.warnings


STATUS: Method[control_pb2.StatusRequest, ReceivedStatus] = Method(
    _methods.STATUS.path,
    client_streaming=False,
    server_streaming=True,
    encode_request=control_pb2.StatusRequest.SerializeToString,
    decode_request=control_pb2.StatusRequest.FromString,
    encode_response=lambda status: [message.SerializeToString() for message in marshal(status)],
    decode_response=ReceivedStatus.read,
)
"""Control.Status, for a client that wants statuses."""
