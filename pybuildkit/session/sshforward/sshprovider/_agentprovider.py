"""What the values of `--ssh` forward. Mirrors session/sshforward/sshprovider/agentprovider.go, v0.32.2.

A path may be a socket (of an ssh agent, or any socket in raw mode) or a file with a private key; several key files
make one agent of this process, a socket stands alone. Without a path it is the agent of SSH_AUTH_SOCK.

Differs on purpose: an agent's socket at which nobody listens is warned of at once, not when a step needs it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, with_op, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.session.sshforward.sshprovider._keys import (
    KeyFileError,
    PrivateKey,
    UnsupportedKeyError,
    parse_private_key,
)
from pybuildkit.session.sshforward.sshprovider._raw_provider import SocketProvider
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session.sshforward import Conn
    from pybuildkit.session.sshforward.sshprovider._raw_provider import DialerFn

_MAX_KEY_FILE = 100 * 1024
_DIAL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """One thing to forward.

    Attributes:
        id: the name that steps ask for; empty for "default".
        paths: a socket, or key files; none for the agent of SSH_AUTH_SOCK.
        raw: forward the socket's bytes as they are, instead of an agent's requests.
    """

    id: str = ""
    paths: Sequence[str] = ()
    raw: bool = False

    def __str__(self) -> str:
        return f"{{{self.id} [{' '.join(self.paths)}] {'true' if self.raw else 'false'}}}"


def new_ssh_agent_provider(configs: Iterable[AgentConfig]) -> SocketProvider:
    """The ssh service for the configurations; key files are read now, sockets opened when a step connects.

    Args:
        configs: one for each id; an agent that does not answer now is warned of.

    Raises:
        BuildkitError: "duplicate agent ID …", "failed to convert agent config …".
    """
    from pybuildkit.session.sshforward._ssh import DEFAULT_ID

    dialers: dict[str, DialerFn] = {}
    for given in configs:
        config = given if given.id else AgentConfig(id=DEFAULT_ID, paths=given.paths, raw=given.raw)
        if config.id in dialers:
            raise BuildkitError(f"duplicate agent ID {quote(config.id)}")
        try:
            dialers[config.id] = _to_dialer(config)
        except BuildkitError as err:
            raise wrap(err, f"failed to convert agent config {config}") from err
    return SocketProvider(dialers)


def _to_dialer(config: AgentConfig) -> DialerFn:
    if len(config.paths) != 1 and config.raw:
        raise BuildkitError("raw mode must supply exactly one path")
    paths = list(config.paths)
    if not paths or paths == [""]:
        paths = [os.environ.get("SSH_AUTH_SOCK", "")]
    if not paths[0]:
        raise BuildkitError("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
    try:
        return _paths_dialer(paths, config.raw)
    except (BuildkitError, OSError) as err:
        raise wrap(err, f"failed to convert agent config for ID: {quote(config.id)}") from err


def _paths_dialer(paths: Sequence[str], raw: bool) -> DialerFn:
    socket_path = ""
    keys: list[PrivateKey] = []
    for path in paths:
        if socket_path:
            raise BuildkitError("only single socket allowed")
        if _is_socket(path):
            socket_path = path
        elif raw:
            raise BuildkitError("raw mode only supported with socket paths")
        else:
            keys.append(_read_key(path))
    if socket_path and keys:
        raise BuildkitError("invalid combination of keys and sockets")
    if socket_path and raw:
        return lambda ctx: _dial(socket_path)
    if socket_path:
        _warn_when_dead(socket_path)
        return lambda ctx: _dial_agent(ctx, socket_path)
    return lambda ctx: _serve_keys(ctx, keys)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as err:
        raise with_op(err, "stat") from None


def _read_key(path: str) -> PrivateKey:
    try:
        # O_NONBLOCK: a pipe without a writer is empty, and no reason to wait
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as err:
        raise wrap(err, f"failed to open {path}") from err
    try:
        data = bytearray()
        while len(data) < _MAX_KEY_FILE and (piece := os.read(fd, _MAX_KEY_FILE - len(data))):
            data += piece
    except OSError as err:
        failure = with_op(OSError(err.errno, err.strerror, path), "read")
        raise wrap(failure, f"failed to read {path}") from err
    finally:
        os.close(fd)
    try:
        return parse_private_key(bytes(data))
    except UnsupportedKeyError as err:
        raise wrap(err, f"failed to add {path} to agent") from err
    except KeyFileError as err:
        raise wrap(err, f"failed to parse {path}") from err


def _warn_when_dead(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            pass  # somebody listens and is busy
        except OSError as err:
            reason = error_text(OSError(err.errno, err.strerror))
            bklog.L.warning(f"ssh agent socket {path} does not answer: {reason}")


async def _dial(path: str) -> Conn:
    from pybuildkit.session.sshforward._copy import SocketConn

    try:
        reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), _DIAL_SECONDS)
    except TimeoutError:
        raise BuildkitError(f"dial unix {path}: i/o timeout") from None
    except OSError as err:
        reason = error_text(OSError(err.errno, err.strerror))
        raise BuildkitError(f"dial unix {path}: connect: {reason}") from err
    return SocketConn(reader, writer)


async def _dial_agent(ctx: Context, path: str) -> Conn:
    from pybuildkit.session.sshforward.sshprovider._agent import AgentConn, UpstreamAgent

    try:
        upstream = await _dial(path)
    except BuildkitError as err:
        raise wrap(err, f"failed to connect to {path}") from err
    return AgentConn(ctx, UpstreamAgent(upstream))


async def _serve_keys(ctx: Context, keys: Sequence[PrivateKey]) -> Conn:
    from pybuildkit.session.sshforward.sshprovider._agent import AgentConn, Keyring

    return AgentConn(ctx, Keyring(keys))
