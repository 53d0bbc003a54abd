"""Section F of the list of faults: connecting."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.faulty import BUILD, TAR, Script, names, one_error, serve
from tests.daemons import COMMAND, environment, finish, run, start, wait_for

NO_SOCKET = "error: listing workers for Build: failed to list workers: Unavailable: connection error: desc = "


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_no_socket(work: Path) -> None:
    started = time.monotonic()
    result = run(*BUILD, *TAR, addr=f"unix://{work}/none.sock", cwd=work)
    assert time.monotonic() - started < 3
    wanted = f'"transport: Error while dialing: dial unix {work}/none.sock: connect: no such file or directory"'
    assert one_error(result) == NO_SOCKET + wanted
    assert len(result.stderr.splitlines()) == 1
    assert names(work) == set()


def test_refused_tcp(work: Path, closed_port: int) -> None:
    result = run(*BUILD, addr=f"tcp://127.0.0.1:{closed_port}", cwd=work)
    wanted = f'"transport: Error while dialing: dial tcp 127.0.0.1:{closed_port}: connect: connection refused"'
    assert one_error(result) == NO_SOCKET + wanted


def test_refused_unix(tmp_path: Path, work: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/s.sock")
    result = run(*BUILD, addr=f"unix://{tmp_path}/s.sock", cwd=work)
    assert "connect: connection refused" in one_error(result)


def test_forbidden_socket(tmp_path: Path, work: Path) -> None:
    from tests.conformance.test_faults_destination import run_unprivileged

    with serve(Script(), tmp_path) as daemon:
        (tmp_path / "d.sock").chmod(0)
        result = run_unprivileged(BUILD, daemon.addr, work)
    assert "connect: permission denied" in one_error(result)


def test_wait_and_no_daemon(work: Path) -> None:
    started = time.monotonic()
    result = run("--wait", "--timeout", "1", *BUILD, addr=f"unix://{work}/none.sock", cwd=work)
    assert 1 <= time.monotonic() - started < 4
    assert "context deadline exceeded" in one_error(result)


def test_wait_until_the_daemon_is_there(tmp_path: Path, work: Path) -> None:
    process = start("--wait", "--timeout", "30", *BUILD, addr=f"unix://{tmp_path}/d.sock", cwd=work)
    status = Path(f"/proc/{process.pid}/status")

    def waits() -> bool:
        """Whether the command has tried at least once: it sleeps in its loop, its modules loaded."""
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return "_ssl" in maps or ("\nState:\tS" in status.read_text() and "_asyncio" in maps)

    wait_for(waits, "the command's start")
    with serve(Script(), tmp_path):
        code, stderr, _ = finish(process, 20)
    assert code == 0, stderr


@contextmanager
def greeting(tmp_path: Path, answer: bytes) -> Iterator[str]:
    """A listener that answers what it gets with some bytes, and closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s.sock")
        listener.listen()

        def work() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.recv(1000)
                    sock.sendall(answer)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"unix://{tmp_path}/s.sock"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nno",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"\0" * 8,
        os.urandom(300),
        b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\7" * 20,
    ],
    ids=["http1", "ssh", "nothing", "cut", "noise", "settings-then-noise"],
)
def test_peer_that_is_no_buildkit(tmp_path: Path, work: Path, answer: bytes) -> None:
    with greeting(tmp_path, answer) as addr:
        started = time.monotonic()
        result = run(*BUILD, *TAR, addr=addr, cwd=work, timeout=20)
        assert time.monotonic() - started < 4
    text = one_error(result)
    assert text.startswith("error: listing workers for Build: failed to list workers: Unavailable: "), text
    assert names(work) == set()


def test_other_grpc_service(tmp_path: Path, work: Path) -> None:
    import asyncio

    from pybuildkit.golang import context
    from pybuildkit.rpc import Server
    from pybuildkit.rpc.health import add_health

    server = Server()
    add_health(server)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s.sock")
        listener.listen()
        stop, cancel = context.with_cancel(context.background())
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.listen(listener, stop)))
        thread.start()
        try:
            result = run(*BUILD, addr=f"unix://{tmp_path}/s.sock", cwd=work)
        finally:
            loop.call_soon_threadsafe(cancel)
            thread.join(10)
            loop.close()
    assert "Unimplemented: unknown service moby.buildkit.v1.Control" in one_error(result)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("nosuch://x", "dial tcp: lookup tcp///x: unknown port"),
        ("tcp://", 'failed to dial "" . make sure buildkitd is running'),
        ("", "none.sock: connect: no such file or directory"),
    ],
)
def test_bad_address(work: Path, address: str, text: str) -> None:
    env = {"BUILDKIT_HOST": f"unix://{work}/none.sock"}
    result = run(*BUILD, addr=address or None, cwd=work, env=env)
    assert text in one_error(result)


def run_on_a_terminal(argv: list[str], work: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; its code and what it printed there."""
    main, side = pty.openpty()
    try:
        process = subprocess.Popen(argv, cwd=work, env=environment(env), stderr=side, stdin=subprocess.DEVNULL)
        os.close(side)
        seen = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # the terminal has no other end any more
                break
            if not data:
                break
            seen += data
        return process.wait(20), seen.decode().replace("\r\n", "\n")
    finally:
        os.close(main)


@pytest.mark.skipif(Path("/run/buildkit/buildkitd.sock").exists(), reason="a daemon is at the default address")
def test_hint_where_a_person_looks_on(work: Path) -> None:
    env = {"XDG_RUNTIME_DIR": str(work)}
    code, seen = run_on_a_terminal([*COMMAND, *BUILD], work, env)
    assert code == 1
    lines = seen.splitlines()
    assert lines[-2].startswith("error: ")
    assert "embedded://" in lines[-1]
    assert "docker://" in lines[-1]
    code, seen = run_on_a_terminal([*COMMAND, "--addr", f"unix://{work}/x", *BUILD], work, env)
    assert code == 1
    assert "embedded://" not in seen
    assert "embedded://" not in run(*BUILD, cwd=work, env=env).stderr


def test_server_name_without_a_ca_beyond_loopback(work: Path) -> None:
    result = run("--tlsservername", "example.org", "--timeout", "1", *BUILD, addr="tcp://192.0.2.1:1234", cwd=work)
    text = one_error(result)
    assert "tlsservername" in text or "tlscacert" in text


def test_plain_tcp_beyond_loopback_is_warned_of(work: Path) -> None:
    result = run("--timeout", "1", *BUILD, addr="tcp://192.0.2.1:1234", cwd=work)
    one_error(result)
    assert any("level=warning" in line and "192.0.2.1:1234" in line for line in result.stderr.splitlines())


def test_plain_tcp_on_loopback_is_not_warned_of(work: Path, closed_port: int) -> None:
    result = run(*BUILD, addr=f"tcp://127.0.0.1:{closed_port}", cwd=work)
    assert len(result.stderr.splitlines()) == 1
