"""The gateway client: asks the daemon to solve, and returns the frontend's result to it.

Mirrors frontend/gateway/grpcclient/client.go, v0.32.2.

Order: Ping tells the daemon's capabilities; then come the frontend's calls; Return ends the build with a result
or an error, and is sent even when the frontend failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from pybuildkit.frontend.gateway.client import Attestation, BuildOpts, InTotoSubject, Result, SolveRequest, WorkerInfo
from pybuildkit.frontend.gateway.grpcclient._reference import GrpcReference, supported
from pybuildkit.frontend.gateway.pb import _caps as caps
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.util import grpcerrors
from pybuildkit.util.apicaps.pb.caps_pb2 import APICap

if TYPE_CHECKING:
    from pybuildkit.client.llb import State
    from pybuildkit.client.llb.sourceresolver import MetaResponse, Opt
    from pybuildkit.frontend.gateway.client import BuildFunc, Container, NewContainerRequest, Reference, WarnOpts
    from pybuildkit.frontend.gateway.grpcclient._container import MessageForwarder
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream, Method

Req = TypeVar("Req")
Resp = TypeVar("Resp")

_PING_SECONDS = 15.0

# What daemons supported before they announced capabilities; these two lists never change.
_DEFAULT_CAPS = ("solve.base", "solve.inlinereturn", "resolveimage", "readfile")
_DEFAULT_LLB_CAPS = (
    "source.image",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.git.keepgitdir",
    "source.git.fullurl",
    "source.http",
    "source.http.checksum",
    "source.http.perm",
    "soruce.http.uidgid",
    "source.buildop.llbfilename",
    "exec.meta.base",
    "exec.meta.proxyenv",
    "exec.mount.bind",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.secret",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "meta.exportcache",
)


class Conn(Protocol):
    """Makes the gateway calls of one build."""

    async def unary(self, ctx: Context, method: Method[Req, Resp], request: Req) -> Resp:
        """Make one call; raises BuildkitError: the daemon's answer where it is not OK, or the context's end."""

    async def stream(self, ctx: Context, method: Method[Req, Resp]) -> ClientStream[Req, Resp]:
        """Open a streaming call, which ends with the context; its messages raise RpcError."""


class _Worker(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def platforms(self) -> Sequence[object]: ...


async def new(
    ctx: Context, opts: Mapping[str, str], session_id: str, product: str, conn: Conn, workers: Sequence[_Worker]
) -> GrpcClient:
    """Ask the daemon for its capabilities, and make the client.

    Args:
        ctx: ends the call, which may take 15 s.
        opts: the frontend's options.
        session_id: the build's session.
        product: the product's name in errors about missing capabilities.
        conn: makes the calls.
        workers: the daemon's workers.

    Raises:
        BuildkitError: the daemon's answer to the first call, or that there was none.
    """
    from pybuildkit.solver.pb import CAPS as LLB_CAPS

    timed, cancel = context.with_timeout(ctx, _PING_SECONDS)
    try:
        pong = await conn.unary(timed, methods.PING, pb.PingRequest())
    finally:
        cancel()
    frontend_caps = list(pong.FrontendAPICaps) or [APICap(ID=id, Enabled=True) for id in _DEFAULT_CAPS]
    llb_caps = list(pong.LLBCaps) or [APICap(ID=id, Enabled=True) for id in _DEFAULT_LLB_CAPS]
    build_opts = BuildOpts(
        opts=opts,
        session_id=session_id,
        workers=[WorkerInfo(id=w.id, labels=w.labels, platforms=w.platforms) for w in workers],
        product=product,
        llb_caps=LLB_CAPS.cap_set(llb_caps),
        caps=caps.CAPS.cap_set(frontend_caps),
    )
    return GrpcClient(conn, build_opts)


class GrpcClient:
    """A gateway `Client` of one build; made by `new`."""

    def __init__(self, conn: Conn, build_opts: BuildOpts) -> None:
        self._conn = conn
        self._opts = build_opts
        self._caps = build_opts.caps
        self._requests: dict[str, pb.SolveRequest] = {}
        self._forwarder: MessageForwarder | None = None

    def build_opts(self) -> BuildOpts:
        """What this build is about."""
        return self._opts

    async def run(self, ctx: Context, build_func: BuildFunc) -> None:
        """Run a frontend and return its result, or its error, to the daemon.

        Args:
            ctx: ends the calls; the frontend gets it.
            build_func: the frontend.

        Raises:
            BuildkitError: the frontend's error, or that of returning the result.
        """
        exporting = supported(self._caps, caps.CAP_RETURN_RESULT)
        try:
            result = await self._call(ctx, build_func)
            request = pb.ReturnRequest(result=self._result_pb(result or Result())) if exporting else None
        except BuildkitError as err:
            if exporting:
                await self._return_error(ctx, err)
            raise
        if request is not None:
            await self._conn.unary(ctx, methods.RETURN, request)
        elif result is not None:
            await self._final_solve(ctx, result)

    async def _call(self, ctx: Context, build_func: BuildFunc) -> Result | None:
        try:
            result = await build_func(ctx, self)
        finally:
            if self._forwarder is not None:
                await self._forwarder.release()
        if result is not None and result.refs is not None and len(result.refs) > 1:
            self._caps.supports(caps.CAP_RETURN_MAP)
        return result

    async def _return_error(self, ctx: Context, err: BuildkitError) -> None:
        status = grpcerrors.to_grpc(err).status_proto()
        try:
            await self._conn.unary(ctx, methods.RETURN, pb.ReturnRequest(error=status))
        except BuildkitError:
            return  # the frontend's own error is the one to report

    async def _final_solve(self, ctx: Context, result: Result) -> None:
        """End the build on a daemon without Return: repeat the solve of the result, marked as the last."""
        import base64

        from pybuildkit.golang.json import marshal

        request = pb.SolveRequest(Definition=ops_pb2.Definition())
        if isinstance(result.ref, GrpcReference) and result.ref.id:
            kept = self._requests.get(result.ref.id)
            if kept is None:
                raise BuildkitError(
                    f"failed to find return ref: did not find request for return reference {result.ref.id}"
                )
            request = kept
        request.Final = True
        metadata = {key: base64.b64encode(value).decode() for key, value in sorted(result.metadata.items())}
        request.ExporterAttr = marshal(metadata).encode()
        try:
            await self._conn.unary(ctx, methods.SOLVE, request)
        except BuildkitError as err:
            raise errors.wrap(err, "failed to solve") from err

    def _ref_pb(self, ref: Reference | None) -> pb.Ref:
        if ref is None:
            return pb.Ref()
        if not isinstance(ref, GrpcReference):
            raise BuildkitError(f"invalid return reference type {type(ref).__name__}")
        return ref.to_pb()

    def _result_pb(self, result: Result) -> pb.Result:
        message = pb.Result(metadata=result.metadata)
        arrays = supported(self._caps, caps.CAP_PROTO_REF_ARRAY)
        if result.refs is not None:
            refs = {key: self._ref_pb(ref) for key, ref in result.refs.items()}
            if arrays:
                message.refs.CopyFrom(pb.RefMap(refs=refs))
            else:
                message.refsDeprecated.CopyFrom(pb.RefMapDeprecated(refs={key: ref.id for key, ref in refs.items()}))
        elif arrays:
            message.ref.CopyFrom(self._ref_pb(result.ref))
        else:
            message.refDeprecated = self._ref_pb(result.ref).id
        for key, attestations in (result.attestations or {}).items():
            for attestation in attestations:
                message.attestations[key].attestation.append(self._attestation_pb(attestation))
        return message

    def _attestation_pb(self, attestation: Attestation) -> pb.Attestation:
        return pb.Attestation(
            kind=pb.AttestationKind.Name(attestation.kind),  # type: ignore[arg-type]  # the enum's name is accepted
            metadata=attestation.metadata,
            ref=self._ref_pb(attestation.ref),
            path=attestation.path,
            inTotoPredicateType=attestation.in_toto_predicate_type,
            inTotoSubjects=[
                pb.InTotoSubject(kind=pb.InTotoSubjectKind.Name(s.kind), name=s.name, digest=s.digest)  # type: ignore[arg-type]  # as above
                for s in attestation.in_toto_subjects
            ],
        )

    async def solve(self, ctx: Context, req: SolveRequest) -> Result:
        """Solve a definition, or with another frontend.

        Raises:
            CapError: when the definition needs what the daemon lacks.
            BuildkitError: the daemon's error.
        """
        if req.definition is not None:
            for metadata in req.definition.metadata.values():
                for cap in metadata.caps:
                    self._opts.llb_caps.supports(cap)
        request = self._solve_request(req)
        evaluate_after = req.evaluate and not request.Evaluate
        response = await self._conn.unary(ctx, methods.SOLVE, request)
        result = self._result_from(response, request)
        if evaluate_after:
            for ref in result.all_refs():
                await ref.stat_file(ctx, ".")
        return result

    def _solve_request(self, req: SolveRequest) -> pb.SolveRequest:
        frontend_opt = dict(req.frontend_opt)
        for key in ("cache-imports", "cache-from"):
            if key not in frontend_opt and key in self._opts.opts:
                frontend_opt[key] = self._opts.opts[key]
        request = pb.SolveRequest(
            Definition=req.definition,
            Frontend=req.frontend,
            FrontendOpt=frontend_opt,
            FrontendInputs=req.frontend_inputs,
            allowResultReturn=True,
            allowResultArrayRef=True,
            CacheImports=[pb.CacheOptionsEntry(Type=e.type, Attrs=e.attrs) for e in req.cache_imports],
            SourcePolicies=req.source_policies,
        )
        if not supported(self._caps, caps.CAP_RETURN_RESULT):
            request.ExporterAttr = b"{}"
        if req.evaluate and supported(self._caps, caps.CAP_GATEWAY_EVALUATE_SOLVE):
            request.Evaluate = True
        return request

    def _reference(self, ref: pb.Ref) -> GrpcReference | None:
        if not ref.id:
            return None
        definition = getattr(ref, "def") if ref.HasField("def") else None
        return GrpcReference(self._conn, self._caps, ref.id, definition)

    def _result_from(self, response: pb.SolveResponse, request: pb.SolveRequest) -> Result:
        result = Result()
        if not response.HasField("result"):
            if response.ref:
                self._requests[response.ref] = request
            result.set_ref(GrpcReference(self._conn, self._caps, response.ref))
            return result
        message = response.result
        result.metadata = dict(message.metadata)
        kind = message.WhichOneof("result")
        if kind == "refDeprecated":
            result.set_ref(self._reference(pb.Ref(id=message.refDeprecated)))
        elif kind == "refsDeprecated":
            for key, id in message.refsDeprecated.refs.items():
                result.add_ref(key, self._reference(pb.Ref(id=id)))
        elif kind == "ref":
            result.set_ref(self._reference(message.ref))
        elif kind == "refs":
            for key, ref in message.refs.refs.items():
                result.add_ref(key, self._reference(ref))
        for key, group in message.attestations.items():
            for attestation in group.attestation:
                result.add_attestation(key, self._attestation_from(attestation))
        return result

    def _attestation_from(self, message: pb.Attestation) -> Attestation:
        return Attestation(
            kind=message.kind,
            metadata=dict(message.metadata),
            ref=self._reference(message.ref),
            path=message.path,
            in_toto_predicate_type=message.inTotoPredicateType,
            in_toto_subjects=[
                InTotoSubject(kind=s.kind, name=s.name, digest=tuple(s.digest)) for s in message.inTotoSubjects
            ],
        )

    async def resolve_source_metadata(self, ctx: Context, op: ops_pb2.SourceOp, opt: Opt) -> MetaResponse:
        """What the daemon can tell about a source without fetching it whole."""
        from pybuildkit.frontend.gateway.grpcclient._resolve import resolve_source_metadata

        return await resolve_source_metadata(self._conn, self._caps, ctx, op, opt)

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        """Reference, digest and config of an image."""
        from pybuildkit.frontend.gateway.grpcclient._resolve import resolve_image_config

        return await resolve_image_config(self._conn, self._caps, ctx, ref, opt)

    async def inputs(self, ctx: Context) -> dict[str, State]:
        """The build graphs that the caller handed to the frontend, by name."""
        from pybuildkit.client import llb

        self._caps.supports(caps.CAP_FRONTEND_INPUTS)
        response = await self._conn.unary(ctx, methods.INPUTS, pb.InputsRequest())
        return {key: llb.new_state(llb.new_definition_op(value)) for key, value in response.Definitions.items()}

    async def warn(self, ctx: Context, digest: str, msg: str, opts: WarnOpts) -> None:
        """Show the user a warning about a step."""
        request = pb.WarnRequest(
            digest=digest,
            level=opts.level,
            short=msg.encode(),
            info=opts.source_info,
            ranges=opts.range,
            detail=opts.detail,
            url=opts.url,
        )
        await self._conn.unary(ctx, methods.WARN, request)

    async def new_container(self, ctx: Context, req: NewContainerRequest) -> Container:
        """Make a container from solved references.

        Raises:
            CapError: when the daemon runs no containers for frontends.
        """
        from pybuildkit.frontend.gateway.grpcclient._container import MessageForwarder, new_container

        self._caps.supports(caps.CAP_GATEWAY_EXEC)
        if self._forwarder is None:
            self._forwarder = MessageForwarder(self._conn)
        return await new_container(self._conn, self._caps, self._forwarder, ctx, req)
