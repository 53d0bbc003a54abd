"""Both ends of ssh forwarding, with the tools of OpenSSH. Ports TestRawProvider of session/sshforward/sshprovider."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import RpcError
from pybuildkit.session import Caller, sshforward
from pybuildkit.session.sshforward.sshprovider import AgentConfig, new_ssh_agent_provider
from tests.session.pair import session_pair
from tests.session.sshforward.test_keys import keygen

BG = context.background()
TOOLS = ("ssh-agent", "ssh-add", "ssh-keygen")
needs_openssh = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="no ssh-agent, ssh-add, ssh-keygen (openssh-client)"
)


@pytest.fixture
def agent_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real ssh-agent with one key, at the socket `agent.sock`."""
    sock = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        keygen(tmp_path / "held", "-t", "ed25519", "-C", "held key")
        _run("ssh-add", "-q", str(tmp_path / "held"), sock=str(sock))
        yield process
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def agent(agent_process: subprocess.Popen[bytes], tmp_path: Path) -> Path:
    """The socket of a real ssh-agent with one key."""
    return tmp_path / "agent.sock"


def _run(*command: str, sock: str) -> str:
    environment = {**os.environ, "SSH_AUTH_SOCK": sock}
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return f"{result.returncode} {result.stdout}"


def _verify(folder: Path) -> None:
    """Have ssh-keygen check the signature of `message`."""
    command = ["ssh-keygen", "-Y", "check-novalidate", "-n", "file", "-s", str(folder / "message.sig")]
    with (folder / "message").open("rb") as message:
        result = subprocess.run(command, stdin=message, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


async def _tool(*command: str, sock: str) -> str:
    return await asyncio.to_thread(_run, *command, sock=sock)


@asynccontextmanager
async def mounted(caller: Caller, agent_id: str = "") -> AsyncIterator[str]:
    path, close = await sshforward.mount_ssh_socket(BG, caller, sshforward.SocketOpt(id=agent_id))
    try:
        yield path
    finally:
        await close()
        assert not Path(path).parent.exists()


@needs_openssh
async def test_agent_by_several_clients_at_once(agent: Path) -> None:
    provider = new_ssh_agent_provider([AgentConfig(paths=[str(agent)])])
    async with session_pair(provider) as caller, mounted(caller) as sock:
        await sshforward.check_ssh_id(BG, caller, "default")
        listings = await asyncio.gather(*(_tool("ssh-add", "-l", sock=sock) for _ in range(5)))
        assert len(set(listings)) == 1
        assert "held key" in listings[0]


@needs_openssh
async def test_agent_signs_for_ssh_keygen(agent: Path, tmp_path: Path) -> None:
    provider = new_ssh_agent_provider([AgentConfig(paths=[str(agent)])])
    (tmp_path / "message").write_text("to be signed")
    public = str(tmp_path / "held.pub")
    async with session_pair(provider) as caller, mounted(caller) as sock:
        command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", public, str(tmp_path / "message")]
        assert (await _tool(*command, sock=sock)).startswith("0 ")
    _verify(tmp_path)


@needs_openssh
async def test_build_cannot_change_the_agent(agent: Path, tmp_path: Path) -> None:
    keygen(tmp_path / "other", "-t", "ed25519")
    provider = new_ssh_agent_provider([AgentConfig(paths=[str(agent)])])
    before = _run("ssh-add", "-l", sock=str(agent))
    async with session_pair(provider) as caller, mounted(caller) as sock:
        for command in (["ssh-add", "-q", str(tmp_path / "other")], ["ssh-add", "-D"]):
            assert not (await _tool(*command, sock=sock)).startswith("0 ")
    assert _run("ssh-add", "-l", sock=str(agent)) == before


@needs_openssh
@pytest.mark.parametrize("kind", [["-t", "ed25519"], ["-t", "rsa", "-b", "2048"], ["-t", "ecdsa"]])
async def test_key_files_sign_for_ssh_keygen(kind: list[str], tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    keygen(tmp_path / "key", *kind)
    keygen(tmp_path / "key2", "-t", "ed25519")
    provider = new_ssh_agent_provider([AgentConfig(id="k", paths=[str(tmp_path / "key"), str(tmp_path / "key2")])])
    (tmp_path / "key").unlink()
    (tmp_path / "message").write_text("to be signed")
    async with session_pair(provider) as caller, mounted(caller, "k") as sock:
        assert len((await _tool("ssh-add", "-l", sock=sock)).splitlines()) == 2
        public, message = str(tmp_path / "key.pub"), str(tmp_path / "message")
        signed = await _tool("ssh-keygen", "-Y", "sign", "-n", "file", "-f", public, message, sock=sock)
        assert signed.startswith("0 "), signed
    _verify(tmp_path)


class EchoServer:
    """A socket that answers each line with a count, and at `bye` closes."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> EchoServer:
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @staticmethod
    async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while (line := await reader.readline()) not in (b"", b"bye\n"):
            count += 1
            writer.write(f"{count} ".encode() + line)
            await writer.drain()
        writer.write(b"end\n")
        await writer.drain()
        writer.close()


async def test_raw_socket(tmp_path: Path) -> None:
    path = tmp_path / "raw.sock"
    async with EchoServer(path):
        provider = new_ssh_agent_provider([AgentConfig(id="raw", paths=[str(path)], raw=True)])
        async with session_pair(provider) as caller, mounted(caller, "raw") as sock:
            reader, writer = await asyncio.open_unix_connection(sock, limit=1 << 20)
            for number, line in enumerate((b"hello\n", b"another\n", b"x" * 100_000 + b"\n"), 1):
                writer.write(line)
                assert await reader.readline() == f"{number} ".encode() + line
            writer.write_eof()
            assert await reader.read() == b"end\n"
            writer.close()


async def test_end_of_a_raw_peer_reaches_the_build(tmp_path: Path) -> None:
    path = tmp_path / "raw.sock"
    async with EchoServer(path):
        provider = new_ssh_agent_provider([AgentConfig(paths=[str(path)], raw=True)])
        async with session_pair(provider) as caller, mounted(caller) as sock:
            reader, writer = await asyncio.open_unix_connection(sock)
            writer.write(b"bye\n")
            assert await asyncio.wait_for(reader.read(), 5) == b"end\n"
            writer.close()


async def test_unknown_id_and_dead_socket(tmp_path: Path) -> None:
    path = tmp_path / "raw.sock"
    async with EchoServer(path):
        provider = new_ssh_agent_provider([AgentConfig(paths=[str(path)], raw=True)])
    path.unlink()
    async with session_pair(provider) as caller:
        with pytest.raises(RpcError, match="unset ssh forward key nothere"):
            await sshforward.check_ssh_id(BG, caller, "nothere")
        metadata = [(sshforward.KEY_SSH_ID, "default")]
        stream = await caller.conn().stream(BG, sshforward.FORWARD_AGENT, metadata=metadata)
        with pytest.raises(RpcError, match=r"failed to dial agent default: dial unix .*: no such file"):
            await stream.recv()
        async with mounted(caller, "nothere") as sock:
            reader, writer = await asyncio.open_unix_connection(sock)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()


async def test_socket_has_the_mode_that_is_asked_for() -> None:
    async with session_pair() as caller:
        opt = sshforward.SocketOpt(mode=0o640)
        path, close = await sshforward.mount_ssh_socket(BG, caller, opt)
        assert os.stat(path).st_mode & 0o777 == 0o640
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o711
        await close()


class Flood:
    """A socket that sends as much as it is let, or takes nothing, until `go_on` is set."""

    TOTAL, PIECE = 48 << 20, bytes(range(256)) * 256

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.go_on = asyncio.Event()
        self.sent = self.received = 0

    async def __aenter__(self) -> Flood:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"s":
            while self.sent < self.TOTAL:
                writer.write(self.PIECE)
                await writer.drain()
                self.sent += len(self.PIECE)
        else:
            await self.go_on.wait()
            while data := await reader.read(1 << 20):
                self.received += len(data)
        writer.close()


@asynccontextmanager
async def flooded(folder: Path) -> AsyncIterator[tuple[Flood, str, str]]:
    """A Flood, its socket in the build, and that of an EchoServer."""
    configs = [AgentConfig(id=name, paths=[str(folder / name)], raw=True) for name in ("flood", "echo")]
    async with Flood(folder / "flood") as flood, EchoServer(folder / "echo"):
        provider = new_ssh_agent_provider(configs)
        async with session_pair(provider) as caller, mounted(caller, "flood") as sock, mounted(caller, "echo") as other:
            yield flood, sock, other


async def _echoes(sock: str) -> None:
    """Another connection, which is served all the while."""
    reader, writer = await asyncio.open_unix_connection(sock)
    for number in range(1, 51):
        writer.write(b"x\n")
        assert await asyncio.wait_for(reader.readline(), 10) == f"{number} x\n".encode()
    writer.close()


async def test_reader_that_stalls_holds_up_its_own_connection_alone(tmp_path: Path) -> None:
    async with flooded(tmp_path) as (flood, sock, other):
        reader, writer = await asyncio.open_unix_connection(sock)
        writer.write(b"s")
        await _echoes(other)
        assert flood.sent < flood.TOTAL // 2
        taken = 0
        while data := await reader.read(1 << 20):
            assert data == (flood.PIECE * 17)[taken % 65536 :][: len(data)]
            taken += len(data)
        assert taken == flood.TOTAL
        writer.close()


async def test_socket_that_takes_nothing_stops_the_build_that_writes(tmp_path: Path) -> None:
    async with flooded(tmp_path) as (flood, sock, other):
        _, writer = await asyncio.open_unix_connection(sock)
        written = 0

        async def write() -> None:
            nonlocal written
            while written < flood.TOTAL:
                writer.write(flood.PIECE)
                await writer.drain()
                written += len(flood.PIECE)
            writer.write_eof()

        writing = asyncio.ensure_future(write())
        await _echoes(other)
        assert written < flood.TOTAL // 2
        flood.go_on.set()
        await writing
        while flood.received < flood.TOTAL - 1:
            await _echoes(other)
        writer.close()


@needs_openssh
async def test_agent_that_dies_while_it_is_used(agent_process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """What a build asks fails from then on; other agents go on."""
    keygen(tmp_path / "key", "-t", "ed25519")
    configs = [AgentConfig(paths=[str(tmp_path / "agent.sock")]), AgentConfig(id="k", paths=[str(tmp_path / "key")])]
    provider = new_ssh_agent_provider(configs)
    async with session_pair(provider) as caller, mounted(caller) as sock, mounted(caller, "k") as other:
        reader, writer = await asyncio.open_unix_connection(sock)
        writer.write(b"\0\0\0\1\x0b")
        size = int.from_bytes(await reader.readexactly(4), "big")
        assert (await reader.readexactly(size))[0] == 12
        agent_process.kill()
        agent_process.wait()
        for _ in range(2):
            writer.write(b"\0\0\0\1\x0b")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"\0\0\0\1\5"
        writer.close()
        assert not (await _tool("ssh-add", "-l", sock=sock)).startswith("0 ")
        assert (await _tool("ssh-add", "-l", sock=other)).startswith("0 ")
