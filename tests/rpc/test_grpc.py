"""Messages, metadata, deadlines and status as bytes."""

from __future__ import annotations

import tracemalloc
from itertools import zip_longest
from unittest import mock

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.rpc import Code, RpcError, _grpc
from pybuildkit.rpc._grpc import (
    Deframer,
    decode_message,
    decode_metadata,
    decode_status,
    decode_timeout,
    encode_message,
    encode_metadata,
    encode_status,
    encode_timeout,
    frame_messages,
)

BODIES = st.lists(st.one_of(st.binary(max_size=20), st.integers(0, 20_000).map(bytes)), max_size=8)


@given(BODIES, st.integers(1, 20_000))
def test_messages_go_through_frames_of_any_size(bodies: list[bytes], step: int) -> None:
    chunks, size = frame_messages(bodies)
    raw = b"".join(chunks)
    assert len(raw) == size
    deframer = Deframer(1 << 20)
    for start in range(0, len(raw), step):
        deframer.feed([memoryview(raw)[start : start + step]])
        assert sum(map(len, deframer.messages)) + 5 * len(deframer.messages) + deframer.partial == min(
            start + step, len(raw)
        )
    assert list(deframer.messages) == bodies
    assert deframer.partial == 0


@given(st.lists(st.binary(max_size=30), min_size=20, max_size=200), st.lists(st.integers(0, 40), max_size=60))
def test_many_messages_that_nobody_takes(bodies: list[bytes], taken: list[int]) -> None:
    """Whatever is taken in between, the messages come whole and in order."""
    with mock.patch.object(_grpc, "_MANY", 5), mock.patch.object(_grpc, "_PACK_SIZE", 100):
        deframer = Deframer(1 << 20)
        got: list[bytes] = []

        def take(number: int) -> None:
            for _ in range(number):
                if deframer.messages:
                    got.append(deframer.messages.popleft())
                    deframer.unpack()

        for body, number in zip_longest(bodies, taken[: len(bodies)], fillvalue=None):
            chunks, _ = frame_messages([body or b""])
            for half in (slice(0, 7), slice(7, None)):
                deframer.feed([memoryview(b"".join(chunks))[half]])
            take(number or 0)
        take(10_000)
    assert got == bodies


def test_small_messages_cost_little_more_than_their_bytes() -> None:
    """A stream that nobody reads holds what the window allows, not ten times that."""
    raw = memoryview(b"\0\0\0\0\x02xy" * 2300)
    deframer = Deframer(1 << 20)
    tracemalloc.start()
    for _ in range(1000):
        deframer.feed([raw])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.3 * 1000 * len(raw)
    count = 0
    while deframer.messages:
        assert deframer.messages.popleft() == b"xy"
        deframer.unpack()
        count += 1
    assert count == 2300 * 1000
    deframer.feed([raw])
    assert len(deframer.messages) == 2300
    deframer.clear()
    deframer.unpack()
    assert not deframer.messages


def test_nothing_of_what_was_fed_is_kept() -> None:
    """A message that is not whole keeps its own bytes alone, not the buffers that they came in."""
    deframer = Deframer(1 << 20)
    buffer = bytearray(b"\0\0\0\x10\0" + b"x" * 1000)
    for _ in range(2):
        view = memoryview(buffer)
        deframer.feed([view[:500], view[500:600], view[600:]])
        view.release()
        buffer += b"y"  # refused while a view on it is left
        buffer[:] = b"z" * 1000
    assert deframer.partial == 2005


def test_small_messages_share_a_buffer_and_large_pieces_are_kept() -> None:
    chunks, _ = frame_messages([b"a", b"b", [b"head", memoryview(bytes(100_000)), b"tail"], b"c"])
    assert [len(c) for c in chunks] == [5 + 1 + 5 + 1 + 5 + 4, 100_000, 4 + 5 + 1]


@pytest.mark.parametrize(
    ("prefix", "code", "text"),
    [
        (b"\0\0\0\0\x0b", Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (11 vs. 10)"),
        (b"\1\0\0\0\0", Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding"),
        (b"\2\0\0\0\0", Code.INTERNAL, "grpc: received unexpected payload format 2"),
    ],
)
def test_messages_that_are_refused(prefix: bytes, code: Code, text: str) -> None:
    with pytest.raises(RpcError) as caught:
        Deframer(10).feed([memoryview(prefix)])
    assert (caught.value.code, caught.value.message) == (code, text)


TIMEOUTS = [
    (0, b"0n"),
    (-1, b"0n"),
    (1e-9, b"1n"),
    (0.05, b"50000000n"),
    (0.1, b"100000u"),
    (1.5, b"1500000u"),
    (3600, b"3600000m"),
    (100_000, b"100000S"),
    (1e8, b"1666667M"),
    (1e15, b"99999999H"),
]


@pytest.mark.parametrize(("seconds", "text"), TIMEOUTS)
def test_timeouts(seconds: float, text: bytes) -> None:
    assert encode_timeout(seconds) == text


@given(st.floats(0, 1e9))
def test_timeouts_are_rounded_up_a_little(seconds: float) -> None:
    assert seconds - 1e-9 <= decode_timeout(encode_timeout(seconds)) <= seconds * 1.0001 + 1e-6


@pytest.mark.parametrize("text", [b"", b"1", b"S", b"123456789S", b"1x", b"-1S", b"1.5S", b" 1S"])
def test_timeouts_that_are_malformed(text: bytes) -> None:
    with pytest.raises(RpcError, match="malformed grpc-timeout"):
        decode_timeout(text)


@given(st.text(st.characters(codec="utf-8")))
def test_messages_of_a_status(message: str) -> None:
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded) == message


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"100%", "100%"), (b"%2", "%2"), (b"%zz%41", "%zzA"), (b"%E2%82%AC", "€"), (b"a%FFb", "a\ufffdb")],
)
def test_escapes_that_are_broken_stay(raw: bytes, text: str) -> None:
    assert decode_message(raw) == text


def test_metadata() -> None:
    metadata: list[tuple[str, str | bytes]] = [
        ("key", "value"),
        ("Upper", "x"),
        ("raw-bin", b"\0\xff\1"),
        ("te", "dropped"),
        ("grpc-status", "0"),
    ]
    headers = encode_metadata(metadata)
    assert headers == [(b"key", b"value"), (b"upper", b"x"), (b"raw-bin", b"AP8B")]
    assert decode_metadata([(b":path", b"/x"), (b":authority", b"a"), *headers]) == [
        (":authority", "a"),
        ("key", "value"),
        ("upper", "x"),
        ("raw-bin", b"\0\xff\1"),
    ]


@given(st.binary())
def test_binary_metadata(value: bytes) -> None:
    assert decode_metadata(encode_metadata([("x-bin", value)])) == [("x-bin", value)]


@pytest.mark.parametrize("pair", [("k", "a\nb"), ("k", "é"), ("a b", "x"), ("", "x")])
def test_metadata_that_cannot_be_sent(pair: tuple[str, str]) -> None:
    with pytest.raises(RpcError) as caught:
        encode_metadata([pair])
    assert caught.value.code == Code.INTERNAL


def test_status_with_details() -> None:
    detail = any_pb2.Any()
    detail.Pack(wrappers_pb2.StringValue(value="more"))
    sent = RpcError(Code.NOT_FOUND, "no ü", [detail])
    got = decode_status(encode_status(sent))
    assert got is not None
    assert (got.code, got.message, got.details) == (sent.code, sent.message, sent.details)
    assert decode_status(encode_status(None)) is None


def test_status_that_is_odd() -> None:
    cases: list[tuple[list[tuple[bytes, bytes]], str]] = [
        ([], "rpc error: code = Unknown desc = "),
        ([(b"grpc-status", b"x")], 'transport: malformed grpc-status: strconv.ParseInt: parsing "x": invalid syntax'),
        ([(b"grpc-status", b"99"), (b"grpc-message", b"m")], "rpc error: code = Code(99) desc = m"),
        ([(b"grpc-status", b"5"), (b"grpc-status-details-bin", b"/////w")], "rpc error: code = NotFound desc = "),
    ]
    for headers, text in cases:
        error = decode_status(headers)
        assert error is not None
        assert text in str(error)


def test_details_that_contradict_the_status() -> None:
    headers = encode_status(RpcError(5, "m", [any_pb2.Any()]))
    headers[0] = (b"grpc-status", b"7")
    with pytest.raises(RpcError, match="grpc-status-details-bin mismatch: grpc-status=PermissionDenied"):
        decode_status(headers)


def test_errors_print_as_go_prints_them() -> None:
    assert str(RpcError(14, "gone")) == "rpc error: code = Unavailable desc = gone"
    assert RpcError(1, "x").code is Code.CANCELLED
    assert Code.CANCELLED.text == "Canceled"
    assert RpcError(3, "x").status_proto().code == 3
    assert RpcError(3, "x\udcffy").status_proto().message == "x\ufffdy"
