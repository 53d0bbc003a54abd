"""The gateway: a client that works inside a build of its own.

Mirrors control/gateway/gateway.go and the LLBBridge of frontend/gateway/gateway.go, v0.32.2.

Calls name their build in the metadata `buildkit-controlapi-buildid`. A build that is not there yet is waited for,
3 seconds at most.

Differs on purpose: containers are refused, since this daemon runs no processes.
"""

from __future__ import annotations

import asyncio
import errno
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fake_buildkitd.errors import UnsupportedError, with_solve_error
from fake_buildkitd.frontend._bridge import FrontendResult, Ref
from fake_buildkitd.jobs import Job
from fake_buildkitd.script import Before, ScriptedJob
from fake_buildkitd.store import Node, PathError, Snapshot, Tree
from fake_buildkitd.store._fs import node_stat
from fake_buildkitd.store._tree import clean
from pybuildkit import identity
from pybuildkit.api.types import worker_pb2
from pybuildkit.client._graph import VertexWarning
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.rpc import Code, Method, RpcError, Server, ServerStream, incoming_metadata
from pybuildkit.solver.pb import spec
from pybuildkit.third_party.fsutil.types import stat_pb2
from pybuildkit.third_party.patternmatcher import new as new_matcher
from pybuildkit.util import grpcerrors

KEY_BUILD_ID = "buildkit-controlapi-buildid"
_WAIT_SECONDS = 3.0
_OCI_LAYOUT = 1

Req = TypeVar("Req")
Resp = TypeVar("Resp")


class UnknownJobError(BuildkitError):
    """No build has the id."""

    grpc_code = Code.NOT_FOUND

    def __init__(self, build_id: str) -> None:
        super().__init__(build_id)
        self.id = build_id

    def __str__(self) -> str:
        return f"no such job {self.id}"


class Forwarder:
    """One build as its client works in it.

    Args:
        job: the build.
        workers: what Ping tells of this daemon.
    """

    def __init__(self, job: Job, workers: Callable[[], list[worker_pb2.WorkerRecord]]) -> None:
        self.job = job
        self._workers = workers
        self._refs: dict[str, Ref] = {}

    async def ping(self, ctx: Context, request: pb.PingRequest) -> pb.PongResponse:
        response = pb.PongResponse.FromString(_capabilities())
        response.Workers.extend(self._workers())
        return response

    async def solve(self, ctx: Context, request: pb.SolveRequest) -> pb.SolveResponse:
        try:
            result = await self._solve(ctx, request)
        except BuildkitError as err:
            raise with_solve_error(err) from err
        if result.refs is not None and not request.allowResultReturn:
            raise BuildkitError("solve did not return default result")
        response = pb.SolveResponse()
        response.result.metadata.update(result.metadata)
        default = self._fill(response.result, result, request.allowResultArrayRef)
        if not request.allowResultReturn:
            response.ref = default
        if request.Final:
            self.job.returned(result)
        return response

    async def _solve(self, ctx: Context, request: pb.SolveRequest) -> FrontendResult:
        has_definition = request.HasField("Definition") and bool(getattr(request.Definition, "def"))
        if has_definition and request.Frontend:
            raise BuildkitError("cannot solve with Definition and Frontend specified")
        if request.Frontend:
            inputs = dict(request.FrontendInputs)
            result = await self.job.frontend(ctx, request.Frontend, request.FrontendOpt, inputs)
        elif has_definition:
            self.job.import_caches(request.CacheImports)
            result = FrontendResult(ref=self.job.ref(request.Definition))
        else:
            result = FrontendResult()
        if request.Evaluate:
            for ref in result.all():
                await ref.result(ctx)
        return result

    def _fill(self, message: pb.Result, result: FrontendResult, with_definition: bool) -> str:
        if result.refs is not None:
            for name, ref in result.refs.items():
                ref_id = self._keep(ref)
                if not with_definition:
                    message.refsDeprecated.refs[name] = ref_id
                    continue
                entry = message.refs.refs[name]
                entry.id = ref_id
                if ref is not None:
                    getattr(entry, "def").CopyFrom(ref.definition)
            return ""
        ref_id = self._keep(result.ref)
        if with_definition:
            message.ref.id = ref_id
            if result.ref is not None:
                getattr(message.ref, "def").CopyFrom(result.ref.definition)
        else:
            message.refDeprecated = ref_id
        return ref_id

    def _keep(self, ref: Ref | None) -> str:
        if ref is None:
            return ""
        ref_id = identity.new_id()
        self._refs[ref_id] = ref
        return ref_id

    async def return_(self, ctx: Context, request: pb.ReturnRequest) -> pb.ReturnResponse:
        if request.HasField("error"):
            status = request.error
            known = status.code in [int(code) for code in Code]
            code = Code(status.code) if known else Code.UNKNOWN
            self.job.returned(grpcerrors.from_grpc(RpcError(code, status.message, list(status.details))))
            return pb.ReturnResponse()
        message = request.result
        result = FrontendResult(metadata=dict(message.metadata))
        kind = message.WhichOneof("result")
        if kind == "refDeprecated":
            result.ref = self._ref(message.refDeprecated)
        elif kind == "ref":
            result.ref = self._ref(message.ref.id)
        elif kind == "refsDeprecated":
            result.refs = {name: self._ref(ref_id) for name, ref_id in message.refsDeprecated.refs.items()}
        elif kind == "refs":
            result.refs = {name: self._ref(ref.id) for name, ref in message.refs.refs.items()}
        for name, attested in message.attestations.items():
            for each in attested.attestation:
                ref = self._ref(each.ref.id)
                if ref is None:
                    raise BuildkitError("no available content for attestation")
                result.attestations.setdefault(name, []).append((each, ref))
        self.job.returned(result)
        return pb.ReturnResponse()

    def _ref(self, ref_id: str) -> Ref | None:
        if not ref_id:
            return None
        ref = self._refs.get(ref_id)
        if ref is None:
            raise BuildkitError(f"return reference {ref_id} not found")
        return ref

    async def _snapshot(self, ctx: Context, ref_id: str) -> Snapshot | None:
        ref = self._refs.get(ref_id) or self.job.results.get(ref_id)
        if ref is None:
            raise BuildkitError(f"no such ref: {ref_id}, all [{' '.join(self._refs)}]")
        try:
            return await ref.result(ctx)
        except BuildkitError as err:
            raise with_solve_error(err) from err

    async def _tree(self, ctx: Context, ref_id: str) -> Tree:
        snapshot = await self._snapshot(ctx, ref_id)
        self.job.solver.assembly.read(snapshot)
        return Tree(snapshot.root if snapshot is not None else None)

    async def read_file(self, ctx: Context, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
        tree = await self._tree(ctx, request.Ref)
        path = request.FilePath.encode("utf-8", "surrogateescape")
        node = tree.stat(clean(path))
        if node is None:
            raise with_solve_error(PathError("open", path, errno.ENOENT))
        if not node.is_regular():
            raise with_solve_error(BuildkitError(f"{request.FilePath} is not a regular file"))
        data = await asyncio.to_thread(self.job.store.get_blob, node.blob)
        if request.HasField("Range"):
            start = request.Range.Offset
            data = data[start : start + request.Range.Length]
        return pb.ReadFileResponse(Data=data)

    async def read_dir(self, ctx: Context, request: pb.ReadDirRequest) -> pb.ReadDirResponse:
        tree = await self._tree(ctx, request.Ref)
        path = clean(request.DirPath.encode("utf-8", "surrogateescape"))
        node = tree.stat(path)
        if node is None:
            raise with_solve_error(PathError("lstat", path, errno.ENOENT))
        matcher = new_matcher([request.IncludePattern]) if request.IncludePattern else None
        response = pb.ReadDirResponse()
        for name in sorted(node.children or ()):
            if matcher is None or matcher.matches_or_parent_matches(name.decode("utf-8", "surrogateescape")):
                response.entries.append(_stat((node.children or {})[name], name))
        return response

    async def stat_file(self, ctx: Context, request: pb.StatFileRequest) -> pb.StatFileResponse:
        tree = await self._tree(ctx, request.Ref)
        path = request.Path.encode("utf-8", "surrogateescape")
        resolved = tree.resolve(clean(path))
        node = tree.lstat(resolved)
        if node is None:
            raise PathError("lstat", path, errno.ENOENT)
        return pb.StatFileResponse(stat=_stat(node, resolved.rpartition(b"/")[2]))

    async def evaluate(self, ctx: Context, request: pb.EvaluateRequest) -> pb.EvaluateResponse:
        await self._snapshot(ctx, request.Ref)
        return pb.EvaluateResponse()

    async def inputs(self, ctx: Context, request: pb.InputsRequest) -> pb.InputsResponse:
        return pb.InputsResponse(Definitions=self.job.request.FrontendInputs)

    async def warn(self, ctx: Context, request: pb.WarnRequest) -> pb.WarnResponse:
        self.job.warn(
            VertexWarning(
                vertex=request.digest,
                level=request.level or 1,
                short=request.short,
                detail=list(request.detail),
                url=request.url,
                source_info=request.info if request.HasField("info") else None,
                range=list(request.ranges),
            )
        )
        return pb.WarnResponse()

    async def resolve_image_config(
        self, ctx: Context, request: pb.ResolveImageConfigRequest
    ) -> pb.ResolveImageConfigResponse:
        layout = (request.SessionID, request.StoreID) if request.ResolverType == _OCI_LAYOUT else None
        platform = spec(request.Platform) if request.HasField("Platform") else None
        digest, config = await self.job.resolve_image(ctx, request.Ref, platform, request.LogName, layout)
        return pb.ResolveImageConfigResponse(Digest=digest, Config=config, Ref=request.Ref)

    async def resolve_source_meta(
        self, ctx: Context, request: pb.ResolveSourceMetaRequest
    ) -> pb.ResolveSourceMetaResponse:
        return await self.job.describe_source(ctx, request, judge=True)


class ScriptedForwarder(Forwarder):
    """A scripted build's gateway: answers with empty results."""

    async def solve(self, ctx: Context, request: pb.SolveRequest) -> pb.SolveResponse:
        response = pb.SolveResponse()
        if request.allowResultReturn:
            response.result.ref.id = ""
        return response

    async def return_(self, ctx: Context, request: pb.ReturnRequest) -> pb.ReturnResponse:
        return pb.ReturnResponse()


@functools.cache
def _capabilities() -> bytes:
    """What this daemon can do, as the marshalled answer to Ping."""
    from pybuildkit.frontend.gateway.pb._caps import CAPS as FRONTEND_CAPS
    from pybuildkit.solver.pb._caps import CAPS as LLB_CAPS

    return pb.PongResponse(FrontendAPICaps=FRONTEND_CAPS.all(), LLBCaps=LLB_CAPS.all()).SerializeToString()


def _stat(node: Node, name: bytes) -> stat_pb2.Stat:
    return stat_pb2.Stat.FromString(node_stat(node, name).marshal())


class Gateway:
    """The LLBBridge service: hands calls to the build that they belong to.

    Args:
        workers: what Ping tells of this daemon.
        before: called before every call.
    """

    def __init__(self, workers: Callable[[], list[worker_pb2.WorkerRecord]], before: Before | None = None) -> None:
        self._workers = workers
        self._before = before
        self._builds: dict[str, Forwarder] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def add(self, job: Job | ScriptedJob) -> None:
        """Make a build known."""
        forwarder = Forwarder if isinstance(job, Job) else ScriptedForwarder
        self._builds[job.id] = forwarder(job, self._workers)  # type: ignore[arg-type]  # a ScriptedJob has what it uses
        for waiter in self._waiting.pop(job.id, set()):
            if not waiter.done():
                waiter.set_result(None)

    def discard(self, job: Job | ScriptedJob) -> None:
        """Forget a build."""
        self._builds.pop(job.id, None)

    async def _find(self, ctx: Context) -> Forwarder:
        build_id = next((value for key, value in incoming_metadata(ctx) if key == KEY_BUILD_ID), "")
        if not isinstance(build_id, str) or not build_id:
            raise BuildkitError("no buildid found in context")
        if build_id not in self._builds:
            await self._wait(ctx, build_id)
        return self._builds[build_id]

    async def _wait(self, ctx: Context, build_id: str) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(build_id, set())
        waiters.add(waiter)
        timed, stop = context.with_timeout(ctx, _WAIT_SECONDS)
        try:
            await context.run(timed, waiter)
        except BuildkitError as err:
            if ctx.is_done():
                raise
            raise UnknownJobError(build_id) from err
        finally:
            stop()
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(build_id, None)

    def register(self, server: Server) -> None:
        """Add the service to a server."""
        self._add(server, methods.PING, Forwarder.ping)
        self._add(server, methods.SOLVE, Forwarder.solve)
        self._add(server, methods.RETURN, Forwarder.return_)
        self._add(server, methods.READ_FILE, Forwarder.read_file)
        self._add(server, methods.READ_DIR, Forwarder.read_dir)
        self._add(server, methods.STAT_FILE, Forwarder.stat_file)
        self._add(server, methods.EVALUATE, Forwarder.evaluate)
        self._add(server, methods.INPUTS, Forwarder.inputs)
        self._add(server, methods.WARN, Forwarder.warn)
        self._add(server, methods.RESOLVE_IMAGE_CONFIG, Forwarder.resolve_image_config)
        self._add(server, methods.RESOLVE_SOURCE_META, Forwarder.resolve_source_meta)
        self._refuse(server, methods.NEW_CONTAINER)
        self._refuse(server, methods.RELEASE_CONTAINER)
        server.add_stream(methods.EXEC_PROCESS, _refuse_stream)

    def _add(
        self, server: Server, method: Method[Req, Resp], call: Callable[[Forwarder, Context, Req], Awaitable[Resp]]
    ) -> None:
        name = method.path.rpartition("/")[2]

        async def handle(ctx: Context, request: Req) -> Resp:
            if self._before is not None:
                await self._before(f"LLBBridge.{name}", ctx)
            try:
                forwarder = await self._find(ctx)
            except BuildkitError as err:
                raise wrap(err, f"forwarding {name}") from err
            bound = getattr(forwarder, call.__name__)
            response: Resp = await bound(ctx, request)
            return response

        server.add_unary(method, handle)

    @staticmethod
    def _refuse(server: Server, method: Method[Req, Resp]) -> None:
        async def handle(ctx: Context, request: Req) -> Resp:
            raise UnsupportedError("this daemon cannot run containers")

        server.add_unary(method, handle)


async def _refuse_stream(stream: ServerStream[pb.ExecMessage, pb.ExecMessage]) -> None:
    raise UnsupportedError("this daemon cannot run containers")
