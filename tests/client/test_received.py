"""Received statuses are statuses: the same values and the same JSON as the message's, whatever its bytes are."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.client._graph import SolveStatus, StatusError, VertexLog, VertexWarning
from pybuildkit.client._loglines import LogLines
from pybuildkit.client._received import ReceivedStatus
from pybuildkit.client._status import marshal, new_solve_status

DIGEST = "sha256:" + "0123456789abcdef" * 4
NOW = 1_700_000_000 * 1_000_000_000
DIGESTS = st.sampled_from([DIGEST, DIGEST.upper(), "sha256:<&>" + "é" * 30 + "x", "short", ""])
TIMES = st.builds(
    lambda second, nanos: second * 1_000_000_000 + nanos,
    st.sampled_from([1_700_000_000, 1_700_000_001, 300_000_000, 1, 0, -5]),
    st.sampled_from([0, 1, 127, 128, 500_000_000, 999_999_999]) | st.integers(0, 999_999_999),
)
KINDS = ["logs", "logs", "values", "moved", "warned"]
SHIFTS = [0, 1, 300_000_000, -999_999_999, 10**18]
SIZES = st.sampled_from([0, 1, 2, 3, 100, 127, 128, 200, 16_300, 16_383, 16_384, 20_000])
LOGS = st.builds(VertexLog, DIGESTS, st.integers(0, 300) | st.integers(0, 4), SIZES.map(lambda n: b"x" * n), TIMES)
USUAL = st.builds(
    VertexLog,
    st.just(DIGEST),
    st.integers(1, 2),
    SIZES.filter(lambda n: n > 2).map(lambda n: b"y" * n),
    st.integers(NOW + (1 << 21), NOW + 999_999_999),
)


def line_of(status: SolveStatus) -> bytes:
    parts: list[bytes] = [b"before"]
    try:
        status.put_json_line(parts)
        assert parts.pop(0) == b"before"
        return b"".join(parts)
    except StatusError as err:
        return str(err).encode()


def check(wire: bytes) -> None:
    """Received and converted statuses agree."""
    try:
        expected = new_solve_status(pb.StatusResponse.FromString(wire))
    except DecodeError:
        with pytest.raises(DecodeError):
            ReceivedStatus.read(wire)
        return
    received = ReceivedStatus.read(wire)
    assert received.has_warnings() is bool(expected.warnings)
    assert line_of(received) == line_of(expected)
    logs = received.bare_logs()
    assert (logs is None) is bool(expected.vertexes or expected.statuses or expected.warnings)
    if logs is not None:
        assert list(logs) == [(log.vertex, log.data, log.timestamp) for log in expected.logs]
    for shift in SHIFTS:
        moved = ReceivedStatus.read(wire).shifted(shift)
        assert line_of(moved) == line_of(expected.shifted(shift))
        assert moved.bare_logs() == expected.shifted(shift).bare_logs()
        assert moved.shifted(shift) == expected.shifted(2 * shift)
    assert received == expected
    assert expected == received
    assert line_of(received) == line_of(expected)


@given(st.lists(LOGS, max_size=5))
@settings(deadline=None, max_examples=200)
def test_any_logs(logs: list[VertexLog]) -> None:
    for message in marshal(SolveStatus(logs=logs)):
        check(message.SerializeToString())


@given(st.lists(USUAL, min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=400)
def test_any_bytes(logs: list[VertexLog], data: st.DataObject) -> None:
    wire = bytearray(marshal(SolveStatus(logs=logs))[0].SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, min(len(wire) - 1, 200)))
        wire[place] = data.draw(st.integers(0, 255))
    check(bytes(wire[: data.draw(st.integers(0, len(wire)))] if data.draw(st.booleans()) else wire))


@given(st.lists(USUAL, min_size=1, max_size=5))
@settings(deadline=None)
def test_usual_logs_take_the_short_way(logs: list[VertexLog]) -> None:
    message = marshal(SolveStatus(logs=logs))[0].SerializeToString()
    assert LogLines().add(message, [])
    assert LogLines(300_000_000).add(message, [])


def touched(status: ReceivedStatus) -> ReceivedStatus:
    """The same, after somebody asked for its values."""
    assert status.logs is not None
    return status


@given(
    st.lists(
        st.tuples(st.lists(LOGS, max_size=3), st.sampled_from(KINDS)),
        min_size=1,
    )
)
@settings(deadline=None, max_examples=150)
def test_logs_of_several(parts: list[tuple[list[VertexLog], str]]) -> None:
    statuses: list[SolveStatus] = []
    for logs, kind in parts:
        plain = SolveStatus(logs=logs, warnings=[VertexWarning(DIGEST)] if kind == "warned" else [])
        status = ReceivedStatus.read(marshal(plain)[0].SerializeToString())
        moved = status.shifted(7) if kind == "moved" else status
        statuses.append(touched(status) if kind == "values" else moved)
    expected = [log for status in statuses for log in status.shifted(0).bare_logs() or ()]
    found = statuses[0].bare_logs(statuses[1:])
    assert found == (None if any(kind == "warned" for _, kind in parts) else expected)


def test_logs_of_too_many_are_not_read_at_once() -> None:
    status = SolveStatus(logs=[VertexLog(DIGEST, 1, b"x" * 400_000, NOW)])
    statuses = [ReceivedStatus.read(marshal(status)[0].SerializeToString()) for _ in range(3)]
    assert statuses[0].bare_logs(statuses[1:2]) is not None
    assert statuses[0].bare_logs(statuses[1:]) is None
    assert statuses[0].bare_logs() is not None


def usual() -> ReceivedStatus:
    status = SolveStatus(logs=[VertexLog(DIGEST, 1, b"hello\n", NOW + 500_000_000)])
    return ReceivedStatus.read(marshal(status)[0].SerializeToString())


def test_what_is_set_is_written() -> None:
    changed = usual()
    changed.warnings = [VertexWarning(DIGEST)]
    assert b'"warnings"' in line_of(changed)
    assert b'"logs"' in line_of(changed)
    appended = usual()
    appended.logs.append(appended.logs[0])
    assert line_of(appended).count(b'"data"') == 2


def test_copies_are_plain_values() -> None:
    assert type(copy.copy(usual())) is SolveStatus
    assert copy.deepcopy(usual()) == usual()
    replaced = replace(usual(), logs=[])
    assert replaced == SolveStatus()
    assert line_of(replaced) == b"{}\n"
    with pytest.raises(AttributeError):
        _ = usual().nothing  # type: ignore[attr-defined]  # what the test is about
