"""What `--ssh` values become. Ports TestToAgentSource of session/sshforward/sshprovider."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.session.sshforward.sshprovider import AgentConfig, new_ssh_agent_provider
from pybuildkit.util import bklog
from tests.session.unprivileged import unprivileged


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(bklog, "_sink", lambda level, message, fields: lines.append(message))
    return lines


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with sockets `live` (listening) and `dead`, and a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "file").write_text("not a key")
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as dead:
        live.bind("live")
        live.listen()
        dead.bind("dead")
        yield tmp_path


def _error(*configs: AgentConfig) -> str:
    with pytest.raises(BuildkitError) as caught:
        new_ssh_agent_provider(configs)
    return error_text(caught.value)


CONVERT = "failed to convert agent config"


@pytest.mark.usefixtures("folder")
def test_errors() -> None:
    empty = "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
    assert _error(AgentConfig()) == f"{CONVERT} {{default [] false}}: {empty}"
    assert _error(AgentConfig(id="a", paths=["", ""])) == f"{CONVERT} {{a [ ] false}}: {empty}"
    for_id = f'{CONVERT} for ID: "a"'
    cases = {
        ("gone", False): "stat gone: no such file or directory",
        ("file", False): "failed to parse file: ssh: no key found",
        ("file", True): "raw mode only supported with socket paths",
    }
    for (path, raw), text in cases.items():
        shown = f"{{a [{path}] {'true' if raw else 'false'}}}"
        assert _error(AgentConfig(id="a", paths=[path], raw=raw)) == f"{CONVERT} {shown}: {for_id}: {text}"
    assert _error(AgentConfig(id="a", raw=True)).endswith("raw mode must supply exactly one path")
    assert _error(AgentConfig(paths=["live", "dead"])).endswith("only single socket allowed")
    twice = _error(AgentConfig(paths=["live"]), AgentConfig(id="default", paths=["live"]))
    assert twice == 'duplicate agent ID "default"'


def test_unreadable_key() -> None:
    with unprivileged() as folder:
        (folder / "file").touch(0)
        path = str(folder / "file")
        assert f"failed to open {path}: open {path}: permission denied" in _error(AgentConfig(paths=[path]))


@pytest.mark.usefixtures("folder")
def test_dead_agent_is_warned_of_and_a_live_one_is_not(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    new_ssh_agent_provider([AgentConfig(id="live", paths=["live"]), AgentConfig(id="raw", paths=["dead"], raw=True)])
    assert logged == []
    monkeypatch.setenv("SSH_AUTH_SOCK", "dead")
    new_ssh_agent_provider([AgentConfig()])
    assert logged == ["ssh agent socket dead does not answer: connection refused"]


@pytest.mark.usefixtures("folder")
def test_key_file_that_is_a_pipe_without_writer_does_not_hang() -> None:
    os.mkfifo("pipe")
    assert "failed to parse pipe: ssh: no key found" in _error(AgentConfig(paths=["pipe"]))
