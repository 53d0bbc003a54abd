"""The program as a process: version, streams, signals."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pybuildkit.cmd.buildctl import _version
from tests.cmd.buildctl.streams import ROOT, spawn


@pytest.mark.parametrize("flag", ["--version", "-version", "-v"])
def test_version(tmp_path: Path, flag: str) -> None:
    process = spawn([flag], cwd=tmp_path)
    assert process.communicate() == (_version.line().encode(), b"")
    assert process.returncode == 0


def test_version_is_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"v{project['version']}" == _version.VERSION


def test_version_loads_little() -> None:
    code = "import sys; sys.argv[1:] = ['--version']\nfrom pybuildkit.cmd.buildctl import main\n"
    code += "try: main()\nexcept SystemExit: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"argparse", "asyncio", "dataclasses", "enum", "json", "logging", "re", "ssl", "typing", "urllib"}
    loaded = set(eval(done.stdout.splitlines()[-1]))  # a list of names that this test has printed
    assert not loaded & heavy
    assert not any(name.startswith(("google", "pybuildkit.rpc", "pybuildkit.client")) for name in loaded)


def test_a_lost_reader_ends_by_sigpipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = spawn(["--version"], cwd=tmp_path, stdout=writer)
    os.close(writer)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (-13, b"")


def test_closed_standard_streams_are_dev_null(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m pybuildkit.cmd.buildctl help <&- >&- 2>&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_a_full_standard_error_loses_text_only(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn(["nosuch"], cwd=tmp_path, stderr=full.fileno())
        process.communicate()
    assert process.returncode == 3


def test_a_full_standard_output_is_an_error(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn(["help"], cwd=tmp_path, stdout=full.fileno())
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (1, b"error: write /dev/stdout: no space left on device\n")


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["build", "--bogus"], ["debug", "workers"], ["build"]])
def test_colors_are_warned_of_once_by_every_command(argv: list[str]) -> None:
    environ = {
        **os.environ,
        "BUILDKIT_COLORS": "foo=red:run=green:error=bogus",
        "BUILDKIT_HOST": "unix:///nonexistent/s",
    }
    environ.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "pybuildkit.cmd.buildctl", *argv]
    for quiet in ({}, {"NO_COLOR": "1"}):
        result = subprocess.run(command, env=environ | quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        warnings = [line for line in result.stderr.splitlines() if "BUILDKIT_COLORS" in line]
        assert len(warnings) == (0 if quiet else 2), result.stderr


def test_a_mistake_in_the_colours_is_a_log_line(tmp_path: Path) -> None:
    process = spawn(["--version"], cwd=tmp_path, env={"BUILDKIT_COLORS": "x"})
    stdout, stderr = process.communicate()
    assert (stdout, process.returncode) == (_version.line().encode(), 0)
    told = rb'msg="Could not parse BUILDKIT_COLORS component: x" error="valid entry must have exactly two fields"'
    assert re.fullmatch(rb'time="[^"]+" level=warning ' + told + rb"\n", stderr)
