"""File outputs: nothing at the final name before the export is whole, and nothing left when it fails."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuildkit.cmd.buildctl.build._output import parse_output
from pybuildkit.cmd.buildctl.build._outputfile import FileOutput, StdoutOutput, check_creatable
from pybuildkit.cmd.buildctl.common import StdClosedError, _std
from pybuildkit.golang.errors import BuildkitError, error_text
from tests.cmd.buildctl.streams import ROOT


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "o.tar"
    writer = FileOutput(str(path))({})
    writer.write_all(b"one")
    writer.write_all(memoryview(b" two"))
    assert not path.exists()
    assert len(os.listdir(tmp_path)) == 1
    writer.close()
    assert path.read_bytes() == b"one two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    writer.close()
    writer.abort()
    assert os.listdir(tmp_path) == ["o.tar"]


def test_abort_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "o.tar"
    path.write_text("before")
    output = FileOutput(str(path))
    output({}).write_all(b"partial")
    second = output({})
    second.write_all(b"partial")
    output.abort()
    assert os.listdir(tmp_path) == ["o.tar"]
    assert path.read_text() == "before"
    with pytest.raises(OSError, match="already closed"):
        second.write_all(b"more")


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "o.tar"
    path.write_text("before")
    path.chmod(0o640)
    writer = FileOutput(str(path))({})
    writer.write_all(b"after")
    writer.close()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("after", 0o640)


@pytest.mark.parametrize("target_exists", [True, False])
def test_a_link_is_followed(tmp_path: Path, target_exists: bool) -> None:
    (tmp_path / "d").mkdir()
    target = tmp_path / "d" / "real"
    if target_exists:
        target.write_text("before")
    (tmp_path / "link").symlink_to(target)
    check_creatable(str(tmp_path / "link"))
    writer = FileOutput(str(tmp_path / "link"))({})
    writer.write_all(b"after")
    writer.close()
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "after"
    assert os.listdir(tmp_path / "d") == ["real"]


def test_a_fifo_is_written_directly(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    check_creatable(str(path))
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    writer = FileOutput(str(path))({})
    writer.write_all(b"data")
    writer.close()
    reader.join()
    assert received == [b"data"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_is_written_directly() -> None:
    check_creatable("/dev/null")
    writer = FileOutput("/dev/null")({})
    writer.write_all(b"data")
    writer.close()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize(
    ("dest", "text"),
    [
        ("d", "destination file is a directory"),
        ("d/", "destination file is a directory"),
        ("no/f", "open no/f: no such file or directory"),
        ("new/", "open new/: is a directory"),
        ("f/x", "invalid destination file: f/x: stat f/x: not a directory"),
        ("n" * 300, f"invalid destination file: {'n' * 300}: stat {'n' * 300}: file name too long"),
    ],
)
def test_what_cannot_be_created_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("")
    with pytest.raises((BuildkitError, OSError)) as caught:
        check_creatable(dest)
    assert error_text(caught.value) == text
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]


def test_without_nameless_files_a_probe_is_made_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def no_tmpfile(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", no_tmpfile)
    check_creatable(str(tmp_path / "o"))
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError) as caught:
        check_creatable(str(tmp_path / "no" / "o"))
    assert error_text(caught.value) == f"open {tmp_path}/no/o: no such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's rights")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "outcome"),
    [
        (0o555, 0o666, "after"),
        (0o555, 0o444, "open f: permission denied"),
        (0o777, 0o444, "open f: permission denied"),
        (0o555, None, "open f: permission denied"),
    ],
)
def test_permissions(tmp_path: Path, folder_mode: int, file_mode: int | None, outcome: str) -> None:
    """As an unprivileged user; a file that may be written in a folder that may not is written in place."""
    folder = tmp_path / "d"
    folder.mkdir()
    if file_mode is not None:
        (folder / "f").write_text("before, and longer")
        (folder / "f").chmod(file_mode)
    folder.chmod(folder_mode)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    code = (
        "import os, sys\nfrom pybuildkit.cmd.buildctl.build._outputfile import FileOutput, check_creatable\n"
        "from pybuildkit.golang.errors import error_text\nos.setuid(65534)\n"
        "try:\n check_creatable('f')\n w = FileOutput('f')({})\n w.write_all(b'after')\n w.close()\n"
        " print(open('f').read())\n"
        "except OSError as err: print(error_text(err))"
    )
    env = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (outcome, "")
    assert sorted(os.listdir(folder)) == (["f"] if file_mode is not None else [])


def _fails(call: Callable[..., object], code: int, after: int = 0) -> Callable[..., object]:
    """The function, failing from its call number `after` on."""
    count = 0

    def wrapper(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(code, os.strerror(code))
        return call(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("name", "code"), [("write", errno.ENOSPC), ("rename", errno.EXDEV), ("close", errno.EDQUOT), ("write", errno.EIO)]
)
def test_each_call_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    path = tmp_path / "o.tar"
    before = len(os.listdir("/proc/self/fd"))
    writer = FileOutput(str(path))({})
    monkeypatch.setattr(os, name, _fails(getattr(os, name), code))
    with pytest.raises(OSError) as caught:  # noqa: PT011, PT012  # the number is checked; either call may fail
        writer.write_all(b"data")
        writer.close()
    monkeypatch.undo()
    assert caught.value.errno == code
    assert os.listdir(tmp_path) == []
    writer.abort()
    assert len(os.listdir("/proc/self/fd")) == before + (name == "close")


def test_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, fd = os.pipe()
    output = StdoutOutput(fd)
    assert not output.isatty()
    writer = output({})
    writer.write_all(b"data")
    writer.close()
    writer.abort()
    assert os.read(reader, 10) == b"data"
    os.close(reader)
    with pytest.raises(StdClosedError):
        writer.write_all(b"more")
    assert _std.is_broken()
    monkeypatch.setattr(_std, "_broken", set())
    os.close(fd)


def test_stdout_takes_one_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two outputs without a file, in one command, the second one ends the build."""
    monkeypatch.setattr(StdoutOutput, "isatty", lambda self: False)
    first, second = (entry.output for entry in parse_output(["type=tar,dest=-", "type=oci"]))
    assert first is not None
    assert second is not None
    first({})
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the text is checked
        second({})
    assert error_text(caught.value) == "write /dev/stdout: file already closed"


def test_stdout_that_was_closed_from_the_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_std, "_closed", {1})
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the text is checked
        StdoutOutput()({})
    assert error_text(caught.value) == "write /dev/stdout: bad file descriptor"
