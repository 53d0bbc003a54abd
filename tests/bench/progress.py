"""Benchmark of the progress display: a served trace of 10^6 statuses, and the cost of drawing on a terminal.

A server of its own process answers Control.Status with messages that were made and encoded beforehand; `debug logs`
of both programs shows them. Each status is a log line of 100 bytes of one of 1,000 steps, 100 of which run at a time;
`BATCH` of them make a message, as a busy daemon sends them.

The terminal's part needs no server: 100 running steps at 120x40, CPU time for each drawing.
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
from collections.abc import Iterator
from pathlib import Path

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from tests.bench.measure import BenchError, Row, Sample, measure, median, report

ROOT = Path(__file__).resolve().parents[2]
STEPS = 1000
RUNNING = 100
BATCH = 10
SERVED = 1_000_000
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


async def serve(path: str, count: int) -> None:
    """Answer Control.Status at a socket until killed; says "ready" on standard output."""
    from pybuildkit.client._status import marshal
    from pybuildkit.golang import context
    from pybuildkit.rpc import Method, Server, ServerStream

    encoded = [message.SerializeToString() for status in statuses(count) for message in marshal(status)]

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


def served(peer: str, count: int) -> list[Row]:
    """Rows of our program and, where one is given, of the peer, for plain and rawjson."""
    programs = {"pybuildctl": [sys.executable, "-m", "pybuildkit.cmd.buildctl"]}
    if peer:
        programs["peer"] = [peer]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        path = os.path.join(work, "s")
        argv = [sys.executable, "-m", "tests.bench.progress", "serve", path, str(count)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as server:
            try:
                assert server.stdout is not None
                if server.stdout.readline() != b"ready\n":
                    raise BenchError("the server did not start")
                for mode in ("plain", "rawjson"):
                    for name, program in programs.items():
                        logs = [*program, "--addr", f"unix://{path}", "debug", "logs", "--progress", mode, "ref"]
                        env = {**os.environ, "PYTHONPATH": str(ROOT)}
                        rows.append(median(f"{mode} {count}", name, [measure(logs, env=env)]))
            finally:
                server.kill()
    return rows


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


def main(peer: str = "", as_json: bool = False, count: int = SERVED) -> int:
    """Measure everything and print it.

    Args:
        peer: another buildctl-compatible program, or "".
        as_json: whether to print JSON.
        count: how many statuses are served.
    """
    try:
        rows = served(peer, count)
    except BenchError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    figures = drawn(DRAWN)
    if as_json:
        print(json.dumps({"served": json.loads(report(rows, "peer", True)), "tty": figures}, indent=2))
        return 0
    print(report(rows, "peer", False))
    for row in rows:
        print(f"{row.case:28} {row.program:12} {count / row.wall:12.0f} statuses/s")
    drawing = f"{figures['mean_ms']:.2f} ms a drawing, at worst {figures['worst_ms']:.2f}"
    print(f"tty 120x40, {DRAWN} statuses    {drawing}; {figures['statuses_per_second']:.0f} statuses/s")
    return 0


def sample(mode: str, count: int) -> Sample:
    """One run of the display alone, without a daemon, in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.progress", "show", mode, str(count)]
    return measure(argv, cwd=ROOT, env=os.environ)


async def show(mode: str, count: int) -> None:
    """Show the trace in this process, by way of the messages."""
    from pybuildkit.client._status import marshal, new_solve_status
    from pybuildkit.golang import context
    from pybuildkit.util.progress._sink import FdOutput
    from pybuildkit.util.progress.progresswriter import new_printer, reset_time

    printer = new_printer(context.background(), FdOutput(1), mode)
    writer = reset_time(printer)
    for status in statuses(count):
        for message in marshal(status):
            await writer.status().send(new_solve_status(message))
    writer.status().close()
    await printer.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(show(sys.argv[2], int(sys.argv[3])))
