"""Header blocks: what we write is read by hpack, what hpack writes is read by us."""

from __future__ import annotations

import sys

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.rpc._frames import CompressionFault, FloodFault
from pybuildkit.rpc._headers import BlockDecoder, encode_block, malformed
from tests.rpc.frames import REQUEST, RESPONSE, TRAILERS

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=20).map(str.encode)
VALUES = st.binary(max_size=300)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


@given(FIELDS)
def test_our_blocks_decode_elsewhere(fields: list[tuple[bytes, bytes]]) -> None:
    assert [(bytes(k), bytes(v)) for k, v in Decoder().decode(encode_block(fields), raw=True)] == fields


@given(st.lists(st.tuples(FIELDS, st.booleans()), max_size=5))
def test_blocks_of_others_decode_here(lists: list[tuple[list[tuple[bytes, bytes]], bool]]) -> None:
    encoder, decoder = Encoder(), BlockDecoder(1 << 20)
    for fields, huffman in lists:
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 16383, 16384, 70000])
def test_lengths(size: int) -> None:
    fields = [(b"x", b"v" * size)]
    assert BlockDecoder(1 << 20).decode(encode_block(fields)) == fields


@pytest.mark.parametrize("block", [b"\x80", b"\xff\xff\xff\xff\xff\xff", b"\x40\x05ab", b"\x00\x81\xff\x00"])
def test_a_broken_block(block: bytes) -> None:
    with pytest.raises(CompressionFault):
        BlockDecoder(1 << 20).decode(block)


def test_a_list_over_the_limit() -> None:
    with pytest.raises(FloodFault):
        BlockDecoder(100).decode(encode_block([(b"name", b"v" * 100)]))


def test_legal_lists_are_not_malformed() -> None:
    assert malformed(REQUEST, request=True, trailer=False) is None
    assert malformed(RESPONSE, request=False, trailer=False) is None
    assert malformed(TRAILERS, request=False, trailer=True) is None
    assert malformed(TRAILERS, request=False, trailer=False) == "missing pseudo-header ':status'"


def test_hpack_is_not_imported_before_it_is_needed() -> None:
    import subprocess

    script = "import sys, pybuildkit.rpc._blocking; assert not {'hpack', 'asyncio', 'logging'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
