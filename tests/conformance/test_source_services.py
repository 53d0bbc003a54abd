"""Secrets and ssh agents of the command, used by a source of a real build; nothing that is printed or kept shows them.

Where a daemon runs no steps, these are what uses the services.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Sequence
from pathlib import Path

from pybuildkit.client import llb
from pybuildkit.golang import context
from tests.conformance import registry
from tests.conformance.services import kind, last_line, make_key, need, ssh_agent
from tests.conformance.test_addresses import ssh_server
from tests.conformance.test_git_sources import guarded
from tests.conformance.test_planted_history import history
from tests.daemons import Result, run
from tests.gitserver import git_server

BG = context.background()
TOKEN = "PlantedToken"
RECORDS = ["--trace", "trace", "--metadata-file", "metadata", "--ref-file", "ref"]


def build(state: llb.State, *flags: str, addr: str, cwd: Path, hidden: Sequence[str]) -> Result:
    """Build a state that the command reads from standard input, into the folder `out`; none of `hidden` is shown."""
    stdin = asyncio.run(state.marshal(BG)).to_pb().SerializeToString()
    words = ["--debug", "build", "--progress=plain", "--output", "type=local,dest=out", *RECORDS, *flags]
    result = run(*words, addr=addr, cwd=cwd, stdin=stdin, env={"PLANTED": TOKEN})
    assert "Traceback" not in result.stderr
    assert where(hidden, addr, result, cwd) == []
    return result


def where(values: Sequence[str], addr: str, result: Result, cwd: Path) -> list[str]:
    """Where any of the values is: in what was printed, in the files of the build, in the daemon's record of it."""
    texts = {"stderr": result.stderr.encode(), "stdout": result.stdout}
    texts |= {name: (cwd / name).read_bytes() for name in RECORDS[1::2] if (cwd / name).exists()}
    assert {"trace", "ref"} <= set(texts)
    if not result.code and kind(addr) != "docker":  # the BuildKit in Docker 20.10 keeps no history
        texts |= history(addr, (cwd / "ref").read_text().strip())
    return [name for name, text in texts.items() for value in values if value.encode() in text]


def test_token_of_a_repository(addr: str, tmp_path: Path) -> None:
    """`--secret`: git logs in with it, and is refused without it."""
    need(addr, "modern-git")
    (tmp_path / "token").write_text(TOKEN)
    login = registry.basic("x-access-token", TOKEN)
    hidden = [TOKEN, login.split()[1]]
    with git_server(tmp_path / "git") as server:
        server.commit({"a": "1"})
        server.hook = guarded(login)
        state = llb.git(server.url(), "main")
        refused = build(state, "--secret", "id=another,src=token", addr=addr, cwd=tmp_path, hidden=hidden)
        assert refused.code == 1
        assert not (tmp_path / "out/a").exists()
        result = build(state, "--secret", "id=GIT_AUTH_TOKEN,env=PLANTED", addr=addr, cwd=tmp_path, hidden=hidden)
    assert result.code == 0, result.stderr
    assert (tmp_path / "out/a").read_text() == "1"


def test_agents_of_a_repository(addr: str, tmp_path: Path) -> None:
    """`--ssh` with an agent and with a key file, side by side; the one whose key is not known is refused."""
    need(addr, "modern-git")
    folder = tmp_path / "ssh"
    folder.mkdir()
    stranger = make_key(tmp_path / "stranger", "stranger")
    with git_server(tmp_path / "git") as server, ssh_agent(tmp_path) as agent, ssh_server(folder) as port:
        server.commit({"a": "1"})
        (folder / "user.pub").write_text((tmp_path / "agent_key.pub").read_text())
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{server.root}/repo.git"
        known = llb.known_ssh_hosts((folder / "known_hosts").read_text())
        flags = ["--ssh", f"mine={agent.socket}", "--ssh", f"file={agent.key}", "--ssh", f"other={stranger}"]
        hidden = [path.read_text().splitlines()[2] for path in (agent.key, stranger)]
        results = {}
        for name in ("other", "file", "mine"):
            server.commit({"a": name})
            state = llb.git(url, "main", known, llb.mount_ssh_sock(name))
            results[name] = build(state, *flags, addr=addr, cwd=tmp_path, hidden=hidden)
            assert results[name].code == (1 if name == "other" else 0), results[name].stderr
            if name != "other":
                assert (tmp_path / "out/a").read_text() == name
    assert "Permission denied" in results["other"].stderr
    assert "other" not in last_line(results["other"])
