"""Git repositories where only this daemon is at stake: ends, what is left behind, who sees a login, ssh."""

from __future__ import annotations

import asyncio
import getpass
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from fake_buildkitd.progress import Progress, VertexWriter
from fake_buildkitd.sources._git import GitSource, _identifier
from fake_buildkitd.sources._gitcli import Access, GitCLI, GitError, Runner, is_commit
from fake_buildkitd.store import MemoryStore
from pybuildkit.client import llb
from pybuildkit.client._graph import Vertex
from pybuildkit.golang import context
from pybuildkit.golang.context import CanceledError, Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session import Manager
from pybuildkit.session.sshforward import sshprovider
from pybuildkit.solver.pb import ops_pb2
from tests.conformance.services import ssh_agent
from tests.conformance.test_addresses import ssh_server
from tests.conformance.test_git_sources import FILES, FIRST, contents
from tests.conformance.test_web_sources import fetch
from tests.daemons import EMBEDDED
from tests.fake_buildkitd.registry.servers import Answer, Request
from tests.gitserver import GitServer, git_server

BG = context.background()


@pytest.fixture
def server(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator of a GitServer
    with git_server(tmp_path / "git") as server:
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def describe(url: str, ref: str = "main", *, ctx: Context = BG, attrs: Mapping[str, str] | None = None) -> str:
    """The commit of a reference, with its text fetched."""
    source = GitSource(MemoryStore(), Manager(), "")
    op = ops_pb2.SourceOp(identifier=f"git://{url.partition('://')[2]}#{ref}")
    op.attrs["git.fullurl"] = url
    op.attrs.update(attrs or {})
    writer = VertexWriter(Progress(), Vertex(digest="sha256:x"))
    found = await source.describe(ctx, op, True, writer)
    return found.Checksum


async def test_nothing_is_left_behind(server: GitServer, temporary: Path) -> None:
    commit = server.commit(FIRST)
    assert await describe(server.url()) == commit
    with pytest.raises(BuildkitError, match="repository does not contain ref nothing"):
        await describe(server.url(), "nothing")
    assert os.listdir(temporary) == []


async def test_a_build_that_ends_ends_git(server: GitServer, temporary: Path) -> None:
    """A server that does not answer keeps neither the build nor git."""
    asked, leave = threading.Event(), threading.Event()

    def hook(request: Request) -> Answer | None:
        asked.set()
        leave.wait(20)
        return 404, {}, b""

    server.hook = hook
    ctx, cancel = context.with_cancel(BG)
    building = asyncio.ensure_future(describe(server.url(), ctx=ctx))
    try:
        assert await asyncio.to_thread(asked.wait, 20)
        (folder,) = os.listdir(temporary)
        cancel()
        with pytest.raises(CanceledError):
            await building
    finally:
        leave.set()
    assert folder not in os.listdir(temporary)
    assert not [line for line in _commands() if str(server.host) in line]


def _commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue  # it has just ended
    return found


async def test_a_login_is_on_no_command_line(server: GitServer) -> None:
    server.commit(FIRST)
    seen: list[str] = []

    def hook(request: Request) -> Answer | None:
        seen.extend(line for line in _commands() if line.startswith(("git", "/usr/")) and "http" in line)
        if "authorization" not in request.headers:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        return None

    server.hook = hook
    await describe(server.url().replace("://", "://me:planted@"))
    assert any(server.url() in line for line in seen)
    assert not any("planted" in line or "bWU6cGxhbnRlZA" in line for line in seen)


async def test_a_branch_that_moves_meanwhile(server: GitServer) -> None:
    """The commit that was found first is taken, not the one that the branch has come to."""
    first = server.commit(FIRST)
    asked = 0

    def hook(request: Request) -> Answer | None:
        nonlocal asked
        asked += request.path.endswith("/info/refs")
        if asked == 2 and request.path.endswith("/info/refs"):
            asked += 1
            server.commit({"a": "moved"})
        return None

    server.hook = hook
    found = await fetch(EMBEDDED, llb.git(server.url(), "main"))
    assert contents(found) == FILES
    assert await describe(server.url(), first) == first


async def test_a_commit_that_went_away(server: GitServer) -> None:
    commit = server.commit(FIRST)
    asked = 0

    def hook(request: Request) -> Answer | None:
        nonlocal asked
        asked += request.path.endswith("/info/refs")
        if asked == 2:
            asked += 1
            (server.root / "repo.git").rename(server.root / "old.git")
            server.commit({"a": "another history"})
        return None

    server.hook = hook
    with pytest.raises(BuildkitError) as caught:
        await describe(server.url())
    expected = f"fetched ref main does not match expected commit {commit} and commit can not be found in the repository"
    assert str(caught.value) == expected


async def test_a_machine_without_git(server: GitServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildkitError, match="git repositories need the program git, which is not installed"):
        await describe(server.url())


@pytest.mark.parametrize("key", ["git.bundle", "git.checkoutbundle", "git.sig.pubkey"])
async def test_what_is_refused(key: str) -> None:
    with pytest.raises(BuildkitError, match=f"this daemon does not know {key}"):
        await describe("http://127.0.0.1:1/x.git", attrs={key: "x"})


@pytest.mark.parametrize("url", ["file:///x.git", "/x.git", "ext::sh -c exit", "-uthing", "x"])
def test_what_no_transport_is_for_goes_to_the_web(url: str) -> None:
    """So nothing but web servers, ssh and git's own servers can be asked."""
    assert _identifier("git://example.org/x.git", {"git.fullurl": url}).remote == f"https://{url}"


async def test_submodules_are_not_local(server: GitServer) -> None:
    server.commit(FIRST)
    listed = f'[submodule "p"]\n\tpath = p\n\turl = file://{server.root}/repo.git\n'
    first = server.commit({"p": "m:" + server.commit({}), ".gitmodules": listed})
    found = await fetch(EMBEDDED, llb.git(server.url(), first))
    assert "transport 'file' not allowed" in found.error


def test_a_repository_cannot_reach_its_users_settings(server: GitServer, tmp_path: Path) -> None:
    """Git reads no settings of the machine or the user, and shows nothing that is hidden."""
    logs: list[tuple[int, bytes]] = []
    access = Access(settings={"x.secret": "planted"}, hidden=["planted"])
    git = GitCLI(runner=Runner(), access=access, log=lambda *log: logs.append(log), folder=str(tmp_path))
    assert sorted(git.run("config", "--list").splitlines()) == ["protocol.file.allow=user", "x.secret=xxxxx"]
    with pytest.raises(GitError) as caught:
        git.run("planted")
    assert str(caught.value).startswith("git stderr:\ngit: 'xxxxx' is not a git command.")
    assert str(caught.value).endswith("\n: exit status 1")
    assert [stream for stream, _ in logs] == [1, 2]
    assert all(b"planted" not in data for _, data in logs)


def test_is_commit() -> None:
    cases = {"a" * 40: True, "0" * 64: True, "a" * 41: False, "A" * 40: False, "g" * 40: False, "": False}
    assert {text: is_commit(text) for text in cases} == cases


async def test_over_ssh_with_the_clients_agent(server: GitServer, tmp_path: Path) -> None:
    """The agent's key opens the door, and the server's own key is known from the client."""
    commit = server.commit(FIRST)
    with ssh_agent(tmp_path) as agent:
        folder = tmp_path / "ssh"
        folder.mkdir()
        with ssh_server(folder) as port:
            (folder / "user.pub").write_text((tmp_path / "agent_key.pub").read_text())
            url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{server.root}/repo.git"
            known = (folder / "known_hosts").read_text()
            provider = sshprovider.new_ssh_agent_provider([sshprovider.AgentConfig(id="mine", paths=[agent.socket])])
            state = llb.git(url, commit, llb.known_ssh_hosts(known), llb.mount_ssh_sock("mine"))
            found = await fetch(EMBEDDED, state, session=[provider])
            unknown = llb.git(url, "main", llb.known_ssh_hosts("# nobody\n"), llb.mount_ssh_sock("mine"))
            refused = await fetch(EMBEDDED, unknown, session=[provider])
            without = await fetch(EMBEDDED, llb.git(url, "main", llb.known_ssh_hosts(known)))
    assert contents(found) == FILES
    assert "Host key verification failed" in refused.error
    assert 'no SSH key "default" forwarded from the client' in without.error
