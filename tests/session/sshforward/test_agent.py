"""The agent protocol, without sockets: what is answered, and what never reaches the user's agent."""

from __future__ import annotations

import asyncio

import pytest

from pybuildkit.golang import context
from pybuildkit.session.sshforward.sshprovider import KeyFileError
from pybuildkit.session.sshforward.sshprovider._agent import (
    AgentConn,
    AgentProtocolError,
    Keyring,
    MessageReader,
    UpstreamAgent,
)
from pybuildkit.session.sshforward.sshprovider._keys import PrivateKey, pack_string

BG = context.background()


def _sign(data: bytes, flags: int) -> bytes:
    if flags:
        raise KeyFileError("no flags")
    return b"signed " + data


ONE, TWO, THREE = (pack_string(name) for name in (b"one", b"two", b"three"))
KEYS = [PrivateKey(ONE, _sign), PrivateKey(TWO, _sign), PrivateKey(ONE, _sign)]


def sign_request(blob: bytes, data: bytes, flags: int = 0) -> bytes:
    return b"\x0d" + pack_string(blob) + pack_string(data) + flags.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"\x01", b"\x02\0\0\0\0"),
        (b"\x0b", b"\x0c\0\0\0\x02" + pack_string(ONE) + bytes(4) + pack_string(TWO) + bytes(4)),
        (sign_request(TWO, b"x"), b"\x0e" + pack_string(b"signed x")),
        (sign_request(TWO, b"x", 2), b"\x05"),
        (sign_request(THREE, b"x"), b"\x05"),
        (b"\x0d\0\0\0\x09short", b"\x05"),
        (sign_request(TWO, b"x") + b"more", b"\x05"),
        (sign_request(TWO, b"x")[:-4], b"\x05"),
        (sign_request(b"no type", b"x"), b"\x05"),
        (b"\x09", b"\x06"),
        *[(bytes((kind,)), b"\x05") for kind in (17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 99)],
    ],
)
async def test_keyring(request_: bytes, answer: bytes) -> None:
    assert await Keyring(KEYS).answer(BG, request_) == answer


class FakeUpstream:
    """The connection to an agent: takes requests, gives prepared bytes."""

    def __init__(self, answers: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self.closed = False
        self._answers = answers

    async def read(self, n: int) -> bytes:
        return self._answers.pop(0) if self._answers else b""

    async def write_all(self, data: bytes) -> None:
        self.requests.append(data)

    async def close_write(self) -> None:
        raise AssertionError("an agent's connection is not half-closed")

    def peer_gone(self) -> bool:
        return not self._answers

    async def close(self) -> None:
        self.closed = True


async def test_upstream_gets_listing_and_signing_only() -> None:
    upstream = FakeUpstream([b"\0\0\0\x02", b"\x0c", b"L\0\0\0\x01\x0e"])
    agent = UpstreamAgent(upstream)
    request = sign_request(ONE, b"x")
    for junk in (b"\x0d", b"\x0dreq", request + b"more", request[:-1], sign_request(b"no type", b"x")):
        assert await agent.answer(BG, junk) == b"\x05"
    assert await agent.answer(BG, b"\x0b and more") == b"\x0cL"
    assert await agent.answer(BG, request) == b"\x0e"
    refused = {kind: await agent.answer(BG, bytes((kind,))) for kind in (17, 18, 19, 22, 23, 25, 27)}
    assert refused == dict.fromkeys((17, 18, 19, 22, 23, 25, 27), b"\x05")
    assert await agent.answer(BG, b"\x1b" + pack_string(b"query")) == b"\x1c"
    assert await agent.answer(BG, b"\x01") == b"\x02\0\0\0\0"
    assert await agent.answer(BG, b"\x09") == b"\x06"
    assert upstream.requests == [b"\0\0\0\x01\x0b", pack_string(request)]


@pytest.mark.parametrize("answers", [[], [b"\0\0"], [b"\xff\xff\xff\xff"], [b"\0\0\0\0"]])
async def test_upstream_that_goes_away_or_talks_junk(answers: list[bytes]) -> None:
    """Every request fails from then on, and no byte of the agent's junk reaches the build."""
    upstream = FakeUpstream([*answers, b"", b"late"])
    conn = AgentConn(BG, UpstreamAgent(upstream))
    await conn.write_all(pack_string(b"\x0b") * 2)
    await conn.write_all(pack_string(sign_request(ONE, b"x")))
    assert await conn.read(100) + await conn.read(100) + await conn.read(100) == pack_string(b"\x05") * 3
    assert len(upstream.requests) == 1
    await conn.close()
    assert await conn.read(100) == b""
    assert upstream.closed


async def test_upstream_that_answers_something_else() -> None:
    agent = UpstreamAgent(FakeUpstream([pack_string(b"\x06"), pack_string(b"\x0c"), pack_string(b"\x0cL")]))
    assert await agent.answer(BG, b"\x0b") == b"\x05"
    assert await agent.answer(BG, sign_request(ONE, b"x")) == b"\x05"
    assert await agent.answer(BG, b"\x0b") == b"\x0cL"


async def test_requests_cut_anywhere_and_answers_in_pieces() -> None:
    conn = AgentConn(BG, Keyring(KEYS))
    for byte in pack_string(b"\x01") + pack_string(b"\x63"):
        await conn.write_all(bytes((byte,)))
    await conn.close_write()
    pieces = []
    while piece := await conn.read(2):
        pieces.append(piece)
    assert b"".join(pieces) == pack_string(b"\x02\0\0\0\0") + pack_string(b"\x05")
    assert max(map(len, pieces)) == 2


async def test_end_wakes_a_pending_read() -> None:
    conn = AgentConn(BG, Keyring(KEYS))
    reading = asyncio.ensure_future(conn.read(1))
    await asyncio.sleep(0)  # the read begins
    await conn.close_write()
    assert await asyncio.wait_for(reading, 10) == b""
    assert await conn.read(1) == b""


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
async def test_what_is_no_message_ends_the_connection(data: bytes) -> None:
    reader = MessageReader()
    reader.feed(data)
    with pytest.raises(AgentProtocolError):
        reader.next()
    conn = AgentConn(BG, Keyring(KEYS))
    await conn.write_all(data)
    assert await conn.read(1) == b""
