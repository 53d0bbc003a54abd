"""The hidden command `dial-stdio`: standard input and output joined to the daemon's socket.

Mirrors cmd/buildctl/dialstdio.go, v0.32.2. Connection helpers run it on other machines and in containers.

The end of standard input half-closes the connection; the end of the connection ends the command at once, whether or
not standard input has ended. Each direction has a thread of its own, so that neither waits for the other.
"""

from __future__ import annotations

import os
import socket
import threading

from pybuildkit.client._dial import DialError, connect_unix
from pybuildkit.cmd.buildctl.common._common import LONGEST_SECONDS
from pybuildkit.golang import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext

_SIZE = 256 * 1024


def dial_stdio(c: CommandContext) -> None:
    """Join the streams until the connection ends.

    Raises:
        DialError: nobody answers at the address.
        WrappedError: "error while Copy (stdin to stream): …" or "(stream to stdout)".
    """
    connection = _dial(c.string("addr"), _timeout(c.int("timeout")))
    with connection:
        sender = _Sender(connection)
        sender.start()
        try:
            _copy_out(connection, c)
        except OSError as err:
            if sender.failure is None:
                raise errors.wrap(err, "error while Copy (stream to stdout)") from err
        if sender.failure is not None:
            raise errors.wrap(sender.failure, "error while Copy (stdin to stream)") from sender.failure


def _timeout(seconds: int) -> float | None:
    """Seconds as Go's clock has them: 64 bits of nanoseconds that wrap; None for no bound or more than sockets know."""
    nanoseconds = (seconds * 1_000_000_000 + (1 << 63)) % (1 << 64) - (1 << 63)
    return nanoseconds / 1e9 if nanoseconds and nanoseconds / 1e9 <= LONGEST_SECONDS else None


def _dial(address: str, timeout: float | None) -> socket.socket:
    scheme, separator, path = address.partition("://")
    if not separator:
        raise DialError(f"invalid address {address}")
    if scheme != "unix":
        raise DialError(f"invalid address {address} (expected unix://, got {scheme}://)")
    return connect_unix(path, timeout)


def _copy_out(connection: socket.socket, c: CommandContext) -> None:
    while data := connection.recv(_SIZE):
        c.stdout.write(data)


class _Sender(threading.Thread):
    """Standard input to the connection; a daemon thread, since a read of a terminal cannot be ended."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(name="dial-stdio input", daemon=True)
        self._connection = connection
        self.failure: OSError | None = None

    def run(self) -> None:
        try:
            while data := os.read(0, _SIZE):
                self._connection.sendall(data)
            self._connection.shutdown(socket.SHUT_WR)
        except OSError as err:
            self.failure = err
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already: the other direction has ended the command
