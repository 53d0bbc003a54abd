"""Every kind of address, each leading to a real daemon: helpers, ssh, TCP, TLS, proxies. Rows F of the faults."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.bridges import Authority, http_proxy, tcp_bridge, unix_bridge
from tests.conformance.registry import free_port
from tests.conformance.services import build, kind, last_line, make_key, program
from tests.daemons import COMMAND, Result, run, wait_for

ROOT = Path(__file__).resolve().parents[2]
FILES: dict[str, str | bytes] = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /copied\n"}


@pytest.fixture
def target(addr: str, tmp_path: Path) -> str:
    """The daemon's address; the embedded one has its state in the test's folder."""
    return f"embedded://{tmp_path}/state" if kind(addr) == "embedded" else addr


@pytest.fixture
def bridge(target: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A unix socket of the daemon, as buildkitd has one."""
    with unix_bridge(tmp_path_factory.mktemp("b") / "s", target) as address:
        yield address


def script(path: Path, *lines: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def with_path(folder: Path) -> dict[str, str]:
    """The variables of a run that finds the folder's programs first."""
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def our_buildctl(path: Path, *lines: str) -> Path:
    """A `buildctl` that is ours."""
    command = " ".join(f"'{word}'" for word in [sys.executable, *COMMAND[1:]])
    return script(path, *lines, f"export PYTHONPATH='{ROOT}'", f'exec {command} "$@"')


def workers(addr: str, *flags: str, env: dict[str, str] | None = None) -> Result:
    """Ask the daemon for its workers."""
    result = run(*flags, "debug", "workers", addr=addr, env=env)
    assert "Traceback" not in result.stderr
    return result


def check(result: Result) -> None:
    assert result.code == 0, result.stderr
    assert b"linux/amd64" in result.stdout


STAND_INS = [
    ("docker-container://box", "docker", "exec -i box buildctl dial-stdio"),
    ("docker-container://box?context=far", "docker", "--context=far exec -i box buildctl dial-stdio"),
    ("podman-container://box", "podman", "exec -i box buildctl dial-stdio"),
    ("nerdctl-container://box?namespace=n", "nerdctl", "exec --namespace n -i box buildctl dial-stdio"),
    (
        "kube-pod://pod?context=c&namespace=n&container=box",
        "kubectl",
        "--context=c --namespace=n exec --container=box -i pod -- buildctl dial-stdio",
    ),
]


@pytest.mark.parametrize(("address", "name", "words"), STAND_INS)
def test_helper(bridge: str, tmp_path: Path, address: str, name: str, words: str) -> None:
    """A whole build over the standard streams of a stand-in, which runs our own `dial-stdio`."""
    our_buildctl(tmp_path / "bin" / name, f'echo "$*" >> {tmp_path}/asked', f"set -- --addr {bridge} dial-stdio")
    build(addr=address, cwd=tmp_path, files=FILES, env=with_path(tmp_path / "bin"))
    assert (tmp_path / "out/copied").read_text() == FILES["Dockerfile"]
    assert set((tmp_path / "asked").read_text().splitlines()) == {words}


def test_helper_that_fails_is_quoted(tmp_path: Path) -> None:
    script(tmp_path / "docker", "echo 'No such container: box' >&2", "exit 7")
    result = workers("docker-container://box", env=with_path(tmp_path))
    assert result.code == 1
    assert "No such container: box" in last_line(result)
    assert "exit status 7" in last_line(result)


def test_helper_that_is_missing(tmp_path: Path) -> None:
    result = run("debug", "workers", addr="nerdctl-container://box", env={"PATH": str(tmp_path)})
    assert result.code == 1
    assert 'nerdctl\\": executable file not found in $PATH' in last_line(result)


CUT_OFF = """
import os, socket, sys, threading

daemon = socket.socket(socket.AF_UNIX)
daemon.connect(sys.argv[1])


def forward():
    while data := os.read(0, 65536):
        daemon.sendall(data)


threading.Thread(target=forward, daemon=True).start()
passed = 0
while passed < 100:
    data = daemon.recv(65536)
    passed += os.write(1, data)
print("the box is gone", file=sys.stderr, flush=True)
os._exit(9)
"""


def test_helper_dies_during_a_build(bridge: str, tmp_path: Path) -> None:
    """The container goes away after the first answers: an error that holds what the helper said last."""
    (tmp_path / "cut_off.py").write_text(CUT_OFF)
    command = f"exec {sys.executable} {tmp_path}/cut_off.py {bridge.removeprefix('unix://')}"
    script(tmp_path / "bin/docker", command)
    result = build(addr="docker-container://box", cwd=tmp_path, files=FILES, env=with_path(tmp_path / "bin"), ok=False)
    assert "the box is gone" in last_line(result)
    assert "exit status 9" in last_line(result)


@contextmanager
def ssh_server(folder: Path) -> Iterator[int]:
    """A real sshd on loopback that lets this user in with one key, and finds `buildctl` in `folder/bin`; its port."""
    sshd, port = program("sshd"), free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    make_key(folder / "host", "host")
    make_key(folder / "user", "user")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "SetEnv": f"PATH={folder / 'bin'}:/usr/bin:/bin",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    log = (folder / "sshd.log").open("w+b")
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    try:

        def listening() -> bool:
            text = (folder / "sshd.log").read_text()
            assert process.poll() is None, text
            return "Server listening" in text

        wait_for(listening, "sshd's start")
        yield port
    finally:
        process.terminate()
        process.wait()
        log.close()


def ssh_client(folder: Path) -> None:
    """An `ssh` on the path that is the real one, with the test's key instead of the user's configuration."""
    flags = f"-F none -i {folder}/user -o UserKnownHostsFile={folder}/known_hosts -o BatchMode=yes"
    script(folder / "client/ssh", f'exec {program("ssh")} {flags} -o IdentitiesOnly=yes "$@"')


def test_ssh(bridge: str, tmp_path: Path) -> None:
    program("ssh")
    our_buildctl(tmp_path / "bin/buildctl")
    with ssh_server(tmp_path) as port:
        ssh_client(tmp_path)
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{bridge.removeprefix('unix://')}"
        env = with_path(tmp_path / "client")
        build(addr=address, cwd=tmp_path, files=FILES, env=env)
        nowhere = workers(f"ssh://127.0.0.1:{port}/nowhere.sock", env=env)
        (tmp_path / "user").unlink()
        refused = workers(address, env=env)
    assert (tmp_path / "out/copied").read_text() == FILES["Dockerfile"]
    assert nowhere.code == 1
    assert "dial unix /nowhere.sock: connect: no such file or directory" in last_line(nowhere)
    assert refused.code == 1
    assert "Permission denied" in last_line(refused)


def test_tcp(target: str, tmp_path: Path) -> None:
    with tcp_bridge(target) as address:
        build(addr=address, cwd=tmp_path, files=FILES)
    assert (tmp_path / "out/copied").read_text() == FILES["Dockerfile"]


def test_mutual_tls(target: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    tls = authority.server(*authority.issue("server", dns="builder.test", ip="127.0.0.1"))
    cert, key = authority.issue("client")
    files = ["--tlscacert", str(authority.ca), "--tlscert", str(cert), "--tlskey", str(key)]
    folder = tmp_path / "tlsdir"
    folder.mkdir()
    for name, source in (("ca.pem", authority.ca), ("cert.pem", cert), ("key.pem", key)):
        (folder / name).write_bytes(source.read_bytes())
    with tcp_bridge(target, tls) as address:
        check(workers(address, *files))
        check(workers(address, *files, "--tlsservername", "builder.test"))
        whole = run(
            *("--tlsdir", str(folder), "build", "--frontend=dockerfile.v0", "--local", "context=test"),
            *("--local", "dockerfile=test", "--output", "type=local,dest=out"),
            addr=address,
            cwd=_context(tmp_path),
        )
    assert whole.code == 0, whole.stderr
    assert (tmp_path / "out/copied").read_text() == FILES["Dockerfile"]


def _context(tmp_path: Path) -> Path:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/Dockerfile").write_text(str(FILES["Dockerfile"]))
    return tmp_path


def test_tls_that_does_not_fit(target: str, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "pki"), Authority(tmp_path / "other")
    tls = authority.server(*authority.issue("server", ip="127.0.0.1"))
    cert, key = authority.issue("client")
    stranger = other.issue("client")
    client = ["--tlscert", str(cert), "--tlskey", str(key)]
    trusted = ["--tlscacert", str(authority.ca)]
    cases = {
        "wrong CA": (["--tlscacert", str(other.ca), *client], "certificate"),
        "wrong name": ([*trusted, *client, "--tlsservername", "elsewhere.test"], "elsewhere.test"),
        "no client certificate": (trusted, "certificate required"),
        "a stranger's": ([*trusted, "--tlscert", str(stranger[0]), "--tlskey", str(stranger[1])], "unknown"),
    }
    with tcp_bridge(target, tls) as address:
        for name, (flags, text) in cases.items():
            result = workers(address, *flags)
            assert result.code == 1, name
            assert len(result.stderr.splitlines()) == 1, result.stderr
            assert text in result.stderr, name


def test_plain_client_at_a_tls_port(target: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    with tcp_bridge(target, authority.server(*authority.issue("server", ip="127.0.0.1"))) as address:
        result = workers(address)
    assert result.code == 1
    assert last_line(result).startswith("error: failed to list workers: ")


def test_proxy(target: str, tmp_path: Path) -> None:
    """The daemon's name is the proxy's to resolve; what the URL says of a login goes to the proxy alone."""
    with http_proxy(target) as proxy:
        env = {"HTTPS_PROXY": f"http://user:planted@{proxy.host}"}
        build(addr="tcp://builder.example:1234", cwd=tmp_path, files=FILES, env=env)
    assert (tmp_path / "out/copied").read_text() == FILES["Dockerfile"]
    assert {head.splitlines()[0] for head in proxy.heads} == {"CONNECT builder.example:1234 HTTP/1.1"}
    assert all("Proxy-Authorization: Basic dXNlcjpwbGFudGVk" in head for head in proxy.heads)


def test_proxy_that_refuses(tmp_path: Path) -> None:
    with http_proxy("unix:///never-dialled", "407 Proxy Authentication Required") as proxy:
        env = {"HTTPS_PROXY": f"http://user:planted@{proxy.host}"}
        result = workers("tcp://builder.example:1234", env=env)
    assert result.code == 1
    assert "407 Proxy Authentication Required" in last_line(result)
    assert "planted" not in result.stderr


def test_no_proxy_for_loopback_and_no_proxy(target: str, tmp_path: Path) -> None:
    with tcp_bridge(target) as address:
        check(workers(address, env={"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}))
    result = workers("tcp://192.0.2.1.invalid:1", env={"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ".invalid"})
    assert "192.0.2.1.invalid" in last_line(result)


def test_daemon_without_the_call(addr: str, tmp_path: Path) -> None:
    """An older daemon has no Info and no history: the text names the call."""
    if kind(addr) != "docker":
        pytest.skip("the daemon has all calls")
    calls = {
        ("debug", "info"): "Info",
        ("debug", "histories"): "ListenBuildHistory",
        ("prune-histories",): "ListenBuildHistory",
        ("debug", "ctl", "--pin", "x"): "UpdateBuildHistory",
    }
    for words, call in calls.items():
        result = run(*words, addr=addr, cwd=tmp_path)
        assert result.code == 1, words
        assert last_line(result).endswith(f"unknown method {call} for service moby.buildkit.v1.Control")


def test_no_socket_and_refused(tmp_path: Path) -> None:
    result = workers(f"unix://{tmp_path}/none.sock")
    text = f"dial unix {tmp_path}/none.sock: connect: no such file or directory"
    assert result.code == 1
    assert result.stderr.startswith("error: failed to list workers: Unavailable: connection error: ")
    assert text in result.stderr
    refused = workers(f"tcp://127.0.0.1:{free_port()}")
    assert "connect: connection refused" in refused.stderr


def test_wait_without_a_daemon(tmp_path: Path) -> None:
    result = workers(f"unix://{tmp_path}/none.sock", "--wait", "--timeout", "1")
    assert result.code == 1
    assert "context deadline exceeded" in last_line(result)


def test_server_name_without_an_authority() -> None:
    result = workers("tcp://builder.example:1234", "--tlsservername", "builder.example")
    assert result.code == 1
    assert "would not be encrypted" in last_line(result)
