"""Connection helpers: the commands that addresses come to, and connections over child processes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pybuildkit.client._dial import DialError, resolve
from pybuildkit.client.connhelper import _command, _containers, _kubepod, _ssh, get_connection_helper
from pybuildkit.golang import url
from pybuildkit.golang.errors import BuildkitError
from tests.cmd.buildctl.streams import run_in_process


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("docker-container://c", "docker exec -i c buildctl dial-stdio"),
        ("docker-container://c?context=x", "docker --context=x exec -i c buildctl dial-stdio"),
        ("podman-container://c", "podman exec -i c buildctl dial-stdio"),
        ("nerdctl-container://c", "nerdctl exec -i c buildctl dial-stdio"),
        ("nerdctl-container://c?namespace=n", "nerdctl exec --namespace n -i c buildctl dial-stdio"),
    ],
)
def test_containers(address: str, words: str) -> None:
    assert _containers.command(url.parse(address)) == words.split(" ")


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("kube-pod://podname", ["--context=", "--namespace=", "exec", "--container="]),
        (
            "kube-pod://podname?container=containername&namespace=nsname&context=ctxname",
            ["--context=ctxname", "--namespace=nsname", "exec", "--container=containername"],
        ),
        (
            "kube-pod://podname?container=containername&namespace=nsname&context=user@cluster",
            ["--context=user@cluster", "--namespace=nsname", "exec", "--container=containername"],
        ),
    ],
)
def test_kube_pod(address: str, where: list[str]) -> None:
    words = _kubepod.command(url.parse(address))
    assert words == ["kubectl", *where, "-i", "podname", "--", "buildctl", "dial-stdio"]


@pytest.mark.parametrize(
    "address",
    [
        "kube-pod://",
        "kube-pod://unsupported_pod_name",
        "kube-pod://podname?container=unsupported_container_name&namespace=nsname&context=ctxname",
        "kube-pod://podname?container=containername&namespace=unsupported_ns_name&context=ctxname",
        "docker-container://",
        "podman-container://",
        "nerdctl-container://",
        "ssh://",
        "ssh://user:password@host",
        "ssh://host?query",
        "ssh://host#fragment",
        "npipe:////./pipe/x",
        "docker://host/socket",
        "embedded://host",
    ],
)
def test_refused(address: str) -> None:
    with pytest.raises(BuildkitError):
        get_connection_helper(address)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ssh://host", "ssh -- host buildctl dial-stdio"),
        ("ssh://me@host:2222", "ssh -l me -p 2222 -- host buildctl dial-stdio"),
        ("ssh://host/run/b.sock", "ssh -- host buildctl --addr unix:///run/b.sock dial-stdio"),
    ],
)
def test_ssh(address: str, words: str) -> None:
    assert _ssh.command(url.parse(address)) == words.split(" ")


def script(folder: Path, name: str, text: str) -> Path:
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_child_carries_bytes(tmp_path: Path) -> None:
    endpoint = _command.dial([str(script(tmp_path, "echo", "exec cat"))])
    assert endpoint.pipes is not None
    read_fd, write_fd = endpoint.pipes
    os.write(write_fd, b"through the child")
    assert os.read(read_fd, 100) == b"through the child"
    os.close(write_fd)
    assert os.read(read_fd, 100) == b""
    os.close(read_fd)
    assert endpoint.on_close is not None
    endpoint.on_close()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("exit 1", "exit status 1{}"),
        ("printf 'one\\ntwo\\n' >&2; exit 7", "exit status 7{}one\ntwo\n"),
        ("kill -9 $$", "signal: killed{}"),
        ("kill -TERM $$", "signal: terminated{}"),
        ("exit 0", ""),
    ],
)
def test_words_for_the_end_of_a_child(tmp_path: Path, lines: str, text: str) -> None:
    path = str(script(tmp_path, "helper", lines))
    endpoint = _command.dial([path, "word"])
    assert endpoint.explain is not None
    advice = ", make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr="
    head = f"command [{path} word] has exited with " if text else ""
    assert endpoint.explain() == head + text.format(advice)
    endpoint.close()


def test_last_words_of_a_child_that_says_much(tmp_path: Path) -> None:
    """What it said at the end, which is why it ended, and no more than 4 KiB of it."""
    lines = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i + 1)); done >&2; echo and the reason >&2; exit 3"
    endpoint = _command.dial([str(script(tmp_path, "chatty", lines))])
    assert endpoint.explain is not None
    said = endpoint.explain().partition(": stderr=")[2]
    whole = "".join(f"line {number}\n" for number in range(2000)) + "and the reason\n"
    assert said == whole[-4096:]
    endpoint.close()


@pytest.mark.parametrize(
    "end", ["exec sleep 1000", "trap '' TERM; while :; do sleep 0.1; done"], ids=["ends when asked", "has to be killed"]
)
def test_child_that_closes_its_output_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """The connection is over, and so is the child; BuildKit's client waits for it without end."""
    monkeypatch.setattr(_command, "_EXIT_SECONDS", 0.1)
    monkeypatch.setattr(_command, "_TERM_SECONDS", 0.1)
    script(tmp_path, "docker", f"echo $$ > {tmp_path}/pid; exec >&-; {end}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    code, stdout, stderr = run_in_process("--addr", "docker-container://box", "debug", "workers")
    text = 'Unavailable: connection error: desc = "error reading server preface: EOF"'
    assert (code, stdout, stderr) == (1, "", f"error: failed to list workers: {text}\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_child_explains_its_end(tmp_path: Path) -> None:
    endpoint = _command.dial([str(script(tmp_path, "fail", "echo no such container >&2; exit 3"))])
    assert endpoint.pipes is not None
    assert endpoint.explain is not None
    assert endpoint.on_close is not None
    text = endpoint.explain()
    assert "exit status 3" in text
    assert "no such container" in text
    for descriptor in endpoint.pipes:
        os.close(descriptor)
    endpoint.on_close()


def test_missing_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no program is passed over; a program below the current directory is never run."""
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    (tmp_path / "first/helper").mkdir()
    (tmp_path / "second/helper").write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/first:{tmp_path}/second:{tmp_path}/none")
    assert refusal() == 'exec: "helper": executable file not found in $PATH'
    monkeypatch.chdir(tmp_path)
    script(tmp_path / "third", "helper", "touch ran")
    for path in ("third", "./third"):
        monkeypatch.setenv("PATH", path)
        assert refusal() == 'exec: "helper": cannot run executable found relative to current directory'
    monkeypatch.chdir(tmp_path / "third")
    monkeypatch.setenv("PATH", ":")
    assert refusal() == 'exec: "helper": cannot run executable found relative to current directory'
    monkeypatch.setenv("PATH", "")
    assert refusal() == 'exec: "helper": executable file not found in $PATH'
    assert not (tmp_path / "ran").exists()


def test_command_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    helper = script(tmp_path, "helper", "")
    helper.write_text("#!/nonexistent/interpreter\n")
    assert refusal() == f"fork/exec {helper}: no such file or directory"
    helper.write_bytes(b"not a program")
    assert refusal() == f"fork/exec {helper}: exec format error"


def refusal() -> str:
    """Why the command `helper` was not started."""
    with pytest.raises(DialError) as caught:
        _command.dial(["helper"])
    return str(caught.value)


def test_docker_uses_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pybuildkit.client.connhelper._docker import engine_host

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert engine_host() == "tcp://127.0.0.1:2375"
    monkeypatch.delenv("DOCKER_HOST")
    assert engine_host() == "unix:///var/run/docker.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    with pytest.raises(BuildkitError, match='docker context "mine" not found'):
        engine_host()
    import hashlib

    meta = tmp_path / "contexts/meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text('{"Endpoints": {"docker": {"Host": "unix:///my.sock"}}}')
    assert engine_host() == "unix:///my.sock"


@pytest.mark.parametrize(
    ("address", "authority"),
    [("unix:///x.sock", "localhost"), ("tcp://host:1", "host:1"), ("", "localhost"), ("bad://host", "host")],
)
def test_authority(address: str, authority: str) -> None:
    assert resolve(address).authority == authority
