"""Section C of the list of faults: where exports go."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.filesync import copy_to_caller
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, data_end, data_header, stat_packet
from tests.conformance.faulty import BUILD, LOCAL, TAR, Build, Script, names, one_error, serve
from tests.daemons import COMMAND, Result, environment, run, write_tree

NOBODY = 65534


class Tar(Script):
    """Sends a file export."""

    def __init__(self, size: int = 1000, *, then: str = "") -> None:
        self.size = size
        self.then = then

    async def export(self, build: Build) -> Mapping[str, str]:
        writer = await build.file()
        await writer.write_all(b"x" * self.size)
        if self.then == "fail":
            writer.abort()
            raise BuildkitError("the export failed")
        if self.then == "lie":
            return {}
        await writer.close()
        return {"image.name": "x" * self.size}


class Tree(Script):
    """Sends a directory export; with `lie`, claims success whatever the client says."""

    def __init__(self, source: Path, *, lie: bool = False) -> None:
        self.source = source
        self.lie = lie

    async def export(self, build: Build) -> Mapping[str, str]:
        with contextlib.suppress(*([BuildkitError] if self.lie else [])):
            await copy_to_caller(background(), fsutil.new_fs(str(self.source)), 0, await build.caller())
        return {}


class Nothing(Script):
    """Claims success without an export."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of a size, in a folder."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("then", ["fail", "lie"])
@pytest.mark.parametrize("old", [None, "the old one"])
def test_failed_export_leaves_the_old_file(tmp_path: Path, work: Path, then: str, old: str | None) -> None:
    if old is not None:
        (work / "out.tar").write_text(old)
    with serve(Tar(100_000, then=then), tmp_path) as daemon:
        result = run(*BUILD, *TAR, addr=daemon.addr, cwd=work)
    text = one_error(result)
    if then == "fail":
        assert "the export failed" in text
    else:
        assert "daemon reported success but sent no whole tar export" in text
    assert {path.name: path.read_text() for path in work.iterdir()} == ({} if old is None else {"out.tar": old})


def test_disk_full_local(tmp_path: Path, work: Path) -> None:
    write_tree(tmp_path / "source", {"a": b"a" * 1000, "big": b"x" * 3_000_000})
    with small_disk(work / "small", "1m"), serve(Tree(tmp_path / "source"), tmp_path) as daemon:
        result = run(*BUILD, "--output", "type=local,dest=small/out", addr=daemon.addr, cwd=work)
        left = names(work / "small/out")
    text = one_error(result)
    assert "local export to small/out is incomplete: write " in text
    assert "small/out/big: no space left on device" in text
    assert left <= {"a"}


@pytest.mark.parametrize("exporter", ["tar", "oci", "docker"])
def test_disk_full_file(tmp_path: Path, work: Path, exporter: str) -> None:
    with small_disk(work / "small", "1m"), serve(Tar(3_000_000), tmp_path) as daemon:
        result = run(*BUILD, "--output", f"type={exporter},dest=small/x", addr=daemon.addr, cwd=work)
        left = names(work / "small")
    assert "small/x: no space left on device" in one_error(result)
    assert left == set()


def test_disk_full_metadata_file(tmp_path: Path, work: Path) -> None:
    with small_disk(work / "small", "1m"), serve(Tar(3_000_000), tmp_path) as daemon:
        result = run(*BUILD, *TAR, "--metadata-file", "small/metadata", addr=daemon.addr, cwd=work)
        left = names(work / "small")
    assert "no space left on device" in one_error(result)
    assert left == set()


def test_a_full_device_as_the_file(tmp_path: Path, work: Path) -> None:
    with serve(Tar(), tmp_path) as daemon:
        result = run(*BUILD, "--output", "type=tar,dest=/dev/full", addr=daemon.addr, cwd=work)
    assert "write /dev/full: no space left on device" in one_error(result)


def file_size_limit(limit: int) -> Callable[[], None]:
    def apply() -> None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return apply


@pytest.mark.parametrize("output", ["type=tar,dest=x", "type=local,dest=x"])
def test_file_size_limit(tmp_path: Path, work: Path, output: str) -> None:
    write_tree(tmp_path / "source", {"big": b"x" * 3_000_000})
    script = Tree(tmp_path / "source") if "local" in output else Tar(3_000_000)
    with serve(script, tmp_path) as daemon:
        done = subprocess.run(
            [*COMMAND, "--addr", daemon.addr, *BUILD, "--output", output],
            cwd=work,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            preexec_fn=file_size_limit(1 << 20),
        )
    assert "file too large" in one_error(Result(done.returncode, b"", done.stderr))
    assert names(work) <= {"x"}
    assert not (work / "x").is_file()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("type=tar,dest=locked/x", "locked/x: permission denied"),
        ("type=local,dest=locked/x", "locked/x: permission denied"),
        ("type=tar,dest=nowhere/x", "nowhere/x: no such file or directory"),
        ("type=tar,dest=folder", "destination file is a directory"),
        ("type=local,dest=file", "mkdir file: not a directory"),
        ("type=tar,dest=file/x", "file/x: not a directory"),
    ],
)
def test_destination_that_cannot_be_made(tmp_path: Path, work: Path, output: str, text: str) -> None:
    for name in ("locked", "folder"):
        (work / name).mkdir()
    (work / "file").write_text("in the way")
    (work / "locked").chmod(0o500)
    write_tree(tmp_path / "source", {"f": "x"})
    script = Tree(tmp_path / "source") if "local" in output else Tar()
    with serve(script, tmp_path) as daemon:
        result = run_unprivileged([*BUILD, "--output", output], daemon.addr, work)
    assert text in one_error(result)
    assert names(work) == {"locked", "folder", "file"}
    assert (work / "file").read_text() == "in the way"


def run_unprivileged(argv: list[str], addr: str, work: Path) -> Result:
    """Run the command without root's power over files, in a folder that it may write."""
    words = [*COMMAND, "--addr", addr, *argv]
    if os.geteuid() == 0:
        # Root without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: permissions count, the interpreter stays readable.
        words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", *words]
    done = subprocess.run(words, cwd=work, env=environment(), capture_output=True, text=True, timeout=30, check=False)
    if "setpriv" in done.stderr:
        pytest.skip(done.stderr)
    return Result(done.returncode, done.stdout.encode(), done.stderr)


def test_read_only_file_system(tmp_path: Path, work: Path) -> None:
    with small_disk(work / "small", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        write_tree(tmp_path / "source", {"f": "x"})
        with serve(Tree(tmp_path / "source"), tmp_path) as daemon:
            local = run(*BUILD, "--output", "type=local,dest=small/x", addr=daemon.addr, cwd=work)
            tar = run(*BUILD, "--output", "type=tar,dest=small/x", addr=daemon.addr, cwd=work)
    for result in (local, tar):
        assert "small/x: read-only file system" in one_error(result)


class DeletedUnderway(Script):
    """Sends a directory export, in the middle of which a function is called."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    async def export(self, build: Build) -> Mapping[str, str]:
        stream = await build.export()
        await stream.send_many([stat_packet(fsutil.Stat(f"d{n}".encode(), 0o644, size=4)) for n in range(2)])
        requested = 0
        while requested < 2:
            requested += len(await stream.recv_many())
        await stream.send_many([data_header(0, 4) + b"1234", data_end(0)])
        self.action()
        await stream.send_many([data_header(1, 4) + b"1234", data_end(1)])
        await stream.send_many([stat_packet(fsutil.Stat(b"e/", 0o755)) for n in range(0)])
        await stream.send_many([stat_packet(fsutil.Stat(b"z", 0o644, size=4)), END_OF_LIST])
        while messages := await stream.recv_many():
            for message in messages:
                if message[:2] == b"\x08\x01":
                    await stream.send_many([data_header(2, 4) + b"1234", data_end(2)])
                elif message[:2] == b"\x08\x03":
                    await stream.send_many([b"\x08\x03"])
        return {}


def test_output_directory_deleted_during_the_export(tmp_path: Path, work: Path) -> None:
    import shutil

    with serve(DeletedUnderway(lambda: shutil.rmtree(work / "out")), tmp_path) as daemon:
        started = time.monotonic()
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work, timeout=20)
        assert time.monotonic() - started < 4
    text = one_error(result)
    assert "local export to out is incomplete" in text
    assert "no such file or directory" in text


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("type=local,dest=out", "daemon reported success but sent no whole local export for out"),
        ("type=tar,dest=out", "daemon reported success but sent no whole tar export"),
        ("type=oci,dest=out", "daemon reported success but sent no whole oci export"),
        ("type=tar", "daemon reported success but sent no whole tar export"),
    ],
)
def test_success_without_an_export(tmp_path: Path, work: Path, output: str, text: str) -> None:
    with serve(Nothing(), tmp_path) as daemon:
        result = run(*BUILD, "--output", output, addr=daemon.addr, cwd=work)
    assert text in one_error(result)
    assert names(work) == set()


def test_broken_export_counts_though_the_daemon_claims_success(tmp_path: Path, work: Path) -> None:
    write_tree(tmp_path / "source", {"a": "x", "d/b": "x"})
    write_tree(work, {"out/d/keep": "x"})
    (work / "out/a").mkdir()
    (work / "out/a/child").mkdir()
    (work / "out").chmod(0o500)
    with serve(Tree(tmp_path / "source", lie=True), tmp_path) as daemon:
        result = run_unprivileged([*BUILD, *LOCAL], daemon.addr, work)
    (work / "out").chmod(0o700)
    text = one_error(result)
    assert "local export to out is incomplete" in text
    assert "permission denied" in text


def test_directories_that_nobody_may_enter_are_filled(tmp_path: Path, work: Path) -> None:
    """Modes of directories come last, the innermost first: a user who is not root could not go back."""
    source = write_tree(tmp_path / "source", {"d/e/f": "content", "g": "x"})
    for name, mode in (("d/e", 0o500), ("d", 0)):
        (source / name).chmod(mode)
    (source / "g").chmod(0)
    with serve(Tree(source), tmp_path) as daemon:
        result = run_unprivileged([*BUILD, *LOCAL], daemon.addr, work)
    modes = {}
    for name in ("d", "d/e", "g"):
        modes[name] = (work / "out" / name).stat().st_mode & 0o777 if result.code == 0 else None
        if name == "d":
            (source / name).chmod(0o700)
            (work / "out" / name).chmod(0o700)
    assert result.code == 0, result.stderr
    assert modes == {"d": 0, "d/e": 0o500, "g": 0}
    assert (work / "out/d/e/f").read_text() == "content"
    for root in (source, work / "out"):
        (root / "d/e").chmod(0o700)


def test_the_users_umask_holds(tmp_path: Path, work: Path) -> None:
    """For what the client makes of itself; what comes with a mode keeps it."""
    source = write_tree(tmp_path / "source", {"f": "content"})
    (source / "f").chmod(0o666)
    before = os.umask(0o027)
    try:
        for script, output in ((Tree(source), "type=local,dest=a/out"), (Tar(), "type=tar,dest=x.tar")):
            with serve(script, tmp_path) as daemon:
                words = [*BUILD, "--output", output, "--metadata-file", f"{output[-3:]}.json"]
                result = run(*words, addr=daemon.addr, cwd=work)
            assert result.code == 0, result.stderr
    finally:
        os.umask(before)
    found = {name: (work / name).stat().st_mode & 0o777 for name in ("a", "x.tar", "tar.json", "a/out/f")}
    assert found == {"a": 0o700, "x.tar": 0o640, "tar.json": 0o640, "a/out/f": 0o666}


def test_fifo_that_nobody_reads_as_the_file(tmp_path: Path, work: Path) -> None:
    import signal

    from tests.daemons import finish, start

    os.mkfifo(work / "fifo")

    class ToFifo(Tar):
        async def export(self, build: Build) -> Mapping[str, str]:
            build.daemon.reach()
            return await super().export(build)

    with serve(ToFifo(), tmp_path) as daemon:
        process = start(*BUILD, "--output", "type=tar,dest=fifo", addr=daemon.addr, cwd=work)
        daemon.wait_reached()
        process.send_signal(signal.SIGINT)
        code, stderr, seconds = finish(process, 20)
    assert one_error(Result(code, b"", stderr)).startswith("error: failed to solve: Canceled: context canceled")
    assert seconds < 3


def test_sparse_file_stays_sparse(tmp_path: Path, work: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source/sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 4096)
    with serve(Tree(tmp_path / "source"), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    info = (work / "out/sparse").stat()
    assert info.st_size == 64 << 20
    if (tmp_path / "source/sparse").stat().st_blocks * 512 < 1 << 20:  # else this file system has no holes
        assert info.st_blocks * 512 < 8 << 20
