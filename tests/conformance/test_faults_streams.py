"""Section B of the list of faults: signals, and the standard streams."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, data_end, data_header, stat_packet
from tests.conformance.faulty import BUILD, LOCAL, TAR, Build, Script, names, one_error, serve
from tests.daemons import COMMAND, Result, environment, finish, start, wait_for

FOREVER = 3600.0
STDOUT_TAR = ["--output", "type=tar"]


class Logs(Script):
    """Tells lines for ever, or as many as it is asked to."""

    def __init__(self, lines: int | None = None) -> None:
        self.lines = lines

    async def frontend(self, build: Build) -> None:
        number = 0
        while self.lines is None or number < self.lines:
            build.log(f"line {number}")
            number += 1
            await asyncio.sleep(0.005)


class HalfTar(Script):
    """Sends half a file export, and then nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def export(self, build: Build) -> Mapping[str, str]:
        writer = await build.file()
        await writer.write_all(b"half")
        build.daemon.reach()
        await asyncio.sleep(FOREVER)
        return {}


class HalfTree(Script):
    """Sends one whole file and half of another, and then nothing."""

    async def export(self, build: Build) -> Mapping[str, str]:
        stream = await build.export()
        packets = [stat_packet(fsutil.Stat(name, 0o644, size=8)) for name in (b"half", b"whole")]
        await stream.send_many([*packets, END_OF_LIST])
        requested = 0
        while requested < 2:
            requested += len(await stream.recv_many())
        whole = [data_header(1, 8) + b"12345678", data_end(1)]
        await stream.send_many([*whole, data_header(0, 4) + b"half"])
        build.daemon.reach()
        await asyncio.sleep(FOREVER)
        return {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_removes_the_file_that_is_being_written(tmp_path: Path, work: Path, number: signal.Signals) -> None:
    with serve(HalfTar(work), tmp_path) as daemon:
        process = start(*BUILD, *TAR, addr=daemon.addr, cwd=work)
        daemon.wait_reached()
        wait_for(lambda: bool(names(work)), "the temporary file")
        assert "out.tar" not in names(work)
        process.send_signal(number)
        code, stderr, seconds = finish(process, 20)
    assert one_error(Result(code, b"", stderr)).startswith("error: failed to solve: Canceled: context canceled")
    assert seconds < 2
    assert names(work) == set()


def test_signal_keeps_whole_files_and_says_that_the_directory_is_incomplete(tmp_path: Path, work: Path) -> None:
    with serve(HalfTree(), tmp_path) as daemon:
        process = start(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
        daemon.wait_reached()
        wait_for(lambda: (work / "out/whole").exists(), "the whole file")
        process.send_signal(signal.SIGINT)
        code, stderr, seconds = finish(process, 20)
    text = one_error(Result(code, b"", stderr))
    assert text.startswith("error: failed to solve: Canceled: context canceled")
    assert "local export to out is incomplete" in stderr
    assert seconds < 2
    assert names(work) == {"out", "out/whole"}
    assert (work / "out/whole").read_bytes() == b"12345678"


def test_second_signal_ends_at_once(tmp_path: Path, work: Path) -> None:
    with serve(HalfTar(work), tmp_path) as daemon:
        process = start(*BUILD, *TAR, addr=daemon.addr, cwd=work)
        daemon.wait_reached()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        code, _, seconds = finish(process, 20)
    assert code in (1, -signal.SIGTERM)
    assert seconds < 2


def test_reader_of_stderr_goes_away(tmp_path: Path, work: Path) -> None:
    with serve(Logs(), tmp_path) as daemon:
        process = start(*BUILD, *TAR, addr=daemon.addr, cwd=work)
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(20) == -signal.SIGPIPE
    assert names(work) == set()


class BigTar(Script):
    """Sends a tar export of a size."""

    def __init__(self, size: int = 8 << 20) -> None:
        self.size = size

    async def export(self, build: Build) -> Mapping[str, str]:
        writer = await build.file()
        build.daemon.reach()
        await writer.write_all(bytes(self.size))
        await writer.close()
        return {}


def test_reader_of_stdout_goes_away(tmp_path: Path, work: Path) -> None:
    with serve(BigTar(), tmp_path) as daemon:
        process = start(*BUILD, *STDOUT_TAR, addr=daemon.addr, cwd=work)
        assert process.stdout is not None
        assert process.stdout.read(1) == b"\0"
        process.stdout.close()
        assert process.wait(20) == -signal.SIGPIPE


def test_signal_while_nobody_reads_stdout(tmp_path: Path, work: Path) -> None:
    with serve(BigTar(), tmp_path) as daemon:
        process = start(*BUILD, *STDOUT_TAR, addr=daemon.addr, cwd=work)
        assert process.stdout is not None
        assert process.stdout.read(1) == b"\0"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(3) == 1
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("stderr", ["/dev/full", "closed"])
def test_stderr_closed_or_full(tmp_path: Path, work: Path, stderr: str) -> None:
    with serve(BigTar(1000), tmp_path) as daemon:
        argv = [*COMMAND, "--addr", daemon.addr, *BUILD, *TAR]
        redirection = "2>&-" if stderr == "closed" else f"2>{stderr}"
        words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *argv]
        assert subprocess.run(words, cwd=work, env=environment(), timeout=30, check=False).returncode == 0
    assert (work / "out.tar").read_bytes() == bytes(1000)


@pytest.mark.parametrize(
    ("redirection", "text"),
    [(">&-", "write /dev/stdout: bad file descriptor"), (">/dev/full", "write /dev/stdout: no space left on device")],
)
def test_tar_to_a_stdout_that_takes_nothing(tmp_path: Path, work: Path, redirection: str, text: str) -> None:
    with serve(BigTar(1000), tmp_path) as daemon:
        argv = [*COMMAND, "--addr", daemon.addr, *BUILD, *STDOUT_TAR]
        words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *argv]
        done = subprocess.run(
            words, cwd=work, env=environment(), timeout=30, check=False, stderr=subprocess.PIPE, text=True
        )
    assert text in one_error(Result(done.returncode, b"", done.stderr))


class Everything(BigTar):
    """Sends a tar export and answers with something for the metadata file."""

    async def export(self, build: Build) -> Mapping[str, str]:
        await super().export(build)
        return {"image.name": "x"}


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
def test_umask_is_kept(tmp_path: Path, work: Path, umask: int) -> None:
    more = ["--metadata-file", "metadata", "--ref-file", "ref", "--trace", "trace"]
    with serve(Everything(1000), tmp_path) as daemon:
        argv = [*COMMAND, "--addr", daemon.addr, *BUILD, *TAR, *more]
        done = subprocess.run(argv, cwd=work, env=environment(), timeout=30, check=False, umask=umask)
    assert done.returncode == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in work.iterdir()}
    assert modes.pop("trace") == 0o600 & ~umask
    assert set(modes) == {"out.tar", "metadata", "ref"}
    for name, mode in modes.items():
        assert mode & umask == 0, (name, oct(mode))
    assert modes["out.tar"] == 0o666 & ~umask


class TreeUnderUmask(Script):
    """Sends a tree."""

    def __init__(self, source: Path) -> None:
        self.source = source

    async def export(self, build: Build) -> Mapping[str, str]:
        from pybuildkit.golang.context import background
        from pybuildkit.session.filesync import copy_to_caller

        await copy_to_caller(background(), fsutil.new_fs(str(self.source)), 0, await build.caller())
        return {}


def test_umask_and_a_local_export(tmp_path: Path, work: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/f").write_text("x")
    (tmp_path / "source/f").chmod(0o664)
    with serve(TreeUnderUmask(tmp_path / "source"), tmp_path) as daemon:
        argv = [*COMMAND, "--addr", daemon.addr, *BUILD, *LOCAL]
        done = subprocess.run(argv, cwd=work, env=environment(), timeout=30, check=False, umask=0o077)
    assert done.returncode == 0
    # What the image says of its own files counts; the folder that the command makes is the user's.
    assert stat.S_IMODE((work / "out/f").stat().st_mode) == 0o664
    assert stat.S_IMODE((work / "out").stat().st_mode) == 0o700


def test_stdin_that_cannot_be_read(tmp_path: Path, work: Path) -> None:
    argv = [*COMMAND, "--addr", f"unix://{tmp_path}/d.sock", "build"]
    with serve(Script(), tmp_path), (work / "d").open("wb") as write_only:
        done = subprocess.run(
            argv, cwd=work, env=environment(), timeout=30, check=False, stdin=write_only, capture_output=True
        )
    assert "bad file descriptor" in one_error(Result(done.returncode, b"", done.stderr.decode()))


class Failing(Script):
    """A build that fails."""

    async def frontend(self, build: Build) -> None:
        build.log("this is why")
        raise BuildkitError("the step failed")


def test_display_shows_what_came_before_the_failure(tmp_path: Path, work: Path) -> None:
    with serve(Failing(), tmp_path) as daemon:
        process = start(*BUILD, addr=daemon.addr, cwd=work)
        code, stderr, _ = finish(process, 20)
    assert "this is why" in stderr
    assert "the step failed" in one_error(Result(code, b"", stderr))
