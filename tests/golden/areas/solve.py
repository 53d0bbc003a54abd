"""Runs the cases of solve.json: whole builds of the command against a service that accepts everything.

The service is grpcio's server, so that requests and headers are seen by an implementation that is not ours.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from pybuildkit.api.services.control import control_pb2 as control
from pybuildkit.frontend.gateway.pb import CAPS as GATEWAY_CAPS
from pybuildkit.frontend.gateway.pb import gateway_pb2 as gateway
from pybuildkit.solver.pb import CAPS as LLB_CAPS
from tests.daemons import COMMAND
from tests.golden.areas._workdir import make_files, rewrite

_FSVERITY = re.compile(
    r"^.* level=warning msg=\"failed check for fsverity support\" .*\n", re.MULTILINE
)  # Go on some disks
_HEADERS = re.compile(r"x-docker-expose-session-|buildkit-controlapi-buildid$")
_TYPES: dict[str, type[Message]] = {
    "Control/ListWorkers": control.ListWorkersRequest,
    "Control/Solve": control.SolveRequest,
    "Control/Status": control.StatusRequest,
    "Control/Session": control.BytesMessage,
    "LLBBridge/Ping": gateway.PingRequest,
    "LLBBridge/Solve": gateway.SolveRequest,
    "LLBBridge/Return": gateway.ReturnRequest,
}


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The service of one case, and what it has seen."""

    def __init__(self, replies: dict[str, Any]) -> None:
        self._replies = replies
        self._lock = threading.Lock()
        self._returned = threading.Event()
        self._ended = threading.Event()
        self._error: tuple[int, str] | None = None
        self.requests: dict[str, list[dict[str, Any]]] = {}

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        name = details.method.removeprefix("/moby.buildkit.v1.").removeprefix("frontend.")
        if name == "Control/Session":
            return grpc.stream_stream_rpc_method_handler(lambda messages, ctx: self._session(name, messages, ctx))
        if name == "Control/Status":
            return grpc.unary_stream_rpc_method_handler(lambda data, ctx: self._status(name, data, ctx))
        answers: dict[str, Callable[[Any, Any], Message]] = {
            "Control/ListWorkers": lambda request, ctx: control.ListWorkersResponse(),
            "Control/Solve": self._solve,
            "LLBBridge/Ping": lambda request, ctx: gateway.PongResponse(
                FrontendAPICaps=GATEWAY_CAPS.all(), LLBCaps=LLB_CAPS.all()
            ),
            "LLBBridge/Solve": self._gateway_solve,
            "LLBBridge/Return": self._return,
        }
        answer = answers.get(name)
        if answer is None:
            return None

        def handle(data: bytes, ctx: Any) -> bytes:
            request = _TYPES[name].FromString(data)
            self._record(name, request, ctx)
            return answer(request, ctx).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)

    def _record(self, name: str, request: Message | None, ctx: Any) -> None:
        headers: dict[str, list[str]] = {":authority": [ctx._rpc_event.call_details.host.decode()]}
        for key, value in ctx.invocation_metadata():
            if _HEADERS.match(key):
                headers.setdefault(key, []).append(value)
        shown = None if request is None else json_format.MessageToDict(request)
        if name == "LLBBridge/Return" and isinstance(request, gateway.ReturnRequest) and request.HasField("error"):
            shown = None  # errors carry stacks, which are not compared
        with self._lock:
            entry = {"headers": {key: sorted(values) for key, values in headers.items()}, "request": shown}
            self.requests.setdefault(name, []).append(entry)

    def _session(self, name: str, messages: Iterator[bytes], ctx: Any) -> Iterator[bytes]:
        self._record(name, None, ctx)
        yield from (b"" for _ in messages if False)

    def _status(self, name: str, data: bytes, ctx: Any) -> Iterator[bytes]:
        self._record(name, control.StatusRequest.FromString(data), ctx)
        for status in self._replies.get("status", []):
            yield json_format.ParseDict(status, control.StatusResponse()).SerializeToString()
        self._ended.wait(30)

    def _solve(self, request: Any, ctx: Any) -> Message:
        self._returned.wait(30)
        try:
            if self._error is not None:
                ctx.abort(grpc.StatusCode.UNKNOWN, self._error[1])
            return control.SolveResponse(ExporterResponse=self._replies.get("exporter_response", {}))
        finally:
            self._ended.set()

    def _gateway_solve(self, request: Any, ctx: Any) -> Message:
        if "gateway_solve_error" in self._replies:
            ctx.abort(grpc.StatusCode.UNKNOWN, self._replies["gateway_solve_error"])
        given = self._replies.get("gateway_solve_response", {"result": {"ref": {"id": "ref-1"}}})
        return json_format.ParseDict(given, gateway.SolveResponse())

    def _return(self, request: Any, ctx: Any) -> Message:
        if request.HasField("error"):
            self._error = (request.error.code, request.error.message)
        self._returned.set()
        return gateway.ReturnResponse()


def _mask(value: Any, ref: str, session: str) -> Any:
    """The recorded requests with this run's ids masked."""
    text = json.dumps(value)
    for word, mask in ((ref, "<REF>"), (session, "<SESSION>")):
        text = text.replace(word, mask) if word else text
    return json.loads(text)


def _mask_text(text: str) -> str:
    text = _FSVERITY.sub("", text)
    text = re.sub(r'time="[^"]*"', 'time="<TIME>"', text)
    text = re.sub(r"(spanID|traceID)=[0-9a-f]+", r"\1=<HEX>", text)
    return re.sub(r'("\w*(?:duration|time)\w*":)[0-9]+', r"\1<N>", text)


def _ids(requests: dict[str, Any]) -> tuple[str, str]:
    solve = requests.get("Control/Solve", [{"request": {}}])[0]["request"]
    return solve.get("Ref", ""), solve.get("Session", "")


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Run the cases one after another."""
    (work / "home").mkdir(exist_ok=True)
    for case in cases:
        yield case["name"], _run_case(rewrite(case, work), work)


def _run_case(case: dict[str, Any], work: Path) -> str | None:
    folder = work / "cli"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make_files(folder, case["files"])
    service = Service(case["server"])
    server = grpc.server(ThreadPoolExecutor(16), handlers=[service])
    server.add_insecure_port(f"unix://{work}/solve.sock")
    server.start()
    env = {"HOME": f"{work}/home", "PATH": "/usr/bin:/bin", "TZ": "UTC", "LANG": "C.UTF-8", **case["env"]}
    root = Path(__file__).resolve().parents[3]
    try:
        done = subprocess.run(
            [*COMMAND, *case["argv"]],
            cwd=folder,
            env={**env, "PYTHONPATH": str(root)},
            input=base64.b64decode(case["stdin_base64"] or ""),
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        server.stop(None).wait()
    return _compare(case, done, service.requests, folder)


def _compare(
    case: dict[str, Any],
    done: subprocess.CompletedProcess[bytes],
    requests: dict[str, list[dict[str, Any]]],
    folder: Path,
) -> str | None:
    stderr = _mask_text(done.stderr.decode())
    stdout = _mask_text(done.stdout.decode())
    if case["stderr"] is None:
        if len(stderr.splitlines()) != 1 or not stderr.startswith("error: "):
            return f"stderr is not one error line: {stderr!r}"
    elif stderr != _mask_text(case["stderr"]):
        return f"stderr: got {stderr!r}, want {case['stderr']!r}"
    if done.returncode != case["exit_code"]:
        return f"exit code: got {done.returncode}, want {case['exit_code']}: {stderr!r}"
    if stdout != _mask_text(case["stdout"]):
        return f"stdout: got {stdout!r}, want {case['stdout']!r}"
    masked = _mask(requests, *_ids(requests))
    if masked != case["requests"]:
        wrong = [n for n in {*masked, *case["requests"]} if masked.get(n) != case["requests"].get(n)]
        shown = {n: (masked.get(n), case["requests"].get(n)) for n in sorted(wrong)}
        return f"requests: (got, want) {json.dumps(shown)}"
    present = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())
    # What a failed file export leaves is ours to decide: nothing (see the vectors' contract).
    if present != sorted(case["files_present_after"]):
        return f"files: got {present}, want {case['files_present_after']}"
    for name, content in case["file_contents_after"].items():
        got = (folder / name).read_text() if (folder / name).exists() else None
        if got != content:
            return f"{name}: got {got!r}, want {content!r}"
    return None
