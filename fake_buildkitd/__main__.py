"""The command `fake-buildkitd`: the daemon on its own.

    fake-buildkitd --addr unix:///run/user/1000/buildkitd.sock [--root FOLDER]

The socket is open to its owner only. SIGTERM and SIGINT end it; builds that run then are cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import stat
import sys

from fake_buildkitd.embedded import state_folder
from fake_buildkitd.server import Daemon
from pybuildkit.golang.errors import BuildkitError, error_text


class AddressError(BuildkitError):
    """An address that the daemon cannot listen on."""


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fake-buildkitd", description="A BuildKit daemon in Python.")
    parser.add_argument("--addr", required=True, help="where to listen: unix:///path or tcp://host:port")
    parser.add_argument("--root", default="", help="folder for the state (default: a folder in the user's cache)")
    parser.add_argument("--memory", action="store_true", help="keep everything in memory")
    return parser.parse_args(argv)


def open_listener(addr: str) -> socket.socket:
    """A listening socket; a unix socket has mode 0600, and an old one in its place is replaced.

    Raises:
        AddressError: another form of address.
        OSError: the system refuses.
    """
    scheme, separator, rest = addr.partition("://")
    if separator and scheme == "unix" and rest:
        return _listen_unix(rest)
    if separator and scheme == "tcp":
        host, _, port = rest.rpartition(":")
        if port.isdigit():
            return socket.create_server((host.strip("[]") or "127.0.0.1", int(port)))
    raise AddressError(f"cannot listen on {addr}: use unix:///path or tcp://host:port")


def _listen_unix(path: str) -> socket.socket:
    if os.path.exists(path):
        _remove_dead_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(mask)
    sock.listen(128)
    return sock


def _remove_dead_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise AddressError(f"cannot listen on {path}: there is a file that is no socket") from None
            os.unlink(path)
            return
    raise AddressError(f"cannot listen on {path}: another process does")


async def serve(sock: socket.socket, root: str | None) -> None:
    """Serve until a signal comes."""
    loop = asyncio.get_running_loop()
    async with Daemon(state=root) as daemon:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop)
        print(f"fake-buildkitd listens on {_shown(sock)}", file=sys.stderr, flush=True)  # noqa: T201  # a command
        await daemon.listen(sock)


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"unix://{name}" if isinstance(name, str) else f"tcp://{name[0]}:{name[1]}"


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    path = options.addr.removeprefix("unix://") if options.addr.startswith("unix://") else ""
    try:
        sock = open_listener(options.addr)
        try:
            asyncio.run(serve(sock, None if options.memory else options.root or state_folder()))
        finally:
            sock.close()
            if path and os.path.exists(path):
                os.unlink(path)
    except (BuildkitError, OSError) as err:
        print(f"fake-buildkitd: {error_text(err)}", file=sys.stderr)  # noqa: T201  # a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
