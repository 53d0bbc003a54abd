"""The vectors `outputs`: short commands against a control service with fixed replies.

The service runs on our own rpc server in a thread; the commands run in this process, with standard streams, time
zone and environment of their own. Another client (`PYBUILDKIT_TEST_CLIENT`) runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from pybuildkit.api.services.control import _methods
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.cmd.buildctl._run import run_main
from pybuildkit.cmd.buildctl.common import Std
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.rpc import Code, Method, RpcError, Server, ServerStream
from tests.daemons import OTHER_CLIENT

Case = dict[str, Any]

_METHODS: tuple[tuple[Method[Any, Any], type[Message], type[Message]], ...] = (
    (_methods.DISK_USAGE, pb.DiskUsageRequest, pb.DiskUsageResponse),
    (_methods.PRUNE, pb.PruneRequest, pb.UsageRecord),
    (_methods.LIST_WORKERS, pb.ListWorkersRequest, pb.ListWorkersResponse),
    (_methods.INFO, pb.InfoRequest, pb.InfoResponse),
    (_methods.LISTEN_BUILD_HISTORY, pb.BuildHistoryRequest, pb.BuildHistoryEvent),
    (_methods.UPDATE_BUILD_HISTORY, pb.UpdateBuildHistoryRequest, pb.UpdateBuildHistoryResponse),
)
_POINTER = re.compile(r"0x[0-9a-f]{9,}")


def _name(method: Method[Any, Any]) -> str:
    return method.path.rpartition("/")[2]


class _Stub:
    """A control service that answers as the case says and notes what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, Case] = {}
        self.requests: list[tuple[str, Message]] = []

    def server(self) -> Server:
        server = Server()
        for method, _, response in _METHODS:
            self._add(server, method, response, _name(method))
        return server

    def _add(self, server: Server, method: Method[Any, Any], response: type[Message], name: str) -> None:

        def messages() -> list[Message]:
            return [ParseDict(m, response()) for m in self.replies.get(name, {}).get("messages", [])]

        def fail() -> None:
            reply = self.replies.get(name, {})
            if reply.get("error_code"):
                raise RpcError(Code(reply["error_code"]), reply.get("error_message", ""))

        async def answer(ctx: Context, request: Message) -> Message:
            self.requests.append((name, request))
            fail()
            return next(iter(messages()), response())

        async def stream(stream: ServerStream[Any, Any]) -> None:
            request = await stream.recv()
            assert request is not None
            self.requests.append((name, request))
            for message in messages():
                await stream.send(message)
            fail()

        if method.server_streaming:
            server.add_stream(method, stream)
        else:
            server.add_unary(method, answer)


@contextmanager
def serving(server: Server, path: Path) -> Iterator[None]:
    """Have a server listen at a socket, in a thread, until the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    ready = threading.Event()
    stop: list[Any] = []

    async def serve() -> None:
        ctx, cancel = context.with_cancel(context.background())
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(cancel))
        ready.set()
        await server.listen(listener, ctx)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        stop[0]()
        thread.join()
        listener.close()
        path.unlink(missing_ok=True)


@contextmanager
def _process_state(env: dict[str, str], stdin: bytes) -> Iterator[None]:
    """Environment, time zone and standard input of a process of its own."""
    before = dict(os.environ)
    with tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        kept = os.dup(0)
        os.dup2(file.fileno(), 0)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            time.tzset()
            os.dup2(kept, 0)
            os.close(kept)


def _shown(data: bytes, work: Path) -> str:
    return data.decode("utf-8", "replace").replace(str(work), "/tmp/w")


def _run_command(case: Case, work: Path) -> tuple[int, str, str]:
    env = {"HOME": str(work / "home"), "PATH": "/usr/bin:/bin", "TZ": "UTC", "LANG": "C.UTF-8"} | case["env"]
    argv = [arg.replace("/tmp/w", str(work)) for arg in case["argv"]]
    stdin = base64.b64decode(case.get("stdin_base64", ""))
    if OTHER_CLIENT:
        done = subprocess.run([*OTHER_CLIENT, *argv], input=stdin, env=env, capture_output=True, check=False)
        return done.returncode, _shown(done.stdout, work), _shown(done.stderr, work)
    with ExitStack() as stack:
        out = stack.enter_context(tempfile.TemporaryFile())
        err = stack.enter_context(tempfile.TemporaryFile())
        with _process_state(env, stdin):
            code = run_main(argv, stdout=Std(out.fileno()), stderr=Std(err.fileno()))
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(_shown(file.read(), work))
    return code, texts[0], texts[1]


def _requests_differ(case: Case, stub: _Stub) -> str | None:
    types = {_name(method): request for method, request, _ in _METHODS}
    wanted = [(r["method"], ParseDict(r["request"], types[r["method"]]())) for r in case["requests"]]
    if stub.requests == wanted:
        return None
    shown = [(name, MessageToDict(message)) for name, message in stub.requests]
    return f"requests: want {case['requests']!r}, got {shown!r}"


def _check(case: Case, stub: _Stub, work: Path) -> str | None:
    stub.replies = case["server"]
    stub.requests = []
    code, stdout, stderr = _run_command(case, work)
    if code != case["exit_code"]:
        return f"exit code: want {case['exit_code']}, got {code}; stderr {stderr!r}"
    for name, text in (("stdout", stdout), ("stderr", stderr)):
        shown = _POINTER.sub("<POINTER>", text) if "<POINTER>" in case[name] else text
        if shown != case[name]:
            return f"{name}: want {case[name]!r}, got {shown!r}"
    return _requests_differ(case, stub)


def run(cases: list[Case], work: Path) -> Iterator[tuple[str, str | None]]:
    """The name of each case, and None or what is wrong."""
    (work / "home").mkdir(parents=True, exist_ok=True)
    stub = _Stub()
    with serving(stub.server(), work / "stub.sock"):
        for case in cases:
            yield case["name"], _check(case, stub, work)
