"""The daemon inside the client's own process, for `embedded://`.

A dialer gives the client one end of a socket pair; the other is served by a daemon in a thread with an event loop
of its own. Connections to one state folder share a daemon; it ends with the last of them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable

from fake_buildkitd.store import StoreError
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Endpoint

_DEFAULT_WAIT = 20.0
_CLOSE_SECONDS = 5.0
_TO_TELL_SECONDS = 0.5
"""How long before the end of its time a connection gives up waiting, so that its error is the one that is told."""


def state_folder() -> str:
    """Where the embedded daemon keeps its state: `$XDG_CACHE_HOME/pybuildkit`, else `~/.cache/pybuildkit`."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "pybuildkit")


class _Embedded:
    """One daemon in its thread."""

    def __init__(self, folder: str, wait: float) -> None:
        from fake_buildkitd.server import Daemon

        self._daemon = Daemon(state=folder, wait=wait)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.users = 0
        self._thread = threading.Thread(target=self._run, name="embedded-buildkitd", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        self._daemon.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)
        await self._daemon.close()

    def connect(self) -> socket.socket:
        """A new connection's end."""
        ours, theirs = socket.socketpair()
        self._loop.call_soon_threadsafe(self._serve, theirs)
        return ours

    def _serve(self, sock: socket.socket) -> None:
        task = self._loop.create_task(self._serve_socket(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_socket(self, sock: socket.socket) -> None:
        try:
            await self._daemon.serve_socket(sock)
        except (BuildkitError, OSError):
            sock.close()  # the client broke the protocol or went away: its connection is over

    def stop(self) -> None:
        """End the daemon and wait for it, for a bounded time."""
        stop = self._stop
        assert stop is not None
        self._loop.call_soon_threadsafe(stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_SECONDS)


_daemons: dict[str, _Embedded] = {}
_lock = threading.Lock()


def connect(path: str = "", timeout: float | None = None) -> Endpoint:
    """A connection to the embedded daemon.

    Args:
        path: the state folder; "" for the default one.
        timeout: seconds that the connection may take; while another process uses the folder, nearly all of them are
            waited.

    Raises:
        StoreError: the folder cannot be used.
    """
    folder = os.path.abspath(path or state_folder())
    with _lock:
        daemon = _daemons.get(folder)
        if daemon is None:
            wait = _DEFAULT_WAIT if timeout is None else max(timeout - _TO_TELL_SECONDS, timeout / 2)
            daemon = _daemons[folder] = _start(folder, wait)
        daemon.users += 1
        sock = daemon.connect()
    return Endpoint(sock=sock, on_close=_closer(folder, daemon))


def _start(folder: str, wait: float) -> _Embedded:
    try:
        return _Embedded(folder, wait)
    except StoreError:
        raise
    except OSError as err:
        raise StoreError(f"cannot use {folder} for the daemon's state: {err.strerror}") from err


def _closer(folder: str, daemon: _Embedded) -> Callable[[], None]:
    closed = False

    def close() -> None:
        nonlocal closed
        with _lock:
            if closed:
                return
            closed = True
            daemon.users -= 1
            if daemon.users:
                return
            _daemons.pop(folder, None)
        daemon.stop()

    return close


def dialer(path: str = "") -> Callable[[float | None], Endpoint]:
    """A dialer for `embedded://`; see `connect`."""
    return lambda timeout: connect(path, timeout)
