"""The short commands beyond the vectors `outputs`: content, logs, monitoring, joined streams, what they import."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.cmd.buildctl._run import run_main
from pybuildkit.golang.context import Context
from pybuildkit.rpc import Code, RpcError, Server, ServerStream
from pybuildkit.third_party.containerd.content import _methods as content
from pybuildkit.third_party.containerd.content import content_pb2
from tests.cmd.buildctl.streams import ROOT, Recorder
from tests.golden.areas.outputs import serving

BLOB = os.urandom(300_000)
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
SHORT = "sha256:" + "5" * 64
TRACED, UNTRACED, UNKNOWN, SILENT = "traced", "untraced", "unknown", "silent"


class Daemon:
    """A daemon with one blob, one build's log and a history."""

    def server(self) -> Server:
        server = Server()
        server.add_unary(control.LIST_WORKERS, self._workers)
        server.add_unary(control.DISK_USAGE, self._disk_usage)
        server.add_unary(control.INFO, self._info)
        server.add_stream(control.PRUNE, self._prune)
        server.add_unary(control.UPDATE_BUILD_HISTORY, self._update)
        server.add_stream(control.LISTEN_BUILD_HISTORY, self._history)
        server.add_stream(control.STATUS, self._status)
        server.add_unary(content.INFO, self._content_info)
        server.add_stream(content.READ, self._content_read)
        return server

    async def _workers(self, ctx: Context, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse()

    async def _disk_usage(self, ctx: Context, request: pb.DiskUsageRequest) -> pb.DiskUsageResponse:
        return pb.DiskUsageResponse()

    async def _info(self, ctx: Context, request: pb.InfoRequest) -> pb.InfoResponse:
        return pb.InfoResponse()

    async def _update(self, ctx: Context, request: pb.UpdateBuildHistoryRequest) -> pb.UpdateBuildHistoryResponse:
        if request.Ref == SILENT:
            raise RpcError(Code.UNKNOWN, "")
        return pb.UpdateBuildHistoryResponse()

    async def _prune(self, stream: ServerStream[pb.PruneRequest, pb.UsageRecord]) -> None:
        request = await stream.recv()
        assert request is not None
        if request.filter == [SILENT]:
            await stream.send(pb.UsageRecord(ID="one"))

    async def _history(self, stream: ServerStream[pb.BuildHistoryRequest, pb.BuildHistoryEvent]) -> None:
        request = await stream.recv()
        assert request is not None
        event = pb.BuildHistoryEvent(type=pb.BuildHistoryEventType.COMPLETE)
        if request.Ref == UNKNOWN:
            return
        if request.Ref == "bare":
            await stream.send(event)
            return
        record = event.record
        record.Ref = request.Ref
        if request.Ref == TRACED:
            record.trace.media_type, record.trace.digest, record.trace.size = "t", DIGEST, len(BLOB)
        record.numTotalSteps, record.numCachedSteps, record.numWarnings = 3, 1, 2
        record.Result.Results[0].digest = "d0"
        record.Results["linux/arm64"].Attestations.add(media_type="a", annotations={"k": 'v"'})
        await stream.send(event)

    async def _status(self, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        request = await stream.recv()
        assert request is not None
        if request.Ref == UNKNOWN:
            raise RpcError(Code.NOT_FOUND, "no such job unknown")
        response = pb.StatusResponse()
        vertex = response.vertexes.add(digest="sha256:a", name="one")
        vertex.started.seconds, vertex.completed.seconds = 100, 101
        await stream.send(response)

    async def _content_info(self, ctx: Context, request: content_pb2.InfoRequest) -> content_pb2.InfoResponse:
        sizes = {DIGEST: len(BLOB), SHORT: len(BLOB) + 1}
        if request.digest not in sizes:
            raise RpcError(Code.NOT_FOUND, f"content digest {request.digest}: not found")
        return content_pb2.InfoResponse(info=content_pb2.Info(digest=request.digest, size=sizes[request.digest]))

    async def _content_read(self, stream: ServerStream[Any, Any]) -> None:
        await stream.recv()
        for start in range(0, len(BLOB), 100_000):
            await stream.send(content_pb2.ReadContentResponse(offset=start, data=BLOB[start : start + 100_000]))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("daemon") / "s.sock"
    with serving(Daemon().server(), path):
        yield f"unix://{path}"


def run_command(*argv: str) -> tuple[int, bytes, str]:
    stdout, stderr = Recorder(1), Recorder(2)
    code = run_main(argv, stdout=stdout, stderr=stderr)
    return code, stdout.data, str(stderr)


def test_an_error_without_a_text(address: str) -> None:
    assert run_command("--addr", address, "debug", "ctl", "--pin", SILENT) == (1, b"", "error: \n")


def test_prune_with_a_template_that_fails(address: str) -> None:
    argv = ("--addr", address, "prune", "--filter", SILENT, "--format", "{{.ID}} {{.ID.Size}}")
    failure = 'template: :1:13: executing "" at <.ID.Size>: can\'t evaluate field Size in type string'
    assert run_command(*argv) == (1, b"one ", f"error: {failure}\n")


def test_get_copies_a_blob(address: str) -> None:
    assert run_command("--addr", address, "debug", "get", DIGEST) == (0, BLOB, "")


def test_get_of_a_blob_that_comes_short(address: str) -> None:
    code, data, error = run_command("--addr", address, "debug", "get", SHORT)
    assert (code, data) == (1, BLOB)
    assert error == f"error: {SHORT}: got 300000 of 300001 bytes: unexpected EOF\n"


def test_get_of_no_blob(address: str) -> None:
    missing = "sha256:" + "0" * 64
    assert run_command("--addr", address, "debug", "get", missing) == (
        1,
        b"",
        f"error: NotFound: content digest {missing}: not found\n",
    )
    assert run_command("--addr", address, "debug", "get")[2] == "error: blob digest must be specified\n"


def test_logs(address: str) -> None:
    code, data, error = run_command("--addr", address, "debug", "logs", "--progress", "plain", "ref")
    assert (code, data.decode(), error) == (0, "#1 one\n#1 DONE 1.0s\n", "")


def test_logs_of_an_unknown_build(address: str) -> None:
    expected = "error: rpc error: code = NotFound desc = no such job unknown\n"
    assert run_command("--addr", address, "debug", "logs", UNKNOWN) == (1, b"", expected)


def test_logs_trace(address: str) -> None:
    assert run_command("--addr", address, "debug", "logs", "--trace", TRACED) == (0, BLOB, "")
    for ref, error in ((UNTRACED, "ref untraced does not have trace"), (UNKNOWN, "ref unknown not found")):
        assert run_command("--addr", address, "debug", "logs", "--trace", ref) == (1, b"", f"error: {error}\n")


def test_monitor_shows_what_a_record_holds(address: str) -> None:
    code, data, error = run_command("--addr", address, "debug", "monitor", "--ref", TRACED)
    assert data.decode().splitlines() == [
        f"event: COMPLETE ref:{TRACED}",
        "  cache: 1/3",
        "  warnings: 2",
        f'  trace: media_type:"t" digest:"{DIGEST}" size:300000',
        '  descriptor: digest:"d0"',
        '  [linux/arm64] attestation: media_type:"a" annotations:{key:"k" value:"v\\""}',
    ]
    assert (code, error) == (1, "error: EOF\n")


def test_what_a_daemon_says_cannot_steer_a_terminal(address: str) -> None:
    hostile = "r\x1b]0;title\x07\x1b[2Jef\t\x9b2J"
    for tty, shown in ((True, "ref:ref\t\n"), (False, f"ref:{hostile}\n")):
        stdout = Recorder(1, tty=tty)
        argv = ["--addr", address, "debug", "monitor", "--completed", "--ref", hostile]
        assert run_main(argv, stdout=stdout, stderr=Recorder(2)) == 1
        assert str(stdout).startswith("event: COMPLETE " + shown)
        assert str(stdout).count("\n") == 5


def test_monitor_of_an_event_without_a_record(address: str) -> None:
    assert run_command("--addr", address, "debug", "monitor", "--ref", "bare")[1] == b"event: COMPLETE ref:\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["du"],
        ["prune"],
        ["prune-histories"],
        ["debug", "workers"],
        ["debug", "workers", "--format", "json"],
        ["debug", "info"],
        ["debug", "histories"],
        ["debug", "get", DIGEST],
    ],
    ids=" ".join,
)
def test_short_commands_need_no_event_loop(address: str, argv: list[str]) -> None:
    script = (
        "import sys; from pybuildkit.cmd.buildctl._run import run_main; run_main(sys.argv[1:]); "
        "sys.stderr.write(' '.join(m for m in ('asyncio', 'urllib.request') if m in sys.modules))"
    )
    command = [sys.executable, "-c", script, "--addr", address, *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert done.stderr.decode() == ""


class TestDialStdio:
    """Standard input and output joined to a socket."""

    @pytest.fixture
    def listener(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(tmp_path / "s.sock"))
            listener.listen()
            yield listener

    def _start(self, tmp_path: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pybuildkit.cmd.buildctl", "--addr", f"unix://{tmp_path}/s.sock", "dial-stdio"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)

    def test_both_ways_at_once(self, listener: socket.socket, tmp_path: Path) -> None:
        """More than pipes and sockets hold goes both ways before either side reads."""
        data = os.urandom(3_000_000)
        process = self._start(tmp_path)
        connection, _ = listener.accept()
        with connection:
            received = bytearray()

            def serve() -> None:
                while chunk := connection.recv(65536):
                    received.extend(chunk)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_RDWR)

            thread = threading.Thread(target=serve)
            thread.start()
            stdout, stderr = process.communicate(data, timeout=60)
            thread.join()
        assert (bytes(received) == data, stdout == data, stderr, process.returncode) == (True, True, b"", 0)

    @pytest.mark.parametrize("seconds", ["-1", "9223372036854775807"])
    def test_a_time_that_is_over(self, listener: socket.socket, tmp_path: Path, seconds: str) -> None:
        path = f"{tmp_path}/s.sock"
        result = run_command("--addr", f"unix://{path}", "--timeout", seconds, "dial-stdio")
        assert result == (1, b"", f"error: dial unix {path}: i/o timeout\n")

    def test_the_end_of_the_connection_ends_it_while_stdin_is_open(
        self, listener: socket.socket, tmp_path: Path
    ) -> None:
        process = self._start(tmp_path)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"bye")
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read() == b"bye"
        assert process.wait(timeout=60) == 0
        process.stdin.close()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()


def test_dump_metadata_of_several_workers(tmp_path: Path) -> None:
    import gzip

    data = gzip.decompress((ROOT / "tests" / "third_party" / "testdata" / "bolt.db.gz").read_bytes())
    for name in ("a", "b", "no-db"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "metadata_v2.db").write_bytes(data)
    (tmp_path / "file").write_text("")
    code, out, error = run_command("debug", "dump-metadata", "--root", str(tmp_path))
    assert (code, error) == (0, "")
    lines = out.decode().splitlines()
    heads = [line for line in lines if line.startswith("=====")]
    assert heads == [f"===== {tmp_path}/{name}/metadata_v2.db =====" for name in ("a", "b")]
    middle = ['bucket "meta":', '  "a": 1', '  "b\\"x": {"v":2}', '  bucket "inner":', '    "k": v']
    assert lines[-5:] == middle


def test_dump_metadata_of_a_broken_database(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "metadata_v2.db").write_text("garbage")
    code, _, error = run_command("debug", "dump-metadata", "--root", str(tmp_path))
    assert (code, error) == (1, "error: invalid database\n")
