"""What the tests of services and addresses share: which daemon can do what, contexts with programs, an ssh agent."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemons import RUN_OPTIONS, Result, real_addresses, run, write_tree

BUILD = ["build", "--frontend=dockerfile.v0", "--local", "context=test", "--local", "dockerfile=test"]
LOCAL = ["--output", "type=local,dest=out"]

_EMBEDDED = "the embedded daemon "
_DOCKER = "the BuildKit in Docker 20.10 "
_MISSING: dict[str, dict[str, str]] = {
    "docker": {
        "info": _DOCKER + "tells no version",
        "history": _DOCKER + "keeps no history",
        "oci": _DOCKER + "has no oci, docker or image exporter",
        "local-cache": _DOCKER + "exports and imports no local cache",
        "registry-export": _DOCKER + "exports no cache to a registry",
        "image-store": _DOCKER + "keeps images only in its own store, by its moby exporter",
        "metadata-only": _DOCKER + "knows no metadata-only transfer",
        "platform-split": _DOCKER + "knows no platform-split",
        "session-exporter": _DOCKER + "knows no session exporters",
        "policy-session": _DOCKER + "has no source policies",
        "attestations": _DOCKER + "knows no attestations",
        "health-timeout": _DOCKER + "takes no other time-out of the session's health",
        "oci-layout": _DOCKER + "has no oci-layout sources",
        "source-policy": _DOCKER + "has no source policies",
        "secret-env": _DOCKER + "gives processes of a frontend's container no secrets as variables",
        "solve-error": _DOCKER + "names no results in its errors",
        "named-contexts": _DOCKER + "knows no named contexts",
        "http-secrets": _DOCKER + "sends no secrets to HTTP servers",
        "http-headers": _DOCKER + "sends no headers of the build to HTTP servers",
        "modern-git": _DOCKER + "knows fewer ways to name a commit, and has other texts",
        "http-etags": _DOCKER + "sometimes asks a server once more",
        "file-names": _DOCKER + "names files from the web otherwise",
        "modern-texts": _DOCKER + "has other texts",
        "blob-sources": _DOCKER + "has no sources of single blobs",
        "lint": _DOCKER + "checks no Dockerfiles",
        "signals": _DOCKER + "passes no signals to a process in a frontend's container",
    },
    "embedded": {
        "run": _EMBEDDED + "runs no containers",
        "containers": _EMBEDDED + "runs no containers",
        "compatibility-version": _EMBEDDED + "has one compatibility version",
    },
    "buildkitd": {},
}


def kind(addr: str) -> str:
    """Which daemon an address names: "docker", "embedded" or "buildkitd"."""
    scheme = addr.partition("://")[0]
    return scheme if scheme in ("docker", "embedded") else "buildkitd"


def missing(kind: str, feature: str) -> str | None:
    """Why daemons of a kind do not have a feature; None for those that have it."""
    return _MISSING[kind].get(feature)


def need(addr: str, *features: str) -> None:
    """Skip the test, with the reason, where the daemon lacks a feature."""
    for feature in features:
        if reason := missing(kind(addr), feature):
            pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program that a test needs; skips without it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def build(
    *argv: str,
    addr: str,
    cwd: Path,
    files: Mapping[str, str | bytes],
    env: Mapping[str, str] | None = None,
    output: Sequence[str] = LOCAL,
    ok: bool = True,
) -> Result:
    """Build the Dockerfile of `files` in the folder `test`; where it may run steps, they use the host's network.

    Docker's configuration is the (empty) folder `docker` of `cwd`, unless the environment names another.
    """
    write_tree(cwd / "test", files)
    allow = RUN_OPTIONS if "RUN " in str(files.get("Dockerfile", "")) else []
    variables = {"DOCKER_CONFIG": str(cwd / "docker"), **(env or {})}
    result = run(*BUILD, *allow, "--progress=plain", *output, *argv, addr=addr, cwd=cwd, env=variables)
    assert "Traceback" not in result.stderr
    if ok:
        assert result.code == 0, result.stderr
    else:
        assert result.code == 1, result.stderr
    return result


def last_line(result: Result) -> str:
    """The error's line, the last of standard error (with `--debug` the last before the stack)."""
    lines = result.stderr.rstrip("\n").splitlines()
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])


def copy_program(name: str, root: Path) -> str:
    """Copy a program and the shared libraries it needs below `root`, each to its own path; its path there."""
    path = os.path.realpath(program(name))
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    libraries = re.findall(r"(?:=> )?(/\S+) \(0x", listed.stdout) if listed.returncode == 0 else []
    for source in [path, *libraries]:
        target = root / source.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return path


@dataclass(frozen=True)
class Agent:
    """A running ssh agent: its socket, and the comment and the file of the key it holds."""

    socket: str
    comment: str
    key: Path


def make_key(path: Path, comment: str) -> Path:
    """An ed25519 key pair without passphrase."""
    command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@contextmanager
def ssh_agent(folder: Path) -> Iterator[Agent]:
    """A real `ssh-agent` that holds one key."""
    key = make_key(folder / "agent_key", f"agent-{os.urandom(6).hex()}")
    comment = (folder / "agent_key.pub").read_text().split()[2]
    path = folder / "agent.sock"
    agent = subprocess.Popen(
        [program("ssh-agent"), "-D", "-a", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # says where it listens, once it does
        subprocess.run([program("ssh-add"), "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(path)}, check=True)
        yield Agent(str(path), comment, key)
    finally:
        agent.terminate()
        agent.communicate()


def docker_push(addr: str, name: str) -> None:
    """Let a Docker engine push an image of its own store to an open registry."""
    repository, _, tag = name.rpartition(":")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(addr.removeprefix("docker://"))
        request = f"POST /images/{repository}/push?tag={tag} HTTP/1.0\r\nX-Registry-Auth: e30=\r\n\r\n"
        sock.sendall(request.encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b" 200 OK" in answer.split(b"\r\n")[0], answer
    assert b'"error"' not in answer, answer


def docker_engine() -> Callable[..., str]:
    """A function that runs Docker's own command on the Docker engine of the tests; skips where there is none."""
    engines = [addr for addr in real_addresses() if kind(addr) == "docker"]
    if not engines:
        pytest.skip("PYBUILDKIT_TEST_ADDRS names no Docker engine")
    command = [program("docker"), "-H", "unix://" + engines[0].removeprefix("docker://")]

    def call(*argv: str) -> str:
        result = subprocess.run([*command, *argv], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call
