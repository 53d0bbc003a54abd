"""Whole builds with the command, as a user runs it, on every daemon: trees, errors, streams."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tarfile
import uuid
from pathlib import Path

import pytest

from tests.daemons import RUN_OPTIONS, can_run, ours_alone, run, tree, write_tree

MAIN = ["build", "--frontend=dockerfile.v0", "--local", "context=test", "--local", "dockerfile=test/"]
LOCAL = ["--output", "type=local,dest=images/test"]


def context(tmp_path: Path, files: dict[str, str | bytes]) -> Path:
    """A context in the folder `test` of `tmp_path`."""
    return write_tree(tmp_path / "test", files)


def test_main_job_copies_the_context(addr: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        # Times are no part of a cache key: without something new, the result would have an earlier build's times.
        "Dockerfile": f"# {uuid.uuid4()}\nFROM scratch\nCOPY . /out/\n",
        "a.txt": "first\n",
        "dir/b.bin": bytes(range(256)) * 1000,
        "dir/empty": "",
        "dir/sub/deep": "x" * 100_000,
        "only/": "",
        "näme with späces": "unicode",
    }
    root = context(tmp_path, files)
    (root / "link").symlink_to("dir/b.bin")
    (root / "dangling").symlink_to("../nowhere")
    os.link(root / "a.txt", root / "hard")
    (root / "a.txt").chmod(0o640)
    (root / "dir/sub/deep").chmod(0o755)
    (root / "dir").chmod(0o750)
    os.utime(root / "a.txt", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    result = run(*MAIN, *LOCAL, addr=addr, cwd=tmp_path)
    assert (result.code, result.stdout) == (0, b""), result.stderr
    sent, got = tree(root), tree(tmp_path / "images/test/out")
    for name, value in sent.items():
        # A hard link is kept by the transfer; COPY makes a file of its own of it.
        if value[0] == "file":
            assert got[name][:4] == value[:4], name
        else:
            assert got[name] == value, name
    assert set(got) == set(sent)


def test_special_files_are_kept(addr: str, tmp_path: Path) -> None:
    root = context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    os.mkfifo(root / "fifo", 0o620)
    (root / "setuid").write_text("#!/bin/sh\n")
    (root / "setuid").chmod(0o4755)
    result = run(*MAIN, *LOCAL, addr=addr, cwd=tmp_path)
    assert result.code == 0, result.stderr
    got = tree(tmp_path / "images/test")
    assert got["setuid"][1] == 0o4755
    if not addr.startswith("docker:"):  # COPY of the BuildKit in Docker 20.10 leaves FIFOs out
        assert got["fifo"][0] == "other"


def test_many_stages_in_parallel(addr: str, tmp_path: Path) -> None:
    stages = [f"FROM scratch AS s{i}\nCOPY f{i} /\n" for i in range(12)]
    final = "FROM scratch\n" + "".join(f"COPY --from=s{i} /f{i} /all/\n" for i in range(12))
    context(tmp_path, {"Dockerfile": "".join(stages) + final, **{f"f{i}": f"content {i}" for i in range(12)}})
    result = run(*MAIN, *LOCAL, addr=addr, cwd=tmp_path)
    assert result.code == 0, result.stderr
    got = sorted((tmp_path / "images/test/all").iterdir())
    assert [p.read_text() for p in got] == [f"content {p.name[1:]}" for p in got]
    assert len(got) == 12


def test_run_step(addr: str, tmp_path: Path, busybox: Path) -> None:
    if reason := can_run(addr):
        pytest.skip(reason)
    dockerfile = 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "sh", "-c", "echo made-by-run > /made"]\n'
    root = context(tmp_path, {"Dockerfile": dockerfile})
    shutil.copy(busybox, root / "busybox")
    result = run(*MAIN, *RUN_OPTIONS, *LOCAL, addr=addr, cwd=tmp_path)
    assert result.code == 0, result.stderr
    assert (tmp_path / "images/test/made").read_text() == "made-by-run\n"


def test_failing_run_step(addr: str, tmp_path: Path, busybox: Path) -> None:
    if reason := can_run(addr):
        pytest.skip(reason)
    dockerfile = 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "sh", "-c", "echo to-the-log; exit 42"]\n'
    root = context(tmp_path, {"Dockerfile": dockerfile})
    shutil.copy(busybox, root / "busybox")
    result = run(*MAIN, *RUN_OPTIONS, *LOCAL, "--progress=plain", addr=addr, cwd=tmp_path)
    assert result.code == 1
    assert "to-the-log" in result.stderr
    last = result.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("error: failed to solve: ")
    assert last.endswith(("exit code: 42", "returned a non-zero code: 42"))
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "images/test/bin").exists()


def test_tar_to_a_file(addr: str, tmp_path: Path) -> None:
    context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY dir /dir/\n", "dir/a": "aaa", "dir/b": "b" * 70_000})
    result = run(*MAIN, "--output", "type=tar,dest=X.tar", addr=addr, cwd=tmp_path)
    assert result.code == 0, result.stderr
    with tarfile.open(tmp_path / "X.tar") as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        assert {name: f.read() for name, f in files.items() if f} == {"dir/a": b"aaa", "dir/b": b"b" * 70_000}
    assert {p.name for p in tmp_path.iterdir()} == {"test", "X.tar"}


def test_tar_to_standard_output(addr: str, tmp_path: Path) -> None:
    context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "aaa"})
    result = run(*MAIN, "--output", "type=tar", addr=addr, cwd=tmp_path)
    assert result.code == 0, result.stderr
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        assert [m.name for m in archive.getmembers() if m.isfile()] == ["a"]


def test_second_build_is_cached(addr: str, tmp_path: Path) -> None:
    context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY a /dest/\n", "a": os.urandom(16).hex()})
    first = run(*MAIN, *LOCAL, "--progress=plain", addr=addr, cwd=tmp_path)
    os.utime(tmp_path / "test/a", ns=(10**18, 10**18))
    second = run(*MAIN, *LOCAL, "--progress=plain", addr=addr, cwd=tmp_path)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert "CACHED" not in first.stderr
    assert "CACHED" in second.stderr


@ours_alone
def test_failed_build_leaves_an_old_tar_alone(addr: str, tmp_path: Path) -> None:
    context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY missing /\n"})
    (tmp_path / "X.tar").write_text("the old one")
    result = run(*MAIN, "--output", "type=tar,dest=X.tar", addr=addr, cwd=tmp_path)
    assert result.code == 1
    assert "missing" in result.stderr
    assert (tmp_path / "X.tar").read_text() == "the old one"
    assert {p.name for p in tmp_path.iterdir()} == {"test", "X.tar"}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--frontend=dockerfile.v0", "--local", "context=nowhere"], "nowhere"),
        (["--frontend=nosuch.v9"], "nosuch.v9"),
        (["--frontend=dockerfile.v0", "--local", "context=.", "--local", "dockerfile=."], "Dockerfile"),
    ],
)
def test_bad_input_is_one_line(addr: str, tmp_path: Path, argv: list[str], text: str) -> None:
    result = run("build", *argv, addr=addr, cwd=tmp_path)
    assert result.code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert text in errors[0]
    assert "Traceback" not in result.stderr


def test_unwritable_destination(addr: str, tmp_path: Path) -> None:
    context(tmp_path, {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    (tmp_path / "images").write_text("a file in the way")
    result = run(*MAIN, *LOCAL, addr=addr, cwd=tmp_path)
    assert result.code == 1
    assert "images" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_not_a_buildkit(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        os.set_inheritable(listener.fileno(), False)
        result = run("--timeout", "1", "debug", "workers", addr=f"unix://{tmp_path}/s.sock", cwd=tmp_path)
    assert result.code == 1
    assert result.stderr.startswith("error: failed to list workers: ")
    assert len(result.stderr.splitlines()) == 1
