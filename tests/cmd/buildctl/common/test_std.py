"""Standard streams and log lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pybuildkit.cmd.buildctl.common import Std, StdClosedError, _log, _std
from pybuildkit.util import bklog
from tests.cmd.buildctl.streams import ROOT, Recorder


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setattr(_std, "_broken", set())
    monkeypatch.setattr(_std, "_listeners", [])
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_write(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    Std(writer).write("text é ")
    Std(writer).write(b"bytes")
    assert os.read(reader, 100) == "text é bytes".encode()


def test_write_waits_where_the_descriptor_does_not_block(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    code = f"import os, time\nwhile os.read({reader}, 65536): pass"
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[reader])
    Std(writer).write(b"x" * 500_000)
    os.close(writer)
    assert child.wait() == 0


def test_a_lost_reader_is_told_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    told: list[str] = []
    _std.on_broken(lambda: told.append("kept"))
    _std.on_broken(lambda: told.append("taken back"))()
    for _ in range(2):
        with pytest.raises(StdClosedError):
            Std(writer).write("x")
    assert (told, _std.is_broken()) == (["kept"], True)


def test_a_full_stream(pipe: tuple[int, int]) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    Std(fd, lossy=True).write("dropped")
    with pytest.raises(OSError, match="No space left"):
        Std(fd).write("x")
    os.close(fd)


def test_closed_descriptors_become_dev_null() -> None:
    code = (
        "import os, sys\nos.close(0); os.close(1)\n"
        "from pybuildkit.cmd.buildctl.common import _std\n_std.open_closed_descriptors()\n"
        "names = [os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1)]\n"
        "os.write(2, repr((names, [_std.was_closed(fd) for fd in (0, 1, 2)])).encode())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "(['/dev/null', '/dev/null'], [True, True, False])"


@pytest.mark.parametrize(
    ("zone", "pattern"),
    [("UTC", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), ("Asia/Kolkata", r".*T.*\+05:30"), ("Etc/GMT+3", r".*T.*-03:00")],
)
def test_log_times(monkeypatch: pytest.MonkeyPatch, zone: str, pattern: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    now = _log.now()
    monkeypatch.undo()
    time.tzset()
    assert re.fullmatch(pattern, now)


@pytest.mark.parametrize(
    ("message", "fields", "line"),
    [
        ("plain", {}, "time=T level=warning msg=plain\n"),
        ('a "b" <c>\n', {}, 'time=T level=warning msg="a \\"b\\" <c>\\n"\n'),
        ("", {"z": 1, "a": "x y"}, 'time=T level=warning a="x y" z=1\n'),
    ],
)
def test_text_lines(message: str, fields: dict[str, object], line: str) -> None:
    assert _log.format_text(bklog.WARNING, message, fields, "T") == line


def test_coloured_lines() -> None:
    line = _log.format_coloured(bklog.WARNING, "m\n", {"k": "v w"}, "T")
    assert line == f'\x1b[33mWARN\x1b[0m[T] {"m":<44}  \x1b[33mk\x1b[0m="v w"\n'
    assert _log.format_coloured(bklog.ERROR, "m", {}, "T").startswith("\x1b[31mERRO\x1b[0m[T]")
    steering = _log.format_coloured(bklog.INFO, "a\x1b]0;title\x07b\x1b[2J", {"k": "\x1b[2J"}, "T")
    assert steering == f'\x1b[36mINFO\x1b[0m[T] {"ab":<44}  \x1b[36mk\x1b[0m="\\x1b[2J"\n'


def test_json_lines() -> None:
    line = _log.format_json(bklog.INFO, "<é\u2028>", {"a": 1}, "T")
    assert line == '{"a":"1","level":"info","msg":"\\u003cé\\u2028\\u003e","time":"T"}\n'


def test_a_sink_for_terminals_is_coloured() -> None:
    plain, colour = Recorder(), Recorder(tty=True)
    _log.text_sink(plain)(bklog.INFO, "x", {})
    _log.text_sink(colour)(bklog.INFO, "x", {})
    assert str(plain).startswith("time=")
    assert str(colour).startswith("\x1b[36mINFO")
