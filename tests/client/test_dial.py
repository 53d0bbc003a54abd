"""Addresses down to the sockets."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from pybuildkit.client._dial import Credentials, connect_unix, is_loopback, resolve
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
        ("::1%lo", True),
        ("fe80::1%lo", False),
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


def test_zone_of_an_address_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gets the zone with the address; it alone knows the names of interfaces."""
    asked: list[tuple[object, ...]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def getaddrinfo(host: str, number: int, **_: object) -> list[tuple[object, ...]]:
            asked.append((host, number))
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        target = resolve("tcp://[fe80::1%25if0]:1234")
        endpoint = target.dial(5)
        assert endpoint.sock is not None
        endpoint.sock.close()
    assert asked == [("fe80::1%if0", 1234)]
    assert target.authority == "[fe80::1%if0]:1234"


def _link_local() -> list[str]:
    """This machine's addresses that need a zone, with it."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))}%{row[5]}" for row in rows if row[3] == "20"]


@pytest.mark.skipif(not _link_local(), reason="no interface has an address of its link")
def test_zone_leads_to_an_interface() -> None:
    address = _link_local()[0]
    peer = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0][4]
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(peer)
        listener.listen()
        endpoint = resolve(f"tcp://[{address.replace('%', '%25')}]:{listener.getsockname()[1]}").dial(5)
        assert endpoint.sock is not None
        assert endpoint.sock.getpeername()[3] == socket.if_nametoindex(address.partition("%")[2])
        endpoint.sock.close()


def test_tcp_without_a_host_is_this_machine() -> None:
    code, _, stderr = run_in_process("--addr", "tcp://:1", "debug", "info")
    assert code == 1
    assert stderr.startswith("error: failed to call info: Unavailable: ")
    assert 'dial tcp :1: connect: connection refused"' in stderr


@pytest.mark.parametrize(
    "form", ["tcp://{}", "dns:///{}", "dns:{}", "DNS:///{}", "passthrough:///{}", "passthrough:{}"]
)
def test_tcp_addresses(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = f"127.0.0.1:{listener.getsockname()[1]}"
        target = resolve(form.format(peer))
        target.dial(5).close()
        assert target.authority == peer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names outside the file system")
@pytest.mark.parametrize("form", ["unix-abstract:{}", "unix:@{}", "passthrough:///unix:@{}"])
def test_abstract_sockets(form: str) -> None:
    name = f"pybuildkit-forms-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        resolve(form.format(name)).dial(5).close()


@pytest.mark.parametrize("form", ["passthrough:///unix:{}", "passthrough:///unix://{}", "passthrough:unix:{}"])
def test_sockets_that_are_passed_through(form: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen()
        resolve(form.format(f"{tmp_path}/s")).dial(5).close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("dns:///", "dns resolver: missing address"),
        ("dns:", "dns resolver: missing address"),
        ("dns://127.0.0.1:1", "dns resolver: missing address"),
        ("dns:///127.0.0.1:", "dns resolver: missing port after port-separator colon"),
        ("dns:///a:b:c", "invalid target address a:b:c, error info: address a:b:c:443: too many colons in address"),
        ("dns:///[::1", "invalid target address [::1, error info: address [::1:443: missing ']' in address"),
        ("dns:///a]:1", "invalid target address a]:1, error info: address a]:1:443: too many colons in address"),
        ("dns://192.0.2.1:/localhost:1", "dns resolver: missing port after port-separator colon"),
        ("passthrough:", "passthrough: received empty target in Build()"),
        ("passthrough:///", "passthrough: received empty target in Build()"),
        ("unix-abstract://x/name", "invalid (non-empty) authority: x"),
    ],
)
def test_addresses_that_name_nothing(address: str, reason: str) -> None:
    code, _, stderr = run_in_process("--addr", address, "debug", "workers")
    head = f'error: failed to dial "{address}" . make sure buildkitd is running: failed to exit idle mode: '
    assert (code, stderr) == (1, f"{head}failed to start resolver: {reason}\n")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("dns:///127.0.0.1", "dial tcp 127.0.0.1:443: connect: connection refused"),
        ("dns:///::1", "dial tcp [::1]:443: connect: "),
        ("passthrough:///127.0.0.1", "dial tcp: address 127.0.0.1: missing port in address"),
        ("passthrough:///tcp://127.0.0.1:1", "dial tcp: address tcp://127.0.0.1:1: too many colons in address"),
        ("passthrough:///unix:", "dial unix: missing address"),
        ("unix-abstract:", "dial unix @: connect: connection refused"),
        ("tcp://:", "dial tcp :0: connect: connection refused"),
        ("tcp://127.0.0.1:", "dial tcp 127.0.0.1:0: connect: connection refused"),
        ("tcp://127.1:1", "dial tcp: lookup 127.1: no such host"),
        ("tcp://0x7f000001:1", "dial tcp: lookup 0x7f000001: no such host"),
        ("tcp://2130706433:1", "dial tcp: lookup 2130706433: no such host"),
        ("tcp://a..b:1", "dial tcp: lookup a..b: no such host"),
        ("dns://192.0.2.1/127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
def test_addresses_without_a_listener(address: str, text: str) -> None:
    code, _, stderr = run_in_process("--addr", address, "debug", "workers")
    assert code == 1
    assert f'"transport: Error while dialing: {text}' in stderr


@pytest.mark.parametrize("name", ["127.1", "256.1.1.1", "0x7f.0.0.1", "a..b", "a" * 70])
def test_names_that_nothing_resolves(name: str) -> None:
    code, _, stderr = run_in_process("--addr", f"dns:///{name}:1", "debug", "workers")
    text = "error: failed to list workers: Unavailable: name resolver error: produced zero addresses"
    assert (code, stderr.splitlines()[-1]) == (1, text)


@pytest.mark.parametrize("form", ["tcp://{}", "dns:///{}", "passthrough:///{}"])
def test_server_name_that_nothing_verifies(form: str) -> None:
    with pytest.raises(BuildkitError, match=r"the connection to 192\.0\.2\.1:1 would not be encrypted"):
        resolve(form.format("192.0.2.1:1"), Credentials(server_name="name"))
    resolve(form.format("127.0.0.1:1"), Credentials(server_name="name"))
