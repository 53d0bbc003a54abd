"""Addresses down to the sockets."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from pybuildkit.client._dial import connect_unix, is_loopback
from pybuildkit.golang.errors import BuildkitError
from tests.cmd.buildctl.streams import run_in_process


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("", True),
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.1", True),
        ("::1", True),
        ("127.example.com", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("192.0.2.1", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names outside the file system")
def test_unix_socket_outside_the_file_system() -> None:
    name = f"@pybuildkit-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name[1:])
        listener.listen()
        connect_unix(name, 5).close()
    with pytest.raises(BuildkitError, match=f"dial unix {name}: connect: connection refused"):
        connect_unix(name, 5)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("unix://", "dial unix: missing address"),
        ("unix:///nonexistent/sock", "dial unix /nonexistent/sock: connect: no such file or directory"),
        ("tcp://127.0.0.1:1", "invalid address tcp://127.0.0.1:1 (expected unix://, got tcp://)"),
        ("nowhere", "invalid address nowhere"),
    ],
)
def test_dial_stdio_of_a_wrong_address(address: str, text: str) -> None:
    assert run_in_process("--addr", address, "dial-stdio") == (1, "", f"error: {text}\n")


def test_tcp_without_a_host_is_this_machine() -> None:
    code, _, stderr = run_in_process("--addr", "tcp://:1", "debug", "info")
    assert code == 1
    assert stderr.startswith("error: failed to call info: Unavailable: ")
    assert 'dial tcp :1: connect: connection refused"' in stderr
