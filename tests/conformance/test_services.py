"""Secrets, ssh agents and raw sockets, used by RUN steps of real builds; rows E of the list of faults."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.services import build, copy_program, kind, last_line, make_key, need, ssh_agent
from tests.daemons import ours_alone, write_tree

SHELL = '["/bin/busybox", "sh", "-c", '


def step(script: str, mount: str = "") -> str:
    """A Dockerfile with one RUN step of a shell script, which the host's busybox runs."""
    quoted = script.replace("\\", "\\\\").replace('"', '\\"')
    return f'FROM scratch\nCOPY . /\nRUN {mount} {SHELL}"{quoted}"]\n'


@pytest.fixture
def shell(tmp_path: Path, busybox: Path) -> Path:
    """The build's context, which has a shell; no daemon has its steps cached."""
    root = write_tree(tmp_path / "test", {"bin/": "", "salt": os.urandom(16)})
    shutil.copy(busybox, root / "bin/busybox")
    return root


@pytest.fixture
def ssh_add(shell: Path) -> str:
    """The path of an `ssh-add` in the build's context."""
    return copy_program("ssh-add", shell)


def test_secret_from_a_file_and_from_the_environment(real_addr: str, tmp_path: Path, shell: Path) -> None:
    need(real_addr, "run")
    value = os.urandom(40) + b"\n\x00end"
    (tmp_path / "secret.bin").write_bytes(value)
    mounts = "--mount=type=secret,id=one --mount=type=secret,id=two,target=/two --mount=type=secret,id=GUESSED"
    script = "/bin/busybox cat /run/secrets/one > /one; /bin/busybox cat /two /run/secrets/GUESSED > /env"
    build(
        *("--secret", "id=one,src=secret.bin", "--secret", "id=two,env=PLANTED_TWO", "--secret", "id=GUESSED"),
        addr=real_addr,
        cwd=tmp_path,
        files={"Dockerfile": step(script, mounts)},
        env={"PLANTED_TWO": "from the environment ", "GUESSED": "and by its own name"},
    )
    assert (tmp_path / "out/one").read_bytes() == value
    assert (tmp_path / "out/env").read_text() == "from the environment and by its own name"


def test_required_secret_that_is_not_given(real_addr: str, tmp_path: Path, shell: Path) -> None:
    need(real_addr, "run")
    mount = "--mount=type=secret,id=absent,required=true"
    result = build(addr=real_addr, cwd=tmp_path, files={"Dockerfile": step("true", mount)}, ok=False)
    assert "secret absent" in last_line(result)
    assert last_line(result).endswith("not found")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("id=x,src=nowhere", "failed to stat nowhere: stat nowhere: no such file or directory"),
        ("id=x,src=large", "secret x too big. max size 500KiB"),
        ("src=large", "secret missing ID"),
    ],
)
def test_secrets_that_cannot_be_offered(addr: str, tmp_path: Path, given: str, text: str) -> None:
    (tmp_path / "large").write_bytes(bytes(512_001))
    files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
    result = build("--secret", given, addr=addr, cwd=tmp_path, files=files, ok=False)
    assert last_line(result) == f"error: {text}"


@ours_alone
def test_endless_secret_ends(real_addr: str, tmp_path: Path, shell: Path) -> None:
    need(real_addr, "run")
    files = {"Dockerfile": step("/bin/busybox cat /run/secrets/zero > /made", "--mount=type=secret,id=zero")}
    result = build("--secret", "id=zero,src=/dev/zero", addr=real_addr, cwd=tmp_path, files=files, ok=False)
    assert "secret zero too big. max size 500KiB" in last_line(result)


@ours_alone
def test_unset_variable_is_an_empty_secret_with_a_warning(real_addr: str, tmp_path: Path, shell: Path) -> None:
    need(real_addr, "run")
    script = "if /bin/busybox test -e /run/secrets/v; then /bin/busybox wc -c /run/secrets/v; fi > /size"
    files = {"Dockerfile": step(script, "--mount=type=secret,id=v")}
    result = build("--secret", "id=v,env=NO_SUCH_VARIABLE", addr=real_addr, cwd=tmp_path, files=files)
    # the BuildKit in Docker 20.10 takes an empty secret for one that is not there
    assert (tmp_path / "out/size").read_text() == ("" if kind(real_addr) == "docker" else "0 /run/secrets/v\n")
    assert "environment variable NO_SUCH_VARIABLE is not set" in result.stderr


def test_ssh_agent_by_several_clients_at_once(real_addr: str, tmp_path: Path, ssh_add: str) -> None:
    need(real_addr, "run")
    # each client reads the list of keys; all have their connections open at the same time
    script = f"for i in 1 2 3 4; do {ssh_add} -l > /keys$i & done; wait; /bin/busybox test -S $SSH_AUTH_SOCK"
    script += f"; if {ssh_add} -D; then exit 3; fi; {ssh_add} -l > /keys5"
    with ssh_agent(tmp_path) as agent:
        files = {"Dockerfile": step(script, "--mount=type=ssh")}
        build("--ssh", "default", addr=real_addr, cwd=tmp_path, files=files, env={"SSH_AUTH_SOCK": agent.socket})
    for number in "12345":
        assert agent.comment in (tmp_path / f"out/keys{number}").read_text()


def test_ssh_key_files_and_ids(real_addr: str, tmp_path: Path, ssh_add: str) -> None:
    need(real_addr, "run")
    for name in ("one", "two"):
        make_key(tmp_path / name, f"file-{name}")
    script = f"{ssh_add} -L > /listed; SSH_AUTH_SOCK=/other {ssh_add} -L > /other-listed; true"
    mounts = "--mount=type=ssh,id=pair --mount=type=ssh,id=single,target=/other"
    # the variable names the socket of the last mount; each client names its own
    script = f"export SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0; {script}"
    files = {"Dockerfile": step(script, mounts)}
    build("--ssh", "pair=one,two", "--ssh", "single=two", addr=real_addr, cwd=tmp_path, files=files)
    public = {name: (tmp_path / f"{name}.pub").read_text().split()[1] for name in ("one", "two")}
    listed = (tmp_path / "out/listed").read_text()
    assert public["one"] in listed
    assert public["two"] in listed
    other = (tmp_path / "out/other-listed").read_text()
    assert public["two"] in other
    assert public["one"] not in other


def test_key_files_sign(real_addr: str, tmp_path: Path, shell: Path, ssh_add: str) -> None:
    need(real_addr, "run")
    keygen = copy_program("ssh-keygen", shell)
    for path in ("etc/passwd", "root/message", "dev/"):
        write_tree(shell, {path: "root:x:0:0:root:/root:/bin/sh\n"} if path[-1] != "/" else {path: ""})
    make_key(tmp_path / "key", "signer")
    shutil.copy(tmp_path / "key.pub", shell / "root/key.pub")
    script = f"{keygen} -Y sign -f /root/key.pub -n test /root/message"
    files = {"Dockerfile": step(script, "--mount=type=ssh")}
    build("--ssh", "default=key", addr=real_addr, cwd=tmp_path, files=files)
    assert (tmp_path / "out/root/message.sig").read_text().startswith("-----BEGIN SSH SIGNATURE-----")


def test_ssh_mount_without_an_agent(real_addr: str, tmp_path: Path, shell: Path) -> None:
    need(real_addr, "run")
    mount = "--mount=type=ssh,required=true"
    result = build(addr=real_addr, cwd=tmp_path, files={"Dockerfile": step("true", mount)}, ok=False)
    assert "no SSH key" in last_line(result)


def test_agent_socket_unset(addr: str, tmp_path: Path) -> None:
    files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
    result = build("--ssh", "default", addr=addr, cwd=tmp_path, files=files, env={"SSH_AUTH_SOCK": ""}, ok=False)
    text = "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
    assert last_line(result) == f"error: failed to convert agent config {{default [] false}}: {text}"


@ours_alone
def test_dead_agent_socket_is_warned_of(addr: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    files = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}
    result = build("--ssh", f"default={tmp_path}/dead.sock", addr=addr, cwd=tmp_path, files=files)
    warnings = [line for line in result.stderr.splitlines() if "level=warning" in line and "dead.sock" in line]
    assert len(warnings) == 1


class RawServer:
    """A service behind a socket that is no ssh agent: it keeps what it is sent, and answers with one message."""

    def __init__(self, listener: socket.socket, answer: bytes) -> None:
        self._listener = listener
        self._answer = answer
        self.received: list[bytes] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                data = connection.recv(4096)
                while data:
                    self.received.append(data)
                    connection.sendall(self._answer)
                    data = connection.recv(4096)


@contextmanager
def raw_server(path: Path, answer: bytes) -> Iterator[RawServer]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = RawServer(listener, answer)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_raw_socket(real_addr: str, tmp_path: Path, ssh_add: str) -> None:
    """The bytes pass as they are: `ssh-add -D` asks for what a forwarded agent refuses."""
    need(real_addr, "run")
    files = {"Dockerfile": step(f"{ssh_add} -D 2> /said", "--mount=type=ssh,id=raw")}
    with raw_server(tmp_path / "raw.sock", b"\x00\x00\x00\x01\x06") as server:
        build("--ssh", f"raw={tmp_path}/raw.sock,raw=true", addr=real_addr, cwd=tmp_path, files=files)
    assert b"\x00\x00\x00\x01\x13" in b"".join(server.received)
    assert (tmp_path / "out/said").read_text() == "All identities removed.\n"
