"""Names asked of a name server, and the addresses `dns:` that name one."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from pybuildkit.client import _nameserver
from pybuildkit.client._dial import DialError, resolve
from pybuildkit.rpc import Code, RpcError
from tests.client.nameserver import AAAA, CNAME, A, Zone, name_server
from tests.cmd.buildctl.streams import run_in_process

ZONES = {
    "one.test": Zone([(A, "127.0.0.1")]),
    "both.test": Zone([(AAAA, "::1"), (A, "192.0.2.1"), (A, "192.0.2.2")]),
    "alias.test": Zone([(CNAME, "real.test"), (A, "192.0.2.3")]),
    "large.test": Zone([(A, f"10.0.{n}.1") for n in range(100)], truncated=True),
    "forged.test": Zone([(A, "192.0.2.4")], forged=True),
    "nothing.test": Zone(),
    "failing.test": Zone(code=2),
    "refused.test": Zone(code=5),
    "cut.test": Zone([(A, "192.0.2.5")], cut=2),
    "silent.test": Zone(silent=True),
    "short.search.test": Zone([(A, "192.0.2.6")]),
    "dotted.name.search.test": Zone([(A, "192.0.2.7")]),
    "wrong.example": Zone([(A, "127.0.0.1")]),
}


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the system that are the same everywhere."""
    (tmp_path / "hosts").write_text("192.0.2.9 known.test KNOWN # no.test\n::1 known.test\n\n192.0.2.8\n")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\nsearch search.test\noptions ndots:1 ndots:x\n")
    monkeypatch.setattr(_nameserver, "HOSTS", f"{tmp_path}/hosts")
    monkeypatch.setattr(_nameserver, "RESOLV_CONF", f"{tmp_path}/resolv.conf")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one.test", ["127.0.0.1"]),
        ("ONE.test.", ["127.0.0.1"]),
        ("both.test", ["192.0.2.1", "192.0.2.2", "::1"]),
        ("alias.test", ["192.0.2.3"]),
        ("large.test", [f"10.0.{n}.1" for n in range(100)]),
        ("forged.test", ["192.0.2.4"]),
        ("nothing.test", []),
        ("refused.test", []),
        ("cut.test", []),
        ("unknown.test", []),
        ("short", ["192.0.2.6"]),
        ("short.", []),
        ("dotted.name", ["192.0.2.7"]),
        ("known.test", ["192.0.2.9", "::1"]),
        ("Known.", ["192.0.2.9"]),
        ("no.test", []),
        ("failing.test", []),
    ],
)
def test_lookup(name: str, found: list[str]) -> None:
    with name_server(ZONES) as server:
        assert _nameserver.lookup(name, server.address, 20) == found


@pytest.mark.parametrize(
    "name", ["a b", "a..b", ".test", f"{'a' * 64}.test", "a." * 128, "256.1.1.1", "é.test", "", "."]
)
def test_names_that_are_not_asked_for(name: str) -> None:
    with name_server({}) as server:
        assert _nameserver.lookup(f"{name}", server.address, 20) == []
        assert {asked for _, asked, _ in server.asked} <= {f"{name}.search.test"}


def test_order_of_the_questions() -> None:
    with name_server(ZONES) as server:
        _nameserver.lookup("dotted.name", server.address, 20)
        _nameserver.lookup("plain", server.address, 20)
        names = ["dotted.name", "dotted.name.search.test", "plain.search.test", "plain"]
        assert server.asked == [("udp", name, kind) for name in names for kind in (A, AAAA)]


def test_truncated_answers_are_asked_for_again_over_tcp() -> None:
    with name_server(ZONES) as server:
        _nameserver.lookup("large.test.", server.address, 20)
        assert [network for network, _, _ in server.asked] == ["udp", "tcp", "udp", "tcp"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("failing.test.", "server misbehaving"),
        ("silent.test.", "read udp 127.0.0.1:PORT->SERVER: i/o timeout"),
    ],
)
def test_servers_that_fail(name: str, text: str) -> None:
    with name_server(ZONES) as server, pytest.raises(DialError) as caught:
        _nameserver.lookup(name, server.address, 0.2 if name.startswith("silent") else 20)
    shown = str(caught.value).replace(server.address, "SERVER")
    assert re.sub(r"127\.0\.0\.1:\d+->", "127.0.0.1:PORT->", shown) == f"lookup {name} on SERVER: {text}"


def test_no_server() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(DialError, match=f"->{address}: read: connection refused$"):
        _nameserver.lookup("one.test", address, 20)


def test_an_address_that_names_a_server() -> None:
    """Each address of the name is tried; the authority is the server's, as with grpc."""
    zones = {"daemon.test": Zone([(A, "127.0.0.2"), (A, "127.0.0.1")])}
    with name_server(zones) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        target = resolve(f"dns://{server.address}/daemon.test:{listener.getsockname()[1]}")
        target.dial(20).close()
        assert target.authority == server.address
        resolve(f"dns://{server.address}/127.0.0.1:{listener.getsockname()[1]}").dial(20).close()
        assert {name for _, name, _ in server.asked} == {"daemon.test"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unknown.test", "name resolver error: produced zero addresses"),
        ("failing.test.", "dns: A record lookup error: lookup failing.test. on SERVER: server misbehaving"),
    ],
)
def test_errors_of_an_address_that_names_a_server(name: str, text: str) -> None:
    with name_server(ZONES) as server:
        with pytest.raises(RpcError) as caught:
            resolve(f"dns://{server.address}/{name}:1").dial(20)
        address = f"dns://{server.address}/{name}:1"
        code, _, stderr = run_in_process("--addr", address, "debug", "workers")
    assert (caught.value.code, caught.value.message.replace(server.address, "SERVER")) == (Code.UNAVAILABLE, text)
    last = stderr.splitlines()[-1].replace(server.address, "SERVER")
    assert (code, last) == (1, f"error: failed to list workers: Unavailable: {text}")
