"""The build action: the order of its steps, and what its last steps do with a client of the test's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import combinations
from pathlib import Path

import pytest

from pybuildkit.client import SolveOpt, SolveResponse, SolveStatus, Vertex
from pybuildkit.cmd.buildctl import _commands
from pybuildkit.cmd.buildctl._app import Command, CommandContext, run
from pybuildkit.cmd.buildctl._build import Build, parse_definition
from pybuildkit.cmd.buildctl.common._signals import app_context
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.util import bklog
from tests.cmd.buildctl.streams import Recorder, run_in_process

# Each step that can fail: its flags, and how the error begins. The order is the contract's.
_STEPS: list[tuple[str, list[str], str]] = [
    ("1 address", ["--addr", "%zz"], 'parse "%zz"'),
    ("1 tls", ["--tlsdir", "nodir"], "directory did not contain"),
    ("2 trace", ["--trace", "nodir/t"], "open nodir/t: no such file or directory"),
    ("2 metrics", ["--debug-json-cache-metrics", "nodir/m"], "open nodir/m: no such file or directory"),
    ("3 registry auth", ["--registry-auth-tlscontext", "bad3"], "invalid value bad3"),
    ("3 ssh", ["--ssh", "id=raw=true"], "raw mode must supply exactly one socket path"),
    ("3 secret", ["--secret", "bad"], "invalid field 'bad'"),
    ("4 allow", ["--allow", "bogus"], "unknown entitlement bogus"),
    ("5 output", ["--output", "bad5"], "invalid value bad5"),
    ("6 export cache", ["--export-cache", "type="], "--export-cache requires type"),
    ("6 import cache", ["--import-cache", "type="], "--import-cache requires type"),
    ("6 source policy", ["--source-policy-file", "missing.json"], "open missing.json: no such file"),
    ("8 opt", ["--opt", "bad8"], "invalid opt: invalid value bad8"),
    ("8 local", ["--local", "bad8"], "invalid local: invalid value bad8"),
    ("8 oci layout", ["--oci-layout", "bad"], "invalid oci-layout: "),
    ("9 definition", ["--frontend="], "please specify --frontend or pipe LLB definition to stdin"),
    ("10 progress", ["--progress", "bogus"], "invalid progress value : bogus"),
    ("11 solve", [], "listing workers for Build: failed to list workers: Unavailable: "),
]


@pytest.mark.parametrize(
    ("early", "late"), [pytest.param(a, b, id=f"{a[0]} before {b[0]}") for a, b in combinations(_STEPS, 2)]
)
def test_of_two_mistakes_the_earlier_step_s_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    early: tuple[str, list[str], str],
    late: tuple[str, list[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    argv = ["--addr", "unix:///nonexistent/sock", "build", "--frontend", "x", *late[1], *early[1]]
    code, _, stderr = run_in_process(*argv)
    assert code == 1
    assert stderr.splitlines()[-1].startswith(f"error: {early[2]}")


def test_the_deprecated_exporter_warns_and_goes_with_no_output(tmp_path: Path) -> None:
    argv = ["--addr", "unix:///nonexistent/sock", "build", "--frontend", "x", "--exporter", "local"]
    code, _, stderr = run_in_process(*argv, "--output", "type=image")
    warning, error = stderr.splitlines()
    assert (code, error) == (1, "error: --exporter cannot be used with --output")
    assert "--exporter <exporter> is deprecated" in warning


class Gateway:
    """A gateway client that answers every solve with one result."""

    def __init__(self, metadata: Mapping[str, bytes]) -> None:
        self.requests: list[gateway.SolveRequest] = []
        self._metadata = metadata

    async def solve(self, ctx: Context, request: gateway.SolveRequest) -> gateway.Result:
        self.requests.append(request)
        result = gateway.Result()
        result.metadata.update(self._metadata)
        return result


class FakeClient:
    """A client whose build sends what the test says, and then ends as the test says."""

    def __init__(self) -> None:
        self.gateway = Gateway({})
        self.statuses: list[SolveStatus] = []
        self.response: dict[str, str] = {}
        self.error: BuildkitError | None = None
        self.before_end: Callable[[Context], Awaitable[None]] | None = None
        self.opt: SolveOpt | None = None
        self.product = ""
        self.is_closed = False

    async def build(
        self, ctx: Context, opt: SolveOpt, product: str, build_func: object, status: Chan[SolveStatus]
    ) -> SolveResponse:
        self.opt, self.product = opt, product
        try:
            assert callable(build_func)
            await build_func(ctx, self.gateway)
            for update in self.statuses:
                await status.send(update)
            if self.before_end is not None:
                await self.before_end(ctx)
            if self.error is not None:
                raise self.error
            return SolveResponse(exporter_response=self.response)
        finally:
            status.close()

    async def close(self) -> None:
        self.is_closed = True


class Case:
    """One run of the action with a client of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = FakeClient()
        self.stdout, self.stderr = Recorder(1), Recorder(2)
        self.ref = ""
        self.ctx = context.background()

    def run(self, *flags: str) -> str:
        """Run the action; gives the error's text, "" for none."""
        try:
            self._run(flags)
        except (BuildkitError, OSError) as err:
            return error_text(err)
        return ""

    def _run(self, flags: tuple[str, ...]) -> None:
        command = _commands.commands()[3]
        assert command.name == "build"
        command.action = self._action
        root = Command("app", flags=_commands.global_flags(), commands=[command])
        run(root, ["build", *flags], stdout=self.stdout, stderr=self.stderr)

    def _action(self, c: CommandContext) -> None:
        asyncio.run(self._main(c))

    async def _main(self, c: CommandContext) -> None:
        with app_context() as ctx:
            self.ctx = ctx
            async with AsyncExitStack() as stack:
                build = _BuildWith(c, ctx, stack)
                build.fake = self.client
                self.ref = build.ref
                await build.run()
            assert len(asyncio.all_tasks()) == 1


class _BuildWith(Build):
    fake: FakeClient

    async def resolve_client(self) -> FakeClient:  # type: ignore[override]  # the part of a client that is used
        self.stack.push_async_callback(self.fake.close)
        return self.fake


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BUILDKIT_PROGRESS", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    log: list[str] = []
    bklog.set_sink(lambda level, message, fields: log.append(f"{bklog.LEVEL_NAMES[level]}: {message}"))
    made = Case(tmp_path)
    made.stderr.data = b""
    yield made
    bklog.set_sink(None)
    bklog.set_level(bklog.INFO)


def _step(name: str, *, cached: bool = False, error: str = "") -> SolveStatus:
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    return SolveStatus(vertexes=[Vertex(digest, name=name, started=1, completed=2, cached=cached, error=error)])


def test_what_is_solved(case: Case) -> None:
    (case.folder / "ctx").mkdir()
    flags = ["--frontend", "f", "--opt", "a=b", "--frontend-opt", "c=d", "--no-cache", "--local", "context=ctx"]
    flags += ["--output", "type=image,name=n", "--export-cache", "type=inline", "--import-cache", "type=registry,ref=r"]
    flags += ["--allow", "network.host", "--proxy-network"]
    assert case.run(*flags) == ""
    opt = case.client.opt
    assert opt is not None
    assert case.client.product == "buildctl"
    assert (opt.frontend, dict(opt.frontend_attrs)) == ("f", {"a": "b", "c": "d", "no-cache": ""})
    assert [(e.type, dict(e.attrs)) for e in opt.exports] == [("image", {"name": "n"})]
    assert [(e.type, dict(e.attrs)) for e in opt.cache_exports] == [("inline", {"mode": "min"})]
    assert (list(opt.local_mounts), list(opt.allowed_entitlements), opt.proxy_network) == (
        ["context"],
        ["network.host"],
        True,
    )
    assert opt.ref == case.ref
    assert len(opt.session) == 1
    (request,) = case.client.gateway.requests
    assert (request.frontend, dict(request.frontend_opt)) == ("f", {"a": "b", "c": "d", "no-cache": ""})
    assert [(e.type, dict(e.attrs)) for e in request.cache_imports] == [("registry", {"ref": "r"})]
    assert request.definition is None
    assert case.client.is_closed


def test_a_failed_build_prints_what_arrived_and_writes_the_reference(case: Case) -> None:
    case.client.statuses = [_step("one"), _step("two", error="broken")]
    case.client.error = BuildkitError("failed to solve: broken")
    assert case.run("--frontend", "f", "--progress", "plain", "--ref-file", "r") == "failed to solve: broken"
    assert "#1 one" in str(case.stderr)
    assert "#2 ERROR: broken" in str(case.stderr)
    assert (case.folder / "r").read_text() == case.ref
    assert case.client.is_closed


def test_the_reference_is_written_for_an_unknown_progress_too(case: Case) -> None:
    assert case.run("--frontend", "f", "--progress", "x", "--ref-file", "r") == "invalid progress value : x"
    assert re.fullmatch(r"[0-9a-z]{25}", (case.folder / "r").read_text())
    assert case.client.opt is None


def test_a_reference_that_cannot_be_written_is_no_error(case: Case) -> None:
    assert case.run("--frontend", "f", "--ref-file", "nodir/r") == ""


def test_metadata_file(case: Case) -> None:
    case.client.response = {"b": base64.b64encode(b'{"z":1}').decode(), "a": "x"}
    assert case.run("--frontend", "f", "--metadata-file", "md") == ""
    assert (case.folder / "md").read_text() == '{\n  "a": "x",\n  "b": {\n    "z": 1\n  }\n}'


def test_no_metadata_file_without_a_response(case: Case) -> None:
    assert case.run("--frontend", "f", "--metadata-file", "md") == ""
    assert not (case.folder / "md").exists()


def test_a_metadata_file_that_cannot_be_written_is_an_error(case: Case) -> None:
    case.client.response = {"a": "x"}
    error = case.run("--frontend", "f", "--metadata-file", "nodir/md")
    assert re.fullmatch(r"open nodir/\.tmp-md\d+: no such file or directory", error)


def test_trace_is_appended_to_and_private(case: Case) -> None:
    (case.folder / "t").write_text("before\n")
    case.client.statuses = [_step("one"), _step("two")]
    assert case.run("--frontend", "f", "--trace", "t") == ""
    first, *lines = (case.folder / "t").read_text().splitlines()
    assert first == "before"
    assert [json.loads(line)["vertexes"][0]["name"] for line in lines] == ["one", "two"]
    assert case.run("--frontend", "f", "--trace", "new") == ""
    assert (case.folder / "new").stat().st_mode & 0o777 == 0o600


def test_a_trace_on_a_full_disk_is_logged_once(case: Case) -> None:
    log: list[str] = []
    bklog.set_sink(lambda level, message, fields: log.append(f"{bklog.LEVEL_NAMES[level]}: {message}"))
    case.client.statuses = [_step(str(number)) for number in range(50)]
    assert case.run("--frontend", "f", "--trace", "/dev/full") == ""
    assert [line for line in log if line.startswith("error")] == [
        next(line for line in log if "no space left on device" in line)
    ]
    assert "info: tracing logs to /dev/full" in log


def test_progress_fd(case: Case) -> None:
    reader, writer = os.pipe()
    case.client.statuses = [_step("one")]
    assert case.run("--frontend", "f", "--progress-fd", str(writer), "--progress", "plain") == ""
    os.close(writer)
    with os.fdopen(reader) as file:
        assert [json.loads(line)["vertexes"][0]["name"] for line in file] == ["one"]
    assert "#1 one" in str(case.stderr)


@pytest.mark.parametrize("fd", [999, -1, -3])
def test_progress_fd_that_is_not_open(case: Case, fd: int) -> None:
    assert case.run("--frontend", "f", f"--progress-fd={fd}") == f"fstat --progress-fd {fd}: bad file descriptor"


def test_progress_fd_that_will_not_do(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "rb") as file:
        number = str(file.fileno())
        error = f"--progress-fd {number} is not open for writing"
        assert case.run("--frontend", "f", "--progress-fd", number) == error
    assert (
        case.run("--frontend", "f", "--progress-fd", str(1 << 40)) == f"--progress-fd {1 << 40} is no file descriptor"
    )
    with open(tmp_path / "log", "wb") as display, open(tmp_path / "log", "wb") as file:
        case.stderr.fd = display.fileno()
        case.client.statuses = [_step("one")]
        same = ["--frontend", "f", "--progress-fd", str(file.fileno()), "--progress"]
        assert case.run(*same, "plain").startswith(f"--progress-fd {file.fileno()} is where the display goes")
        assert case.run(*same, "quiet") == ""
        monkeypatch.setenv("BUILDKIT_PROGRESS", "quiet")
        assert case.run(*same, "auto") == ""
        monkeypatch.setenv("BUILDKIT_PROGRESS", "plain")
        assert case.run(*same, "auto").startswith(f"--progress-fd {file.fileno()} is where the display goes")
    names = [json.loads(line)["vertexes"][0]["name"] for line in (tmp_path / "log").read_text().splitlines()]
    assert names == ["one", "one"]


def test_progress_fd_and_display_may_both_go_nowhere(case: Case) -> None:
    with open(os.devnull, "wb") as display, open(os.devnull, "wb") as file:
        case.stderr.fd = display.fileno()
        case.client.statuses = [_step("one")]
        assert case.run("--frontend", "f", "--progress-fd", str(file.fileno()), "--progress", "plain") == ""


def test_progress_fd_whose_reader_goes_away(case: Case) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log: list[str] = []
    bklog.set_sink(lambda level, message, fields: log.append(message))
    case.client.statuses = [_step(str(number)) for number in range(50)]
    assert case.run("--frontend", "f", "--progress-fd", str(writer)) == ""
    os.close(writer)
    assert log == [f"failed to write --progress-fd {writer}: broken pipe"]


def test_progress_fd_that_does_not_block(case: Case) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    case.client.statuses = [_step("x" * 5000 + str(number)) for number in range(100)]
    got: list[bytes] = []
    with ThreadPoolExecutor() as pool, os.fdopen(reader, "rb") as file:
        reading = pool.submit(lambda: got.extend(file))
        assert case.run("--frontend", "f", "--progress-fd", str(writer), "--progress", "quiet") == ""
        os.close(writer)
        reading.result()
    assert len(got) == 100


@pytest.mark.parametrize("where", ["stdout", "stderr", "m.json"])
def test_cache_metrics(case: Case, where: str) -> None:
    case.client.statuses = [
        _step("[internal] load"),
        _step("[1/3] FROM x"),
        _step("[2/3] RUN a", cached=True),
        _step("[3/3] RUN b"),
    ]
    assert case.run("--frontend", "f", "--debug-json-cache-metrics", where, "--progress", "quiet") == ""
    written = {"stdout": str(case.stdout), "stderr": str(case.stderr)}.get(where)
    if written is None:
        written = (case.folder / where).read_text()
    missed, counts = written.splitlines()
    assert missed == "cache miss: [3/3] RUN b"
    assert re.fullmatch(
        r'\{"total":4,"completed":4,"user_total":3,"user_cached":1,"user_completed":3,"user_cacheable":2,'
        r'"from":1,"miss":1,"client_duration_ms":\d+\}',
        counts,
    )


@pytest.mark.parametrize(
    ("metadata", "printed"),
    [
        ({"result.txt": b"text\n", "result.json": b"{}"}, "text\n"),
        ({"result.json": b"{}", "other": b"x"}, "result.json\n{}\n"),
        ({}, ""),
    ],
)
def test_sub_requests(case: Case, metadata: dict[str, bytes], printed: str) -> None:
    case.client.gateway = Gateway(metadata)
    assert case.run("--frontend", "f", "--opt", "requestid=frontend.outline") == ""
    assert str(case.stdout) == printed
    (request,) = case.client.gateway.requests
    assert request.frontend_opt["frontend.caps"] == "moby.buildkit.frontend.subrequests"


def test_a_sub_requests_text_cannot_steer_a_terminal(case: Case) -> None:
    case.client.gateway = Gateway({"result.txt": b"a\x1b]0;title\x07\x1b[31mb\x1b[0m\x1b[2J\n"})
    case.stdout.tty = True
    assert case.run("--frontend", "f", "--opt", "requestid=frontend.outline") == ""
    assert str(case.stdout) == "a\x1b[31mb\x1b[0m\n"


def test_a_build_prints_no_metadata(case: Case) -> None:
    case.client.gateway = Gateway({"result.txt": b"text\n"})
    assert case.run("--frontend", "f") == ""
    assert str(case.stdout) == ""


def test_auth_is_shown(case: Case) -> None:
    async def log_in(ctx: Context) -> None:
        assert case.client.opt is not None
        provider = case.client.opt.session[0]
        logger = provider._logger  # type: ignore[attr-defined]  # the auth provider's way to the display
        logger(_step("[auth] x"))

    case.client.before_end = log_in
    assert case.run("--frontend", "f", "--progress", "plain") == ""
    assert "#1 [auth] x" in str(case.stderr)


def test_a_display_that_fails_ends_the_solve(case: Case) -> None:
    class Broken(Recorder):
        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

    async def wait(ctx: Context) -> None:
        await ctx.done()
        ctx.raise_if_done()

    case.client.statuses = [_step("one")]
    case.client.before_end = wait
    case.stderr = Broken(2)
    assert case.run("--frontend", "f", "--progress", "rawjson") != ""


def test_a_partial_output_is_removed(case: Case) -> None:
    async def export(ctx: Context) -> None:
        assert case.client.opt is not None
        opener = case.client.opt.exports[0].output
        assert opener is not None
        writer = opener({})
        assert writer is not None
        writer.write_all(b"partial")
        assert len(list(case.folder.iterdir())) == 1

    case.client.before_end = export
    case.client.error = BuildkitError("failed to solve: x")
    assert case.run("--frontend", "f", "--output", "type=tar,dest=o.tar") == "failed to solve: x"
    assert list(case.folder.iterdir()) == []


def _definition(*ops: bytes) -> bytes:
    message = ops_pb2.Definition()
    getattr(message, "def").extend(ops)  # a keyword in Python
    return message.SerializeToString()


def test_no_cache_marks_every_op() -> None:
    ops = [ops_pb2.Op(source=ops_pb2.SourceOp(identifier=name)).SerializeToString() for name in ("a", "b")]
    plain = parse_definition(_definition(*ops), no_cache=False)
    assert plain.metadata == {}
    marked = parse_definition(_definition(*ops), no_cache=True)
    digests = ["sha256:" + hashlib.sha256(op).hexdigest() for op in ops]
    assert {digest: marked.metadata[digest].ignore_cache for digest in digests} == dict.fromkeys(digests, True)


@pytest.mark.parametrize(
    ("data", "no_cache", "text"),
    [
        (b"\xff\xff\xff\xff", False, "failed to parse input: unexpected EOF"),
        (b"garbage", False, "failed to parse input: proto: illegal wireType 7"),
        (_definition(b"\xff"), True, "failed to parse llb proto op: unexpected EOF"),
    ],
)
def test_a_malformed_definition(data: bytes, no_cache: bool, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        parse_definition(data, no_cache=no_cache)
    assert str(caught.value) == text
