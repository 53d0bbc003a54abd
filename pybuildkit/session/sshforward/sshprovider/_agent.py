"""An ssh agent that lists keys and signs, and nothing else.

Mirrors golang.org/x/crypto/ssh/agent (ServeAgent, the keyring) and the read-only wrapper of
session/sshforward/sshprovider/agentprovider.go, v0.32.2.

Protocol (OpenSSH's PROTOCOL.agent): each message is four bytes of length, big end first, then that many bytes, whose
first is the type; strings inside are length-prefixed the same way. Every request has one answer, in order.

    1   REQUEST_RSA_IDENTITIES → 2 RSA_IDENTITIES_ANSWER (always none)
    9   REMOVE_ALL_RSA_IDENTITIES → 6 SUCCESS (there are none)
    11  REQUEST_IDENTITIES     → 12 IDENTITIES_ANSWER: count, then for each key its blob and its comment
    13  SIGN_REQUEST: key blob, data, flags → 14 SIGN_RESPONSE: signature
    27  EXTENSION: name, content → 28 EXTENSION_FAILURE (5 by a keyring)
    any other                  → 5 FAILURE, also when the user's agent does not answer as it should

Differs on purpose: nothing that a build sends changes an agent. Go's client passes "unlock" on to the user's agent,
and lets a build lock, fill and empty the agent made of key files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang import threads
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.session.sshforward.sshprovider._keys import KeyFileError, PrivateKey, pack_string, unpack_string
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session.sshforward import Conn

MAX_MESSAGE = 16 << 20

REQUEST_RSA_IDENTITIES = 1
RSA_IDENTITIES_ANSWER = 2
FAILURE = 5
SUCCESS = 6
REMOVE_ALL_RSA_IDENTITIES = 9
REQUEST_IDENTITIES = 11
IDENTITIES_ANSWER = 12
SIGN_REQUEST = 13
SIGN_RESPONSE = 14
EXTENSION = 27
EXTENSION_FAILURE = 28


_OLD = {
    REQUEST_RSA_IDENTITIES: bytes((RSA_IDENTITIES_ANSWER,)) + bytes(4),
    REMOVE_ALL_RSA_IDENTITIES: bytes((SUCCESS,)),
}
"""Answers about keys of version 1 of the protocol, of which there are none."""

_ANSWERS = {REQUEST_IDENTITIES: IDENTITIES_ANSWER, SIGN_REQUEST: SIGN_RESPONSE}
"""What may reach the user's agent, and the answers that go back."""


class AgentProtocolError(BuildkitError):
    """A message of the agent protocol that is none."""


class Agent(Protocol):
    """Answers requests, one at a time."""

    async def answer(self, ctx: Context, request: bytes) -> bytes:
        """The answer's type and content for those of a request."""

    async def close(self) -> None: ...


class Keyring:
    """An agent over private keys in memory."""

    def __init__(self, keys: Sequence[PrivateKey]) -> None:
        self._keys = list({key.blob: key for key in keys}.values())

    async def answer(self, ctx: Context, request: bytes) -> bytes:
        """The keys, a signature, or a failure."""
        kind = request[0]
        if kind in _OLD:
            return _OLD[kind]
        if kind == REQUEST_IDENTITIES:
            listed = b"".join(pack_string(key.blob) + pack_string(b"") for key in self._keys)
            return bytes((IDENTITIES_ANSWER,)) + len(self._keys).to_bytes(4, "big") + listed
        if kind == SIGN_REQUEST:
            return await self._sign(ctx, request)
        return bytes((FAILURE,))

    async def _sign(self, ctx: Context, request: bytes) -> bytes:
        try:
            blob, data, flags = _sign_request(request)
            key = next(key for key in self._keys if key.blob == blob)
            signature = await threads.call(ctx, lambda: key.sign(data, flags))
        except (KeyFileError, StopIteration):
            return bytes((FAILURE,))
        return bytes((SIGN_RESPONSE,)) + pack_string(signature)

    async def close(self) -> None:
        """Nothing to close."""


class UpstreamAgent:
    """The agent behind a connection, asked for its keys and for signatures only."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._messages = MessageReader()
        self._broken = False

    async def answer(self, ctx: Context, request: bytes) -> bytes:
        """What the agent answers; a failure for a request that may not reach it, and once the agent is gone."""
        kind = request[0]
        if kind in _OLD:
            return _OLD[kind]
        if kind == EXTENSION:
            return bytes((EXTENSION_FAILURE if _has_name(request) else FAILURE,))
        if kind not in _ANSWERS or self._broken or (kind == SIGN_REQUEST and not _is_sign_request(request)):
            return bytes((FAILURE,))
        try:
            answer = await self._ask(request if kind == SIGN_REQUEST else request[:1])
        except (AgentProtocolError, OSError) as err:
            self._broken = True
            bklog.get_logger(ctx).debug(f"the ssh agent failed: {error_text(err)}")
            return bytes((FAILURE,))
        return answer if answer[0] == _ANSWERS[kind] else bytes((FAILURE,))

    async def _ask(self, request: bytes) -> bytes:
        await self._conn.write_all(pack_string(request))
        while (message := self._messages.next()) is None:
            data = await self._conn.read(1 << 16)
            if not data:
                raise AgentProtocolError("the ssh agent closed its connection")
            self._messages.feed(data)
        return message

    async def close(self) -> None:
        """Close the connection."""
        await self._conn.close()


def _sign_request(request: bytes) -> tuple[bytes, bytes, int]:
    """The key's blob, the data and the flags of a sign request; raises KeyFileError where it is none."""
    blob, rest = unpack_string(request[1:])
    data, rest = unpack_string(rest)
    if len(rest) != 4:
        raise KeyFileError("ssh: short read")
    unpack_string(blob)  # the key's type
    return blob, data, int.from_bytes(rest, "big")


def _is_sign_request(request: bytes) -> bool:
    try:
        _sign_request(request)
    except KeyFileError:
        return False
    return True


def _has_name(request: bytes) -> bool:
    try:
        unpack_string(request[1:])
    except KeyFileError:
        return False
    return True


class MessageReader:
    """Cuts bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole message, without its length, or None.

        Raises:
            AgentProtocolError: a message that is empty or over 16 MiB.
        """
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 0 < length <= MAX_MESSAGE:
            raise AgentProtocolError(f"ssh agent message of {length} bytes")
        if len(self._buffer) < 4 + length:
            return None
        message = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        return message


class AgentConn:
    """A connection to an agent of this process: what is written are requests, what is read are answers.

    A request that is no message ends the connection.
    """

    def __init__(self, ctx: Context, agent: Agent) -> None:
        self._ctx = ctx
        self._agent = agent
        self._requests = MessageReader()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""
        self._ended = False

    async def read(self, n: int) -> bytes:
        """The next bytes of answers; b"" when the connection has ended."""
        if not self._rest and not (self._ended and self._answers.empty()):
            self._rest = await self._answers.get()
        piece, self._rest = self._rest[:n], self._rest[n:]
        return piece

    async def write_all(self, data: bytes) -> None:
        """Answer every request that the data completes."""
        self._requests.feed(data)
        try:
            while not self._ended and (request := self._requests.next()) is not None:
                self._answers.put_nowait(pack_string(await self._agent.answer(self._ctx, request)))
        except AgentProtocolError as err:
            bklog.get_logger(self._ctx).debug(f"ssh agent connection ended: {error_text(err)}")
            await self.close_write()

    async def close_write(self) -> None:
        """End the connection after the answers that were given."""
        if not self._ended:
            self._ended = True
            self._answers.put_nowait(b"")

    def peer_gone(self) -> bool:
        """An agent that has ended answers no more."""
        return True

    async def close(self) -> None:
        """End the connection and close what the agent holds."""
        await self.close_write()
        await self._agent.close()
