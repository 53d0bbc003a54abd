"""From the global flags to a connection with the daemon.

Mirrors ResolveClient of cmd/buildctl/common/common.go, v0.32.2. Short commands get a `BlockingChannel`, which needs no
event loop; the build command gets a `Client`.

Differs on purpose: `--timeout` bounds connecting up to the daemon's HTTP/2 SETTINGS (0 for no bound), never a call;
for `tcp://` beyond loopback a connection without TLS is warned of, and `--tlsservername` without a CA is refused.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from pybuildkit.client._dial import Credentials, check_host_port, hostname, is_loopback, resolve, tcp_address
from pybuildkit.golang import url
from pybuildkit.golang.errors import BuildkitError, with_op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pybuildkit.client._client import Client
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import BlockingChannel

LONGEST_SECONDS = 2_000_000
_RETRY_SECONDS = 0.2


class TLSFilesError(BuildkitError):
    """The TLS flags contradict each other, or a folder lacks a file."""


def resolve_tls_files_from_dir(folder: str) -> tuple[str, str, str]:
    """The paths of the CA certificates, the client's certificate and its key in a folder.

    Raises:
        TLSFilesError: one of them is missing.
        OSError: the folder cannot be read.
    """
    return (
        _one_of(folder, "ca.pem", "ca.crt"),
        _one_of(folder, "cert.pem", "tls.crt"),
        _one_of(folder, "key.pem", "tls.key"),
    )


def _one_of(folder: str, either: str, other: str) -> str:
    for name in (either, other):
        path = os.path.normpath(os.path.join(folder, name))
        try:
            os.stat(path)
        except FileNotFoundError:
            continue
        except OSError as err:
            raise with_op(err, "stat") from err
        return path
    raise TLSFilesError(f"directory did not contain one of the needed files: {either} or {other}")


def resolve_credentials(c: CommandContext) -> Credentials | None:
    """The TLS files that the flags name; None for a connection without TLS.

    Raises:
        BuildkitError, OSError: the flags contradict each other, a file is missing, or the address is no URL.
    """
    address = c.string("addr")
    server_name = c.string("tlsservername")
    parsed = url.parse(address) if not server_name else None
    ca, cert, key = c.string("tlscacert"), c.string("tlscert"), c.string("tlskey")
    if c.string("tlsdir"):
        if ca or cert or key:
            raise TLSFilesError("cannot specify tlsdir and tlscacert/tlscert/tlskey at the same time")
        ca, cert, key = resolve_tls_files_from_dir(c.string("tlsdir"))
    if ca:
        return Credentials(
            server_name=server_name or (parsed.hostname() if parsed else ""), ca_cert=ca, cert=cert, key=key
        )
    if cert or key:
        return Credentials(cert=cert, key=key)
    return _without_tls(address, server_name)


def _without_tls(address: str, server_name: str) -> Credentials | None:
    """What a connection without TLS needs to know: a server name that then cannot be checked."""
    parsed = url.parse(address)
    if parsed.scheme not in ("tcp", "dns", "passthrough"):
        return None
    try:
        host = tcp_address(address, parsed)
        if host.startswith("unix:"):
            return None
        check_host_port(host)
    except BuildkitError:
        return None  # resolving or dialling the address fails with it again
    if is_loopback(hostname(host)):
        return None
    if server_name:
        return Credentials(server_name=server_name)
    from pybuildkit.util import bklog

    bklog.L.warning(f"the connection to {host} is neither encrypted nor authenticated: no TLS flag is given")
    return None


def dial_timeout(c: CommandContext) -> float | None:
    """Seconds that connecting may take, None for no bound; more than a socket's clock can hold is no bound either."""
    seconds = c.int("timeout")
    return float(seconds) if 0 < seconds <= LONGEST_SECONDS else None


def resolve_channel(c: CommandContext) -> BlockingChannel:
    """A connection for short commands; nothing is dialled before the first call, unless `--wait` is given.

    Raises:
        BuildkitError, OSError: the flags or the address are wrong, or `--wait` got no answer in `--timeout` seconds.
    """
    from pybuildkit.rpc import BlockingChannel

    target = resolve(c.string("addr"), resolve_credentials(c))
    channel = BlockingChannel(target.dial, authority=target.authority, timeout=dial_timeout(c))
    if c.bool("wait"):
        try:
            _wait(channel, dial_timeout(c))
        except BaseException:
            channel.close()
            raise
    return channel


@contextmanager
def command_channel(c: CommandContext) -> Iterator[BlockingChannel]:
    """`resolve_channel`, closed at the end."""
    channel = resolve_channel(c)
    try:
        yield channel
    finally:
        channel.close()


def _wait(channel: BlockingChannel, timeout: float | None) -> None:
    """Ask for the daemon's version until it answers or `timeout` seconds are over."""
    from pybuildkit.api.services.control import _methods, control_pb2
    from pybuildkit.golang.context import DeadlineExceededError
    from pybuildkit.rpc import Code, RpcError

    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise DeadlineExceededError
        try:
            channel.unary(_methods.INFO, control_pb2.InfoRequest(), timeout=left)
            return
        except RpcError as err:
            if err.code == Code.UNIMPLEMENTED:
                return
            if err.code == Code.DEADLINE_EXCEEDED:
                raise DeadlineExceededError from err
            if err.code != Code.UNAVAILABLE:
                raise
        time.sleep(_RETRY_SECONDS if left is None else min(_RETRY_SECONDS, max(left, 0)))


async def resolve_client(ctx: Context, c: CommandContext) -> Client:
    """A client for the build command.

    Raises:
        BuildkitError, OSError: the flags or the address are wrong, or `--wait` got no answer in `--timeout` seconds.
    """
    from pybuildkit import client
    from pybuildkit.golang import context

    credentials = resolve_credentials(c)
    opts = []
    if credentials is not None and (credentials.ca_cert or credentials.server_name):
        opts.append(client.with_server_config(credentials.server_name, credentials.ca_cert))
    if credentials is not None and (credentials.cert or credentials.key):
        opts.append(client.with_credentials(credentials.cert, credentials.key))
    seconds = dial_timeout(c)
    if seconds is not None:
        opts.append(client.with_dial_timeout(seconds))
    connected = await client.new(ctx, c.string("addr"), *opts)
    if c.bool("wait"):
        bounded, cancel = context.with_timeout(ctx, seconds) if seconds is not None else (ctx, lambda: None)
        try:
            await connected.wait(bounded)
        except BaseException:
            await connected.close()
            raise
        finally:
            cancel()
    return connected
