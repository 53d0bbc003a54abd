"""Section D of the list of faults: files of the context that change, hide, or have odd names."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.faulty import BUILD, TAR, Build, Script, names, one_error, serve
from tests.conformance.test_faults_destination import run_unprivileged
from tests.daemons import COMMAND, environment, run, tree, write_tree

CONTEXT = ["--local", "context=test"]
SIZE = 300_000


class Pull(Script):
    """Takes the context; between the list and the first content a function is called."""

    def __init__(self, dest: Path, listed: Callable[[], None] = lambda: None) -> None:
        self.dest = dest
        self.listed = listed

    async def frontend(self, build: Build) -> None:
        await build.pull(self.dest, listed=self.listed)


def unlink(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    os.truncate(path, 5)


def to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def parent_to_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to("moved")


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (unlink, "open {path}: no such file or directory"),
        (shrink, "read {path}: file is shorter than it was when it was listed"),
        (to_link, "open {path}: too many levels of symbolic links"),
        (parent_to_link, "open {path}: not a directory"),
        (to_fifo, "open {path}: not a regular file"),
    ],
)
def test_file_changes_between_the_list_and_the_open(
    tmp_path: Path, work: Path, change: Callable[[Path], None], text: str
) -> None:
    write_tree(work / "test", {"Dockerfile": "FROM scratch\n", "d/file": b"x" * SIZE})
    got = tmp_path / "got"
    with serve(Pull(got, lambda: change(work / "test/d/file")), tmp_path) as daemon:
        result = run(*BUILD, *CONTEXT, *TAR, addr=daemon.addr, cwd=work)
    assert text.format(path=f"{work}/test/d/file") in one_error(result)
    assert "d/file" not in names(got)
    assert "out.tar" not in names(work)


def test_file_that_grows_is_sent_up_to_its_listed_size(tmp_path: Path, work: Path) -> None:
    write_tree(work / "test", {"file": b"x" * SIZE})

    def grow() -> None:
        with (work / "test/file").open("ab") as file:
            file.write(b"more")

    got = tmp_path / "got"
    with serve(Pull(got, grow), tmp_path) as daemon:
        result = run(*BUILD, *CONTEXT, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    assert (got / "file").read_bytes() == b"x" * SIZE


def test_unreadable_file(tmp_path: Path, work: Path) -> None:
    write_tree(work / "test", {"file": "secret"})
    (work / "test/file").chmod(0)
    got = tmp_path / "got"
    with serve(Pull(got), tmp_path) as daemon:
        result = run_unprivileged([*BUILD, *CONTEXT], daemon.addr, work)
    assert f"open {work}/test/file: permission denied" in one_error(result)
    assert names(got) == set()


def test_unreadable_folder(tmp_path: Path, work: Path) -> None:
    write_tree(work / "test", {"d/file": "secret"})
    (work / "test/d").chmod(0)
    with serve(Pull(tmp_path / "got"), tmp_path) as daemon:
        result = run_unprivileged([*BUILD, *CONTEXT], daemon.addr, work)
    (work / "test/d").chmod(0o700)
    text = one_error(result)
    assert "test/d: permission denied" in text


def test_odd_files_and_names_are_kept(tmp_path: Path, work: Path) -> None:
    root = write_tree(
        work / "test", {"new\nline": "1", "back\\slash": "2", "n" * 255: "3", " space ": "4", "-dash": "5"}
    )
    (root / os.fsdecode(b"not-utf8-\xff\xfe")).write_text("6")
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")
    (root / "absolute").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's address is short; its file is not.
        listener.bind(f"{tmp_path}/socket")
        os.rename(tmp_path / "socket", root / "socket")
    got = tmp_path / "got"
    with serve(Pull(got), tmp_path) as daemon:
        result = run(*BUILD, *CONTEXT, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    sent, received = tree(root), tree(got)
    # Sockets are listed, as Go does; no receiver can make one.
    sent.pop("socket")
    received.pop("socket", None)
    assert received == sent


def test_many_files_under_a_small_limit_of_descriptors(tmp_path: Path, work: Path) -> None:
    folder = work / "test"
    for n in range(200):
        (folder / f"d{n}").mkdir(parents=True)
        for m in range(20):
            (folder / f"d{n}/f{m}").write_bytes(b"x")
    got = tmp_path / "got"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with serve(Pull(got), tmp_path) as daemon:
        words = [*COMMAND, "--addr", daemon.addr, *BUILD, *CONTEXT]
        done = subprocess.run(
            words,
            cwd=work,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=limit,
        )
    assert done.returncode == 0, done.stderr
    assert len(names(got)) == 200 * 21


class AsksFor(Script):
    """Asks for a local source that was not offered."""

    def __init__(self, dest: Path, name: str) -> None:
        self.dest = dest
        self.name = name

    async def frontend(self, build: Build) -> None:
        await build.pull(self.dest, name=self.name)


@pytest.mark.parametrize("name", ["dockerfile", "", "../work", "/etc"])
def test_source_that_was_not_offered(tmp_path: Path, work: Path, name: str) -> None:
    write_tree(work / "test", {"file": "x"})
    got = tmp_path / "got"
    with serve(AsksFor(got, name), tmp_path) as daemon:
        result = run(*BUILD, *CONTEXT, addr=daemon.addr, cwd=work)
    assert "no access allowed to dir" in one_error(result)
    assert names(got) == set()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("context=nowhere", "nowhere: no such file or directory"),
        ("context=file", "file: not a directory"),
        ("context", "invalid local: "),
    ],
)
def test_bad_local_is_refused_before_anything_is_sent(tmp_path: Path, work: Path, value: str, text: str) -> None:
    (work / "file").write_text("x")
    with serve(Pull(tmp_path / "got"), tmp_path) as daemon:
        result = run(*BUILD, "--local", value, *TAR, addr=daemon.addr, cwd=work)
        assert daemon.builds == {}
    assert text in one_error(result)


def test_context_that_is_removed_during_the_build(tmp_path: Path, work: Path) -> None:
    import shutil

    write_tree(work / "test", {"d/file": "x"})

    class Removed(Pull):
        async def frontend(self, build: Build) -> None:
            shutil.rmtree(work / "test")
            await super().frontend(build)

    with serve(Removed(tmp_path / "got"), tmp_path) as daemon:
        result = run(*BUILD, *CONTEXT, addr=daemon.addr, cwd=work)
    assert "test" in one_error(result)
    assert "no such file or directory" in one_error(result)
