"""Running commands alternately and measuring them: wall time, client CPU, peak memory, and the daemon's CPU.

The machines are noisy, so what counts is the ratio between two programs that took turns in one run; every figure is
the median of the turns.
"""

from __future__ import annotations

import ast
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One run: wall and CPU in seconds, peak memory in KiB, CPU seconds of the daemon meanwhile (0: not known)."""

    wall: float
    cpu: float
    memory: int
    daemon: float = 0.0


class BenchError(Exception):
    """A measured command failed; the text has its output."""


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has taken, with those of its children that have ended.

    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def daemon_pid(addr: str) -> int:
    """The process that listens on an address's Unix socket; 0 where there is none to ask."""
    scheme, _, path = addr.partition("://")
    if scheme not in ("unix", "docker") or not path:
        return 0
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as err:
            raise BenchError(f"{addr}: {err}") from err
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


_LAUNCHER = """
import os, sys, time
report = int(sys.argv[1])
os.set_inheritable(report, False)
started = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.monotonic() - started
figures = (os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
os.write(report, repr(figures).encode())
"""
"""Starts a command and measures it. A process's peak memory begins with that of the process that has started it, so
this one is small."""


def launch(
    argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str], daemon: int = 0
) -> tuple[int, Sample, str]:
    """Run a command once: its exit code, what it took, and the end of its output.

    Args:
        daemon: the process whose CPU is measured meanwhile; 0 for none.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output, open(reading, "rb") as report:
        source.write(stdin)
        source.seek(0)
        before = cpu_of(daemon) if daemon else 0.0
        words = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), *argv]
        process = subprocess.Popen(
            words, stdin=source, stdout=output, stderr=output, cwd=cwd, env=dict(env), pass_fds=(writing,)
        )
        os.close(writing)
        figures = report.read()
        process.wait()
        spent = cpu_of(daemon) - before if daemon else 0.0
        output.seek(0)
        text = output.read()[-2000:].decode("utf-8", "replace")
    if not figures:
        raise BenchError(f"{' '.join(argv)} cannot be run:\n{text}")
    code, wall, cpu, memory = ast.literal_eval(figures.decode())
    return code, Sample(wall, cpu, memory, spent), text


def measure(
    argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str], daemon: int = 0
) -> Sample:
    """Run a command once, its output thrown away; see `launch`.

    Raises:
        BenchError: when it does not exit with 0.
    """
    code, sample, text = launch(argv, stdin=stdin, cwd=cwd, env=env, daemon=daemon)
    if code != 0:
        raise BenchError(f"{' '.join(argv)} exited with {code}:\n{text}")
    return sample


@dataclass(frozen=True)
class Row:
    """The medians of one program in one case."""

    case: str
    program: str
    wall: float
    cpu: float
    memory: int
    daemon: float = 0.0


def median(case: str, program: str, samples: Sequence[Sample]) -> Row:
    """The medians of several runs."""
    return Row(
        case,
        program,
        statistics.median(s.wall for s in samples),
        statistics.median(s.cpu for s in samples),
        int(statistics.median(s.memory for s in samples)),
        statistics.median(s.daemon for s in samples),
    )


def alternate(case: str, programs: Mapping[str, Callable[[int], Sample]], runs: int, warm_up: int = 1) -> list[Row]:
    """Let programs take turns, each `runs` times after `warm_up` turns that do not count."""
    samples: dict[str, list[Sample]] = {name: [] for name in programs}
    for turn in range(warm_up + runs):
        for name, once in programs.items():
            sample = once(turn)
            if turn >= warm_up:
                samples[name].append(sample)
    return [median(case, name, taken) for name, taken in samples.items()]


def report(rows: Sequence[Row], base: str, as_json: bool) -> str:
    """A table of the rows with ratios to the program `base`; or JSON."""
    bases = {row.case: row for row in rows if row.program == base}
    out = []
    for row in rows:
        peer = bases.get(row.case)
        ratios: dict[str, float] = {}
        if peer is not None and peer is not row:
            ratios = {
                "speed": peer.wall / row.wall,
                "cpu": row.cpu / peer.cpu if peer.cpu else 0.0,
                "memory": row.memory / peer.memory,
            }
        out.append({**row.__dict__, "daemon_share": row.daemon / row.wall if row.wall else 0.0, "ratios": ratios})
    if as_json:
        return json.dumps(out, indent=2)
    heading = f"{'case':28} {'program':12} {'wall s':>9} {'cpu s':>9} {'MiB':>7} {'daemon s':>9}"
    lines = [f"{heading}   relative to {base}; the daemon's CPU to the wall time"]
    for item in out:
        ratios = item["ratios"]
        assert isinstance(ratios, dict)
        shown = (
            f"{ratios['speed']:.2f}x as fast, cpu {ratios['cpu']:.2f}, memory {ratios['memory']:.2f}" if ratios else ""
        )
        if item["daemon"]:
            shown += f"{'; ' if shown else ''}daemon {item['daemon_share']:.0%}"
        lines.append(
            f"{item['case']:28} {item['program']:12} {item['wall']:9.3f} {item['cpu']:9.3f} "
            f"{item['memory'] / 1024:7.1f} {item['daemon']:9.2f}   {shown}"
        )
    return "\n".join(lines)
