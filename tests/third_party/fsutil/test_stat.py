"""Stats and packets against the generated messages; ports stat_test.go of tonistiigi/fsutil."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_DIR,
    MODE_SYMLINK,
    MODE_TYPE,
    Stat,
)
from pybuildkit.third_party.fsutil._packet import (
    DATA,
    ERR,
    FIN,
    FIN_PACKET,
    REQ,
    data_end,
    data_header,
    decode_packet,
    error_packet,
    request_packet,
    split_data,
    stat_packet,
)
from pybuildkit.third_party.fsutil._wire import WireError, decode_signed, decode_varint, encode_varint
from pybuildkit.third_party.fsutil.types import stat_pb2, wire_pb2
from tests.third_party.fsutil.changes import make

U32 = st.integers(0, 2**32 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
STATS = st.builds(
    Stat,
    path=st.binary(max_size=200),
    mode=U32 | st.sampled_from([0o644, MODE_DIR | 0o755, MODE_SYMLINK | 0o777]),
    uid=U32 | st.just(0),
    gid=U32 | st.just(0),
    size=I64 | st.integers(0, 2000),
    mod_time=I64 | st.integers(10**18, 2 * 10**18),
    linkname=st.just(b"") | st.binary(max_size=200),
    devmajor=st.just(0) | I64,
    devminor=st.just(0) | I64,
    xattrs=st.none() | st.dictionaries(KEYS, st.binary(max_size=6), min_size=1, max_size=3),
)


def to_message(stat: Stat) -> stat_pb2.Stat:
    return stat_pb2.Stat(
        path=stat.path,
        mode=stat.mode,
        uid=stat.uid,
        gid=stat.gid,
        size=stat.size,
        modTime=stat.mod_time,
        linkname=stat.linkname,
        devmajor=stat.devmajor,
        devminor=stat.devminor,
        xattrs=stat.xattrs or {},
    )


@given(STATS)
def test_stat_is_the_generated_message(stat: Stat) -> None:
    message = to_message(stat)
    assert stat_pb2.Stat.FromString(stat.marshal()) == message
    if len(stat.xattrs or {}) < 2:
        assert stat.marshal() == message.SerializeToString(deterministic=True)
    read = Stat.unmarshal(message.SerializeToString())
    assert to_message(read) == message
    assert decode_packet(stat_packet(stat)).stat == stat


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value: int) -> None:
    raw = encode_varint(value)
    assert decode_varint(raw, 0, len(raw)) == (value, len(raw))
    if value < 2**63:
        assert decode_signed(raw) == value


@given(st.integers(0, 4), STATS | st.none(), U32, st.binary(max_size=300))
def test_packet_is_the_generated_message(kind: int, stat: Stat | None, id: int, data: bytes) -> None:
    message = wire_pb2.Packet(type=wire_pb2.Packet.PacketType.ValueType(kind), ID=id, data=data)
    if stat is not None:
        message.stat.CopyFrom(to_message(stat))
    packet = decode_packet(message.SerializeToString())
    assert (packet.type, packet.id, bytes(packet.data), packet.stat) == (kind, id, data, stat)


@given(U32, st.binary(max_size=5000))
def test_our_packets_are_generated_messages(id: int, data: bytes) -> None:
    for raw, kind in ((request_packet(id), REQ), (data_end(id), DATA)):
        message = wire_pb2.Packet.FromString(raw)
        assert (message.type, message.ID, message.data) == (kind, id, b"")
    raw = data_header(id, len(data)) + data
    message = wire_pb2.Packet.FromString(raw)
    assert (message.type, message.ID, message.data) == (DATA, id, data)
    assert split_data(raw) == (encode_varint(id) if id else b"", data)
    assert split_data(data_end(id)) == (encode_varint(id) if id else b"", b"")


def test_fin_and_error_packets() -> None:
    assert wire_pb2.Packet.FromString(FIN_PACKET).type == FIN
    message = wire_pb2.Packet.FromString(error_packet("grün"))
    assert (message.type, message.data) == (ERR, "grün".encode())


@given(st.binary(max_size=60))
def test_decoder_accepts_or_refuses_anything(raw: bytes) -> None:
    try:
        decode_packet(raw)
        split_data(raw)
    except WireError:
        pass


@pytest.mark.parametrize(
    "raw",
    [b"\x12\x05\x0a", b"\x08", b"\x22\x02a", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x00"],
)
def test_decoder_refuses(raw: bytes) -> None:
    with pytest.raises(WireError):
        decode_packet(raw)


def test_unknown_fields_are_skipped() -> None:
    raw = stat_packet(Stat(b"a", 0o644)) + b"\x7a\x02xx" + b"\x2d1234" + b"\x29" + bytes(8) + b"\x50\x01"
    packet = decode_packet(raw)
    assert packet.stat == Stat(b"a", 0o644)


def test_stat(tmp_path: Path) -> None:
    """TestStat."""
    root = make(
        tmp_path / "d",
        [
            "ADD foo file data1",
            "ADD zzz dir",
            "ADD zzz/aa file data3",
            "ADD zzz/bb dir",
            "ADD zzz/bb/cc dir",
            "ADD zzz/bb/cc/dd symlink ../../",
        ],
    )
    make(root, ["ADD sock socket"])
    uid, gid = os.getuid(), os.getgid()
    table = {
        "foo": Stat(b"foo", 0o644, size=5, uid=uid, gid=gid),
        "zzz": Stat(b"zzz", MODE_DIR | 0o700, uid=uid, gid=gid),
        "zzz/aa": Stat(b"aa", 0o644, size=5, uid=uid, gid=gid),
        "zzz/bb/cc/dd": Stat(b"dd", MODE_SYMLINK | 0o777, size=6, linkname=b"../../", uid=uid, gid=gid),
        "sock": Stat(b"sock", (root / "sock").stat().st_mode & 0o777, uid=uid, gid=gid),
    }
    for path, wanted in table.items():
        found = fsutil.stat(str(root / path))
        assert found.mod_time == (root / path).lstat().st_mtime_ns
        found.mod_time = 0
        assert found == wanted, path


def test_stat_of_a_device() -> None:
    """Its numbers travel, and its type; it has no size."""
    found = fsutil.stat("/dev/null")
    assert (found.devmajor, found.devminor, found.size) == (1, 3, 0)
    assert found.mode & MODE_TYPE == MODE_DEVICE | MODE_CHAR_DEVICE


def test_clone_is_independent() -> None:
    stat = Stat(b"a", 0o644, xattrs={"k": b"v"})
    copy = stat.clone()
    assert copy == stat
    copy.mode = 0
    assert copy != stat
    assert repr(stat) == "Stat(mode=420, path=b'a', xattrs={'k': b'v'})"


@pytest.mark.parametrize(
    ("unix", "go"),
    [
        (0o104755, 1 << 23 | 0o755),
        (0o102755, 1 << 22 | 0o755),
        (0o101777, 1 << 20 | 0o777),
        (0o040700, MODE_DIR | 0o700),
    ],
)
def test_modes(unix: int, go: int) -> None:
    assert fsutil.go_mode(unix) == go
    assert fsutil.unix_permissions(go) == unix & 0o7777
