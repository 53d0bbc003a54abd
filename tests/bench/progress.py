"""Benchmark of the progress display: a served trace of 10^6 statuses, and the cost of drawing on a terminal.

A server of its own process answers Control.Status with messages that were made and encoded beforehand; `debug logs`
of both programs shows them, in turns. Each status is a log line of 100 bytes of one of 1,000 steps, 100 of which run
at a time; 10 of them make a message, as a busy daemon sends them, or 1. The server's own CPU time is told: as long as
it is a small part of a client's, the server is not what is measured.

The other parts need no server: the way of a build's statuses with a trace beside the display, against the display
alone; and 100 running steps at 120x40, CPU time for each drawing.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from tests.bench.measure import BenchError, Row, Sample, alternate, measure, report

ROOT = Path(__file__).resolve().parents[2]
STEPS = 1000
RUNNING = 100
BATCH = 10
BATCHES = (10, 1)
SERVED = 1_000_000
BESIDE = 200_000
DRAWN = 100_000
START = 1_700_000_000 * 1_000_000_000
_RUN_TIME = 900_000_000
_LINE = b"x" * 99 + b"\n"


def digest(step: int) -> str:
    """The digest of a step."""
    return f"sha256:{step:064x}"


def statuses(count: int, batch: int = BATCH) -> Iterator[SolveStatus]:
    """A trace: windows of running steps that log in turns, `count` lines in all, `batch` of them a status."""
    windows = STEPS // RUNNING
    for window in range(windows):
        steps = range(window * RUNNING, (window + 1) * RUNNING)
        now = START + window * 1_000_000_000
        yield SolveStatus(
            [Vertex(digest(step), name=f"[{step}/{STEPS}] RUN step {step}", started=now) for step in steps]
        )
        lines = count // windows
        for first in range(0, lines, batch):
            yield SolveStatus(
                logs=[
                    VertexLog(digest(steps[number % RUNNING]), 1, _LINE, now + number * _RUN_TIME // lines)
                    for number in range(first, min(first + batch, lines))
                ]
            )
        done = now + _RUN_TIME
        yield SolveStatus(
            [Vertex(digest(s), name=f"[{s}/{STEPS}] RUN step {s}", started=now, completed=done) for s in steps]
        )


async def serve(path: str, count: int, batch: int) -> None:
    """Answer Control.Status at a socket until killed; says "ready" on standard output."""
    from pybuildkit.client._status import marshal
    from pybuildkit.golang import context
    from pybuildkit.rpc import Method, Server, ServerStream

    encoded = [message.SerializeToString() for status in statuses(count, batch) for message in marshal(status)]

    async def answer(stream: ServerStream[bytes, object]) -> None:
        await stream.recv()
        for first in range(0, len(encoded), 500):
            await stream.send_many(encoded[first : first + 500])

    server = Server()
    server.add_stream(Method.raw("/moby.buildkit.v1.Control/Status"), answer)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        await server.listen(listening, context.background())


def served(peer: str, count: int, batch: int, runs: int) -> list[Row]:
    """Rows of our program and, where one is given, of the peer, for plain and rawjson; and one of the server's CPU."""
    programs = {"pybuildctl": [sys.executable, "-m", "pybuildkit.cmd.buildctl"]}
    if peer:
        programs["peer"] = [peer]
    rows = []
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        path = os.path.join(work, "s")
        argv = [sys.executable, "-m", "tests.bench.progress", "serve", path, str(count), str(batch)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as server:
            try:
                assert server.stdout is not None
                if server.stdout.readline() != b"ready\n":
                    raise BenchError("the server did not start")
                before = _cpu_of(server.pid)
                for mode in ("plain", "rawjson"):
                    turns = {
                        name: _turn(
                            [*program, "--addr", f"unix://{path}", "debug", "logs", "--progress", mode, "r"], env
                        )
                        for name, program in programs.items()
                    }
                    rows += alternate(f"{mode} {count}, {batch} a message", turns, runs, warm_up=0)
                spent = (_cpu_of(server.pid) - before) / (2 * runs * len(programs))
                rows.append(Row(f"served {count}, {batch} a message", "server", spent, spent, 0))
            finally:
                server.kill()
    return rows


def _turn(argv: list[str], env: dict[str, str]) -> Callable[[int], Sample]:
    return lambda _: measure(argv, env=env)


def _cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def beside(count: int, *, has_trace: bool) -> float:
    """Seconds of CPU for the way of a build's statuses, times moved, into a rawjson display, and a trace with it."""
    from pybuildkit.client._received import ReceivedStatus
    from pybuildkit.client._status import marshal
    from pybuildkit.golang import context
    from pybuildkit.util.progress._sink import FdOutput
    from pybuildkit.util.progress.progresswriter import TraceWriter, new_printer, reset_time, tee

    encoded = [message.SerializeToString() for status in statuses(count) for message in marshal(status)]
    out = FdOutput(os.open(os.devnull, os.O_WRONLY))
    began = time.process_time()
    writer = printer = new_printer(context.background(), out, "rawjson")
    trace = TraceWriter(out)
    if has_trace:
        writer = tee(printer, trace.channel)
    writing = asyncio.ensure_future(trace.run())
    shown = reset_time(writer).status()
    for first in range(0, len(encoded), 500):
        await shown.send_many([ReceivedStatus.read(wire) for wire in encoded[first : first + 500]])
    shown.close()
    if not has_trace:
        trace.channel.close()
    await printer.wait()
    await writing
    os.close(out.fd)
    return time.process_time() - began


def drawn(count: int) -> dict[str, float]:
    """Milliseconds of CPU for a drawing of 100 running steps at 120x40, mean and worst, and statuses a second."""
    from pybuildkit.util.progress._sink import Sink
    from pybuildkit.util.progress.progressui._display import Display, console_view

    class Nowhere:
        def write(self, data: bytes, /) -> None:
            raise AssertionError("the bytes are taken from the sink")

    clock = [START]
    view = console_view(Sink(Nowhere()), lambda: clock[0], lambda: (120, 40))
    display = Display(view, lambda: clock[0])
    display.start()
    costs: list[float] = []
    began = time.process_time()
    for number, status in enumerate(statuses(count)):
        display.update(status)
        display.sink.take()
        if number % 100 == 50:
            clock[0] += 1_000_000
            before = time.process_time()
            display.tick()
            display.sink.take()
            costs.append((time.process_time() - before) * 1000)
    display.finish()
    spent = time.process_time() - began
    return {"mean_ms": sum(costs) / len(costs), "worst_ms": max(costs), "statuses_per_second": count / spent}


def main(peer: str = "", as_json: bool = False, count: int = SERVED, runs: int = 3) -> int:
    """Measure everything and print it.

    Args:
        peer: another buildctl-compatible program, or "".
        as_json: whether to print JSON.
        count: how many statuses are served.
        runs: turns of each program; medians are printed.
    """
    try:
        rows = [row for batch in BATCHES for row in served(peer, count, batch, runs)]
    except BenchError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    alone, both = (asyncio.run(beside(BESIDE, has_trace=has_trace)) for has_trace in (False, True))
    figures = drawn(DRAWN)
    if as_json:
        way = {"display": alone, "display and trace": both}
        print(json.dumps({"served": json.loads(report(rows, "peer", True)), "way": way, "tty": figures}, indent=2))
        return 0
    print(report(rows, "peer", False))
    for row in rows:
        if row.program != "server":
            print(f"{row.case:28} {row.program:12} {count / row.wall:12.0f} statuses/s")
    speeds = f"{BESIDE / alone:.0f} statuses a second of CPU; with a trace beside it {BESIDE / both:.0f}"
    print(f"rawjson, times moved         {speeds}")
    drawing = f"{figures['mean_ms']:.2f} ms a drawing, at worst {figures['worst_ms']:.2f}"
    print(f"tty 120x40, {DRAWN} statuses    {drawing}; {figures['statuses_per_second']:.0f} statuses/s")
    return 0


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
