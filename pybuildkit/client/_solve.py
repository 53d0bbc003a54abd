"""Solving: one session, one Control.Solve, one status stream, in one error group.

Mirrors client/solve.go, v0.32.2.

Order: the options are checked and the services registered; then, side by side, the session runs, Control.Solve is
called (with the gateway callback beside it, if there is one), and Control.Status is followed. When Solve has
answered the session is closed, and the status stream may bring its last messages for at most five seconds.

Differs on purpose:
- the five seconds are counted from Solve's answer, whatever still arrives; 0.7 s where the caller gave up;
- a session that breaks fails the solve (Go waits for the daemon for ever);
- when nothing at all has arrived for ten seconds the connection is probed with a PING, and given up five seconds
  after one that is not answered;
- where the connection is lost, a warning tells what was under way;
- an export that broke on this side, or never came, is the solve's error although the daemon may say otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from pybuildkit import identity
from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._cacheopts import CacheOptions, parse_cache_options, reset_cache_store
from pybuildkit.client._exports import ExportPlan, plan_exports
from pybuildkit.client._received import STATUS
from pybuildkit.client._solveopt import SolveResponse
from pybuildkit.golang import context, errgroup, errors, threads
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session import Session, SessionClosedError, filesync
from pybuildkit.session.filesync import ExportError
from pybuildkit.util import bklog, grpcerrors

if TYPE_CHECKING:
    from pybuildkit.client._client import Client
    from pybuildkit.client._graph import SolveStatus
    from pybuildkit.client._solveopt import SolveOpt
    from pybuildkit.client.llb import Definition
    from pybuildkit.golang.chan import Chan
    from pybuildkit.golang.context import Context
    from pybuildkit.solver.pb import ops_pb2
    from pybuildkit.third_party.fsutil import FS

STATUS_SECONDS = 5.0
"""How long the status stream may go on after Solve has answered."""
GIVE_UP_SECONDS = 0.7
"""The same, where the caller has cancelled the solve."""
GATEWAY_SECONDS = 5.0
"""How long a failed gateway callback waits for Solve to fail with the reason."""
IDLE_SECONDS = 10.0
"""Silence of the daemon after which the connection is probed."""
PING_SECONDS = 5.0
"""How long the answer to a probe may take."""
SETTLE_SECONDS = 1.0
"""How long a broken session waits for the call that tells why."""

_SEPARATORS = frozenset("\n\r\0")

Sources = filesync.FSSyncProvider | None
RunGateway = Callable[["Context", str, Session, Mapping[str, str]], Awaitable[None]]


def check_definition(definition: Definition | None, opt: SolveOpt) -> None:
    """Refuse a solve with neither or both of a definition and a frontend."""
    if not opt.frontend and definition is None:
        raise BuildkitError("invalid empty definition")
    if opt.frontend and definition is not None:
        raise BuildkitError(f"invalid definition for frontend {opt.frontend}")


def check_texts(opt: SolveOpt) -> None:
    """Refuse a value that is no text where the daemon gets texts, by its name: a program may have no type checker.

    Raises:
        BuildkitError: 'frontend attribute "build-arg:N" is of type int, not str', and the like.
    """
    named = [("frontend attribute", opt.frontend_attrs)]
    named += [(f"attribute of the {entry.type} export", entry.attrs) for entry in opt.exports]
    named += [
        (f"attribute of the {entry.type} cache", entry.attrs) for entry in (*opt.cache_exports, *opt.cache_imports)
    ]
    for what, attrs in named:
        for name, value in attrs.items():
            if not isinstance(value, str):
                raise BuildkitError(f"{what} {quote(name)} is of type {type(value).__name__}, not str")


async def solve(
    client: Client,
    ctx: Context,
    definition: ops_pb2.Definition | None,
    run_gateway: RunGateway | None,
    opt: SolveOpt,
    status: Chan[SolveStatus] | None,
) -> SolveResponse:
    """Run one solve to its end.

    Args:
        client: the daemon.
        ctx: cancels the solve; the daemon is told, and what it still says is taken for 0.7 s.
        definition: the graph, or None.
        run_gateway: the frontend in this process, or None.
        opt: what to do.
        status: receives the status messages, and is waited for until `ctx` ends; closing it is the caller's part.

    Raises:
        BuildkitError: the first error of the solve's tasks, such as "failed to solve: …".

    Cancelling the awaiting task has the same effect as cancelling `ctx`, without the grace.
    """
    check_texts(opt)
    synced = prepare_synced_files(definition, opt.local_mounts)
    session = opt.shared_session
    if session is None:
        if opt.session_pre_initialized:
            raise BuildkitError("no session provided for preinitialized option")
        session = Session(opt.shared_key)
    cache = parse_cache_options(opt, run_gateway is not None, _warn)
    plan = ExportPlan()
    sources = None
    if not opt.session_pre_initialized:
        plan = plan_exports(opt, cache.content_stores)
        sources = _register(session, opt, synced, plan)
    run = _Run(client, ctx, session, opt, cache, plan, status)
    run.sources = sources
    response = await run.run(definition, run_gateway)
    await threads.call(ctx, lambda: _finish_stores(response, cache, plan))
    return response


def _warn(text: str) -> None:
    """Log a warning under ids such as tracing gives."""
    bklog.L.with_fields(traceID=os.urandom(16).hex(), spanID=os.urandom(8).hex()).warning(text)


def prepare_synced_files(definition: ops_pb2.Definition | None, mounts: Mapping[str, FS]) -> filesync.StaticDirSource:
    """The file systems to offer: all of them, or those that a definition names, with owners set to 0.

    Raises:
        BuildkitError: "local directory NAME not enabled", "failed to parse llb proto op: …"; a name that no request
            header can carry, or what is no file system.
    """
    from pybuildkit.third_party import fsutil

    def reset_owner(path: bytes, stat: fsutil.Stat) -> fsutil.MapResult:
        stat.uid = stat.gid = 0
        return fsutil.MapResult.KEEP

    names = list(mounts) if definition is None else _local_names(definition)
    result = filesync.StaticDirSource()
    for name in names:
        if name not in mounts:
            raise BuildkitError(f"local directory {name} not enabled")
        if definition is not None and not _SEPARATORS.isdisjoint(name):
            raise BuildkitError(f"local directory {quote(name)} cannot be sent: no daemon can ask for such a name")
        if not hasattr(mounts[name], "walk"):
            kind = type(mounts[name]).__name__
            raise BuildkitError(
                f"local directory {name} is of type {kind}, not a file system such as fsutil.new_fs makes"
            )
        result[name] = fsutil.new_filter_fs(mounts[name], fsutil.FilterOpt(map=reset_owner))
    return result


def _local_names(definition: ops_pb2.Definition) -> list[str]:
    from google.protobuf.message import DecodeError

    from pybuildkit.solver.pb import ops_pb2

    names = []
    for data in getattr(definition, "def"):
        try:
            op = ops_pb2.Op.FromString(data)
        except DecodeError as err:
            raise errors.wrap(err, "failed to parse llb proto op") from err
        if op.WhichOneof("op") == "source" and op.source.identifier.startswith("local://"):
            names.append(op.source.identifier.removeprefix("local://"))
    return names


def _register(session: Session, opt: SolveOpt, synced: filesync.StaticDirSource, plan: ExportPlan) -> Sources:
    """Offer the services; the one that sends local sources, if there is one."""
    sources = filesync.new_fs_sync_provider(synced) if synced else None
    if sources is not None:
        session.allow(sources)
    for attachable in opt.session:
        session.allow(attachable)
    if plan.content_stores:
        from pybuildkit.session import content

        session.allow(content.new_attachable(plan.content_stores))
    if plan.sync_target is not None:
        session.allow(plan.sync_target)
    if opt.source_policy_provider is not None:
        session.allow(opt.source_policy_provider)
    return sources


class _Run:
    """The tasks of one solve and what they share."""

    def __init__(
        self,
        client: Client,
        ctx: Context,
        session: Session,
        opt: SolveOpt,
        cache: CacheOptions,
        plan: ExportPlan,
        status: Chan[SolveStatus] | None,
    ) -> None:
        self._client = client
        self._session = session
        self._opt = opt
        self._cache = cache
        self._plan = plan
        self._status = status
        self.sources: Sources = None
        self._ref = opt.ref or identity.new_id()
        self._outer = ctx
        self._group, self._ctx = errgroup.with_context(ctx)
        self._status_ctx, self._cancel_status = context.with_cancel_cause(context.background())
        self._reader, self._leave_reader = context.with_cancel_cause(context.background())
        self._solve_ctx, self._cancel_solve = context.with_cancel_cause(self._ctx)
        self._open_tasks = 2
        self._solved = asyncio.Event()
        self._response: SolveResponse | None = None
        # Solve's error where it is the first one: while the session is closed, others may overtake it.
        self._failure: BuildkitError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._frontend_attrs = {**opt.frontend_attrs, **cache.frontend_attrs}

    async def run(self, definition: ops_pb2.Definition | None, run_gateway: RunGateway | None) -> SolveResponse:
        """Start the tasks, wait for all of them, and judge the exports."""
        stop = context.after_func(self._outer, self._give_up)
        if self._plan.sync_target is not None:
            context.after_func(self._ctx, self._plan.sync_target.abandon)
        try:
            if not self._opt.session_pre_initialized:
                await self._group.go(self._run_session)
            await self._group.go(lambda: self._solve(definition))
            if run_gateway is not None:
                await self._group.go(lambda: self._run_gateway(run_gateway))
            await self._group.go(self._follow_status)
            await self._group.go(self._watch_connection)
            await self._group.wait()
        except BuildkitError as err:
            explained = self._explain(self._failure or err)
            self._warn_of_loss(explained)
            self._warn_of_incomplete(explained)
            raise explained from err
        finally:
            stop()
            if self._timer is not None:
                self._timer.cancel()
            self._cancel_status(None)
        assert self._response is not None
        self._check_exports()
        return self._response

    def _explain(self, err: BuildkitError) -> BuildkitError:
        """The error to report: an export that broke on this side tells more than what the daemon made of it."""
        failure = self._plan.sync_target.failure() if self._plan.sync_target is not None else None
        if failure is None or self._outer.is_done():
            return err
        return errors.wrap(failure, "failed to solve")

    def _warn_of_loss(self, err: BuildkitError) -> None:
        """Where the connection that there was is lost: what was under way."""
        told = errors.find(err, RpcError)
        lost = told is not None and told.code == Code.UNAVAILABLE and not told.message.startswith("connection error:")
        if not lost or self._outer.is_done():
            return
        sent = self.sources.interrupted if self.sources is not None else []
        received = self._plan.sync_target.interrupted() if self._plan.sync_target is not None else []
        doing = [f"local source {name} was sent" for name in sent]
        doing += [f"the {self._opt.exports[id].type} export was received" for id in received]
        bklog.L.warning("the connection was lost while " + (" and ".join(doing) or "the daemon was building"))

    def _warn_of_incomplete(self, err: BuildkitError) -> None:
        """Name the directories that hold part of an export, where the error does not."""
        for outdir in self._plan.sync_target.incomplete() if self._plan.sync_target is not None else ():
            text = f"local export to {outdir} is incomplete"
            if text not in errors.error_text(err):
                bklog.L.warning(text)

    def _check_exports(self) -> None:
        target = self._plan.sync_target
        if target is None:
            return
        failure = target.failure()
        if failure is not None:
            raise errors.wrap(failure, "failed to export")
        for missing in target.missing():
            entry = self._opt.exports[missing.id]
            where = f" for {missing.outdir}" if missing.outdir else ""
            raise ExportError(f"daemon reported success but sent no whole {entry.type} export{where}")

    async def _run_session(self) -> None:
        try:
            await self._session.run(self._status_ctx, self._client.session_dialer())
        except SessionClosedError:
            # The other calls of a lost connection fail at once and say more; the first error is the group's.
            await wait_at_most(self._solve_ctx, SETTLE_SECONDS)
            raise

    async def _solve(self, definition: ops_pb2.Definition | None) -> None:
        try:
            request = await self._request(definition)
            try:
                answer = await self._client.unary(self._solve_ctx, control.SOLVE, request)
            except BuildkitError as err:
                failure = errors.wrap(err, "failed to solve")
                if self._ctx.cause() is self._outer.cause():  # no other task has failed
                    self._failure = failure
                raise failure from err
            self._response = SolveResponse(exporter_response=dict(answer.ExporterResponse))
        finally:
            self._end_status_in(GIVE_UP_SECONDS if self._outer.is_done() else STATUS_SECONDS)
            try:
                if not self._opt.session_pre_initialized:
                    await self._close_session()
            finally:
                self._cancel_solve(None)
                self._solved.set()  # last: a gateway callback that has failed waits for it, to fail after Solve
                self._task_ended()

    async def _close_session(self) -> None:
        """End the session; where the caller gave up, a daemon that does not end it too is not waited for."""
        if not self._outer.is_done():
            await self._session.close()
            return
        try:
            await asyncio.wait_for(self._session.close(), GIVE_UP_SECONDS)
        except TimeoutError:
            self._cancel_status(None)

    def _give_up(self) -> None:
        """The caller has given up: what still comes is taken for a moment, and so is who reads the statuses."""
        self._end_status_in(GIVE_UP_SECONDS)
        context.after_func(self._status_ctx, lambda: self._leave_reader(None))

    def _end_status_in(self, seconds: float) -> None:
        """End the status stream so many seconds from now, unless an earlier end is set."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._cancel_status, None)

    async def _request(self, definition: ops_pb2.Definition | None) -> control_pb2.SolveRequest:
        opt = self._opt
        inputs = {}
        for name, state in opt.frontend_inputs.items():
            inputs[name] = (await state.marshal(self._ctx)).to_pb()
        first = opt.exports[0] if opt.exports else None
        request = control_pb2.SolveRequest(
            Ref=self._ref,
            Definition=definition,
            Exporters=[control_pb2.Exporter(Type=entry.type, Attrs=entry.attrs) for entry in opt.exports],
            ExporterDeprecated=first.type if first is not None else "",
            ExporterAttrsDeprecated=first.attrs if first is not None else {},
            EnableSessionExporter=opt.enable_session_exporter,
            Session=self._session.id(),
            Frontend=opt.frontend,
            FrontendAttrs=self._frontend_attrs,
            FrontendInputs=inputs,
            Cache=control_pb2.CacheOptions(Exports=self._cache.exports, Imports=self._cache.imports),
            Entitlements=opt.allowed_entitlements,
            Internal=opt.internal,
            CompatibilityVersion=opt.compatibility_version,
            SourcePolicy=opt.source_policy,
            ProxyNetwork=opt.proxy_network,
        )
        if opt.source_policy_provider is not None:
            request.SourcePolicySession = self._session.id()
        return request

    async def _run_gateway(self, run_gateway: RunGateway) -> None:
        try:
            await run_gateway(self._ctx, self._ref, self._session, self._frontend_attrs)
        except BuildkitError:
            # Solve fails too, with the reason as the daemon sees it: give it the time to be first.
            try:
                await asyncio.wait_for(self._solved.wait(), GATEWAY_SECONDS)
            except TimeoutError:
                self._cancel_solve(None)
            raise

    async def _follow_status(self) -> None:
        request = control_pb2.StatusRequest(Ref=self._ref)
        try:
            try:
                stream = await self._client.stream(self._status_ctx, STATUS)
                await stream.send(request)
                await stream.close_send()
            except RpcError as err:
                if self._status_ctx.is_done():
                    return
                raise errors.wrap(grpcerrors.to_grpc(err), "failed to get status") from err
            try:
                while statuses := await stream.recv_many():
                    if self._status is not None:
                        await context.run(self._reader, self._status.send_many(statuses))
            except RpcError as err:
                if err.code == Code.CANCELLED or self._status_ctx.is_done() or self._outer.is_done():
                    return  # where the caller has given up, that is the first error
                raise errors.wrap(err, "failed to receive status") from err
            finally:
                stream.cancel()
        except context.CanceledError:
            return
        finally:
            self._task_ended()

    def _task_ended(self) -> None:
        self._open_tasks -= 1
        if self._open_tasks == 0:
            self._cancel_status(None)

    async def _watch_connection(self) -> None:
        """Probe a silent connection; ends when Solve and Status have.

        The silence is counted from the solve's start at the earliest. Of several solves on one connection only one
        probes it at a time: a daemon refuses frequent pings.
        """
        loop = asyncio.get_running_loop()
        channel = self._client.channel
        started = loop.time()
        while True:
            quiet = loop.time() - max(channel.last_activity, started)
            if quiet < IDLE_SECONDS:
                if await wait_at_most(self._status_ctx, IDLE_SECONDS - quiet):
                    return
                continue
            async with self._client.probing:
                if loop.time() - max(channel.last_activity, started) >= IDLE_SECONDS and await self._probe():
                    return

    async def _probe(self) -> bool:
        """Ask the daemon for a sign of life; whether the watch is over.

        Raises:
            BuildkitError: there is none.
        """
        ping_ctx, stop = context.with_timeout(self._status_ctx, PING_SECONDS)
        try:
            await self._client.channel.ping(ping_ctx)
        except BuildkitError as err:
            if self._status_ctx.is_done() or self._client.channel.closed:
                return True
            silence = f"the daemon has been silent for {IDLE_SECONDS + PING_SECONDS:.0f}s"
            text = f"keepalive ping failed to receive ACK within timeout: {silence}"
            lost = RpcError(Code.UNAVAILABLE, text)
            self._cancel_status(lost)
            raise errors.wrap(lost, "failed to solve") from err
        finally:
            stop()
        return False


async def wait_at_most(ctx: Context, seconds: float) -> bool:
    """Wait for the context's end, but no longer; whether it has ended."""
    try:
        await asyncio.wait_for(ctx.done(), seconds)
    except TimeoutError:
        return False
    return True


def _finish_stores(response: SolveResponse, cache: CacheOptions, plan: ExportPlan) -> None:
    """Name what was exported in the index files of its stores; blocking."""
    from pybuildkit.client import ociindex

    values = response.exporter_response
    if values.get("cache.manifest"):
        descriptor = _descriptor(values["cache.manifest"])
        for folder, tag in cache.stores_to_update.items():
            ociindex.new_store_index(folder).put(descriptor, ociindex.tag(tag))
    image = values.get("containerimage.descriptor")
    if image:
        try:
            text = base64.b64decode(image, validate=True)
        except binascii.Error as err:
            raise BuildkitError(f"invalid containerimage.descriptor in the daemon's answer: {err}") from err
        descriptor = _descriptor(text)
        for folder in plan.stores_to_update:
            names = [ociindex.tag("latest")]
            if "image.name" in values:
                names = [ociindex.name(part) for part in values["image.name"].split(",")]
            ociindex.new_store_index(folder).put(descriptor, *names)
    for folder, store in cache.stores_to_reset:
        try:
            reset_cache_store(store, folder)
        except (BuildkitError, OSError) as err:
            bklog.L.with_fields(error=errors.error_text(err)).warning("failed to reset cache store")


def _descriptor(text: str | bytes) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as err:
        raise BuildkitError(f"invalid descriptor in the daemon's answer: {err}") from err
    if not isinstance(value, dict):
        raise BuildkitError("invalid descriptor in the daemon's answer: not an object")
    return value
