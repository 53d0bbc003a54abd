"""Vectors `cli`: whole runs of the command: exit code, both streams, files.

Cases with `"daemon": "any"` need a live daemon: the socket that PYBUILDKIT_VECTORS_DAEMON names (`unix:///…`), else
the embedded daemon, listening at a socket of its own while the cases run.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.daemons import COMMAND
from tests.golden.areas import _workdir

_ROOT = Path(__file__).resolve().parents[3]
_DAEMON_VARIABLE = "PYBUILDKIT_VECTORS_DAEMON"
_TIMEOUT_SECONDS = 60
_RANDOM_REF = "<25 chars of 0-9a-z, different every run>"


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Run each case in a process of its own."""
    runner = _Runner(work)
    with contextlib.ExitStack() as stack:
        if any(case.get("daemon") == "any" for case in cases):
            stack.enter_context(_daemon(work))
        for case in cases:
            yield case["name"], runner.run(_workdir.rewrite(case, work))


class _Runner:
    def __init__(self, work: Path) -> None:
        self._work = work
        self._help: dict[str, str] = {}

    def run(self, case: dict[str, Any]) -> str | None:
        if case["group"] == "help-shape":
            return _compare_shape(case["sections"], self._help_of(case["name"].removeprefix("help-shape ")))
        folder = self._work / "cli"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _workdir.make_files(folder, case.get("files", []))
        code, stdout, stderr = self._execute(case["argv"], folder, case)
        problems = []
        if code != case["exit_code"]:
            problems.append(f"exit code: want {case['exit_code']}, got {code}")
        for name, got in (("stdout", stdout), ("stderr", stderr)):
            want = case[name]
            if "<HELP>" in want:
                want = want.replace("<HELP>", self._help_of(case["help_of"]))
            problem = _compare_text(_mask(want), _mask(got))
            if problem:
                problems.append(f"{name}: {problem}")
        problems += _compare_files(case, folder)
        return "; ".join(problems) or None

    def _help_of(self, command: str) -> str:
        if command not in self._help:
            folder = self._work / "help"
            folder.mkdir(parents=True, exist_ok=True)
            code, stdout, stderr = self._execute([*command.split()[1:], "--help"], folder, {})
            assert (code, stderr) == (0, ""), (command, code, stderr)
            self._help[command] = stdout
        return self._help[command]

    def _execute(self, argv: list[str], folder: Path, case: dict[str, Any]) -> tuple[int, str, str]:
        home = self._work / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TZ": "UTC", "LANG": "C.UTF-8"}
        env |= {"PYTHONPATH": str(_ROOT)} | case.get("env", {})
        command = [*COMMAND, *argv]
        data = None
        with contextlib.ExitStack() as stack:
            match case.get("stdin_kind", "devnull"):
                case "bytes":
                    stdin: int = subprocess.PIPE
                    data = base64.b64decode(case["stdin_base64"])
                case "tty":
                    main, stdin = os.openpty()
                    stack.callback(os.close, main)
                    stack.callback(os.close, stdin)
                case "closed":
                    stdin = subprocess.DEVNULL
                    command = ["/bin/sh", "-c", f"exec {shlex.join(command)} <&-"]
                case _:
                    stdin = subprocess.DEVNULL
            process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                stdout, stderr = process.communicate(data, timeout=_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                stdout, stderr = process.communicate()
                stderr += b"<timed out>"
        return process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")


def _mask(text: str) -> str:
    text = text.replace("pybuildctl", "buildctl")
    text = re.sub(r"\bv0\.\d+\.\d+(\+unknown|-\w+)?(?=[\s]|$)", "<VERSION>", text)
    text = re.sub(r"\bDockerfile: \d+\.\d+\.\d+\S*", "Dockerfile: <VERSION>", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", "<TIME>", text)


def _compare_text(want: str, got: str) -> str | None:
    if want.endswith("<STACK>"):
        want = want.removesuffix("<STACK>")
        if got.startswith(want) and re.search(r"\n\S+\n\t\S+:\d+\n", got.removeprefix(want)):
            return None
    return None if want == got else f"want {want!r}, got {got!r}"


def _compare_files(case: dict[str, Any], folder: Path) -> list[str]:
    problems = []
    for name, want in case.get("file_contents_after", {}).items():
        path = folder / name
        got = path.read_text() if path.exists() else None
        if want == _RANDOM_REF:
            if got is None or not re.fullmatch(r"[0-9a-z]{25}", got):
                problems.append(f"{name}: want a reference, got {got!r}")
        elif want is not None and want != got:
            problems.append(f"{name}: want {want!r}, got {got!r}")
    return problems


def _compare_shape(sections: list[dict[str, Any]], text: str) -> str | None:
    """Whether the help has the sections in order, and each the items in order, among others."""
    got = _sections(_mask(text))
    if [title for title, _ in got] != [section["title"] for section in sections]:
        return f"sections: {[title for title, _ in got]}"
    for section, (title, lines) in zip(sections, got, strict=True):
        rest = iter(lines)
        for item in section["items"]:
            if not any(_is_item(item, line) for line in rest):
                return f"{title}: no {item} in its place among {lines}"
    return None


def _sections(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            found.append((line.removesuffix(":"), []))
        elif line.strip():
            found[-1][1].append(line.strip())
    return found


def _is_item(item: str | dict[str, str], line: str) -> bool:
    if isinstance(item, str):
        return line == _mask(item)
    left, _, right = line.partition("  ")
    default = re.search(r"\((default: .*)\)$", right)
    return left == item["left"] and (default.group(1) if default else None) == item.get("default")


@contextlib.contextmanager
def _daemon(work: Path) -> Iterator[None]:
    """Have a daemon listen at `bk.sock` in the folder."""
    address = os.environ.get(_DAEMON_VARIABLE, "")
    socket_path = work / "bk.sock"
    work.mkdir(parents=True, exist_ok=True)
    if address:
        socket_path.symlink_to(address.removeprefix("unix://"))
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "fake_buildkitd", "--addr", f"unix://{socket_path}", "--root", str(work / "state")],
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not socket_path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
