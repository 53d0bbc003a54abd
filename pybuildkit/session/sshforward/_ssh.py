"""The daemon's end: a socket in the build for an agent of the client. Mirrors session/sshforward/ssh.go, v0.32.2.

Differs on purpose: a connection that the client refuses ends alone, and closing the socket ends the connections
that are open.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.session.sshforward._copy import SocketConn, copy
from pybuildkit.session.sshforward._methods import CHECK_AGENT, FORWARD_AGENT
from pybuildkit.session.sshforward.ssh_pb2 import CheckAgentRequest
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller

DEFAULT_ID = "default"
KEY_SSH_ID = "buildkit.ssh.id"


@dataclass(frozen=True, kw_only=True)
class SocketOpt:
    """The socket to make: the agent's id, the socket's owner (-1: as it is) and its permissions."""

    id: str = ""
    uid: int = -1
    gid: int = -1
    mode: int = 0o600


class _Forwarder:
    """Accepts connections and forwards each one in a call of its own."""

    def __init__(self, ctx: Context, caller: Caller, agent_id: str) -> None:
        self._ctx, self._cancel = context.with_cancel(caller.context(ctx))
        self._caller = caller
        self._id = agent_id
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: str) -> None:
        self._server = await asyncio.start_unix_server(self._accept, path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._forward(SocketConn(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, conn: SocketConn) -> None:
        try:
            channel = self._caller.conn()
            stream = await channel.stream(self._ctx, FORWARD_AGENT, metadata=[(KEY_SSH_ID, self._id)])
            try:
                await copy(self._ctx, conn, stream, stream.close_send)
            finally:
                stream.cancel()
        except (BuildkitError, OSError) as err:
            bklog.get_logger(self._ctx).debug(f"forwarding ssh connection {self._id} ended: {error_text(err)}")
        finally:
            await conn.close()

    async def close(self) -> None:
        self._cancel()
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def mount_ssh_socket(ctx: Context, caller: Caller, opt: SocketOpt) -> tuple[str, Callable[[], Awaitable[None]]]:
    """Listen on a new Unix socket whose connections reach an agent of the client.

    Args:
        ctx: ends all connections.
        caller: the session.
        opt: which agent, and whose the socket is.

    Returns:
        the socket's path and an async function that ends everything and removes the socket with its folder.

    Raises:
        OSError: the socket cannot be made; nothing is left then.
    """
    folder = tempfile.mkdtemp(prefix=".buildkit-ssh-sock")
    forwarder = _Forwarder(ctx, caller, opt.id or DEFAULT_ID)

    async def close() -> None:
        await forwarder.close()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        os.chmod(folder, 0o711)
        path = os.path.join(folder, "ssh_auth_sock")
        await forwarder.listen(path)
        os.chown(path, opt.uid, opt.gid)
        os.chmod(path, opt.mode)
    except BaseException:
        await close()
        raise
    return path, close


async def check_ssh_id(ctx: Context, caller: Caller, agent_id: str) -> None:
    """Ask a session whether it has an agent.

    Args:
        ctx: ends the question.
        caller: the session.
        agent_id: the agent's id.

    Raises:
        RpcError: it has none with this id.
    """
    await caller.conn().unary(caller.context(ctx), CHECK_AGENT, CheckAgentRequest(ID=agent_id))
