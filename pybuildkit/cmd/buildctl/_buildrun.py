"""`build`, its last three steps: the display, the tasks, the end.

Mirrors the second half of buildAction of cmd/buildctl/build.go, v0.32.2.

The display runs on a context of its own, so that it still prints what has arrived when a build fails. Statuses reach
it through a chain of writers: solve and registry auth, each a writer of one multi-writer, then the tees of
`--progress-fd`, `--debug-json-cache-metrics` and `--trace`, then the printer.

Differs on purpose: a trace file or progress descriptor that takes no more data is logged as an error, once, and the
build goes on, and so does one whose reader of these goes away; `--progress-fd` is ours.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pybuildkit.cmd.buildctl import build
from pybuildkit.cmd.buildctl.common._std import Std
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang import context, errgroup, threads
from pybuildkit.golang.errors import BuildkitError, error_text, with_op
from pybuildkit.util import bklog
from pybuildkit.util.progress import FdOutput, progresswriter

if TYPE_CHECKING:
    from pybuildkit.client import Client, SolveOpt
    from pybuildkit.client.llb import Definition
    from pybuildkit.cmd.buildctl._build import Build
    from pybuildkit.cmd.buildctl._cachemetrics import CacheMetrics
    from pybuildkit.golang.context import Context
    from pybuildkit.util.progress.progresswriter import StatusChan, Writer

_SUBREQUEST_CAP = "moby.buildkit.frontend.subrequests"


class ProgressFdError(BuildkitError):
    """The descriptor of `--progress-fd` will not do."""


class BuildRun:
    """The running part of a build.

    Args:
        build: the command, with what its first steps have opened.
        client: the daemon.
        group, ctx: the error group and the context that ends when one of its tasks fails.
        opt, definition: what to solve.
    """

    def __init__(
        self,
        build: Build,
        client: Client,
        group: errgroup.Group,
        ctx: Context,
        opt: SolveOpt,
        definition: Definition | None,
    ) -> None:
        self.build = build
        self.c = build.c
        self.client = client
        self.group = group
        self.ctx = ctx
        self.opt = opt
        self.definition = definition
        self.sub_metadata: dict[str, bytes] = {}
        self.is_sub_request = "requestid" in opt.frontend_attrs
        self.metrics_group = errgroup.Group()
        self.metrics: CacheMetrics | None = None

    async def run(self) -> None:
        """Steps 10 to 12."""
        self._check_progress_fd()
        display = progresswriter.new_printer(context.background(), self.c.stderr, self.c.string("progress"))
        writer = await self._tee_trace(display)
        writer = await self._tee_progress_fd(writer)
        writer = await self._tee_metrics(writer)
        multi = progresswriter.MultiWriter(writer)
        loggers = self._connect_loggers(multi)
        status = progresswriter.reset_time(multi.with_prefix("", False)).status()

        async def solve() -> None:
            try:
                await self._solve(status)
            finally:
                for logger in loggers:
                    logger.status().close()

        async def wait_for_display() -> None:
            await display.wait()
            err = display.err()
            if err is not None:
                raise err

        await self.group.go(solve)
        await self.group.go(wait_for_display)
        try:
            await self.group.wait()
            self._print_sub_request()
        finally:
            await self.metrics_group.wait()
            await self._write_metrics()

    async def _tee_trace(self, writer: Writer) -> Writer:
        """Append every status to the trace file, as a line of JSON."""
        trace = self.build.trace
        return writer if trace is None else await self._tee_json(writer, trace.fileno(), self.c.string("trace"))

    def _check_progress_fd(self) -> None:
        """Raise where `--progress-fd` cannot be written to, or would be mixed with the display.

        Raises:
            OSError: it is no open descriptor.
            ProgressFdError: it is open for reading alone, or goes where the display goes.
        """
        fd = self.c.int("progress-fd")
        if not self.c.is_set("progress-fd"):
            return
        try:
            found = os.fstat(fd)
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, f"--progress-fd {fd}"), "fstat") from err
        except OverflowError:
            raise ProgressFdError(f"--progress-fd {fd} is no file descriptor") from None
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise ProgressFdError(f"--progress-fd {fd} is not open for writing")
        mode = self.c.string("progress")
        if mode == "auto":
            mode = os.environ.get("BUILDKIT_PROGRESS") or mode
        if mode != "quiet" and _is_same_output(fd, found, self.c.stderr.fd):
            raise ProgressFdError(
                f"--progress-fd {fd} is where the display goes; use another one, or --progress=rawjson"
            )

    async def _tee_progress_fd(self, writer: Writer) -> Writer:
        """Write every status to the descriptor of `--progress-fd`."""
        fd = self.c.int("progress-fd")
        if not self.c.is_set("progress-fd"):
            return writer
        return await self._tee_json(writer, fd, f"--progress-fd {fd}")

    async def _tee_json(self, writer: Writer, fd: int, name: str) -> Writer:
        trace = progresswriter.TraceWriter(Std(fd) if fd <= 2 else FdOutput(fd), name)
        await self.group.go(trace.run)
        return progresswriter.tee(writer, trace.channel)

    async def _tee_metrics(self, writer: Writer) -> Writer:
        """Count what came from the cache."""
        out = self.build.metrics
        if out is None:
            return writer
        from pybuildkit.cmd.buildctl._cachemetrics import CacheMetrics

        name = self.c.string("debug-json-cache-metrics")
        bklog.L.info(f"writing JSON cache metrics to {f'/dev/{name}' if isinstance(out, Std) else name}")
        metrics = self.metrics = CacheMetrics()
        channel = progresswriter.StatusChan()

        async def count() -> None:
            async for status in channel:
                metrics.update(status)

        await self.metrics_group.go(count)
        return progresswriter.tee(writer, channel)

    def _connect_loggers(self, multi: progresswriter.MultiWriter) -> list[Writer]:
        """Give each service that shows what it does a writer of its own."""
        writers: list[Writer] = []
        for attachable in self.opt.session:
            set_logger = getattr(attachable, "set_logger", None)
            if set_logger is not None:
                writers.append(multi.with_prefix("", False))
                set_logger(progresswriter.logger(writers[-1]))
        return writers

    async def _solve(self, status: StatusChan) -> None:
        """Solve through the gateway, log the exporters' answers and write the metadata file."""
        request = gateway.SolveRequest(
            frontend=self.opt.frontend,
            frontend_opt=self._frontend_opt(),
            cache_imports=[
                gateway.CacheOptionsEntry(type=entry.type, attrs=entry.attrs) for entry in self.opt.cache_imports
            ],
            definition=self.definition.to_pb() if self.definition is not None else None,
        )

        async def build_func(ctx: Context, client: gateway.Client) -> gateway.Result | None:
            result = await client.solve(ctx, request)
            if self.is_sub_request and result is not None:
                self.sub_metadata = dict(result.metadata)
            return result

        response = await self.client.build(self.ctx, self.opt, "buildctl", build_func, status)
        if bklog.get_level() <= bklog.DEBUG:
            self._log_response(response.exporter_response)
        name = self.c.string("metadata-file")
        if name and response.exporter_response:
            exporter_response = response.exporter_response
            await threads.call(self.ctx, lambda: build.write_metadata_file(name, exporter_response))

    def _frontend_opt(self) -> dict[str, str]:
        attrs = dict(self.opt.frontend_attrs)
        if self.is_sub_request:
            attrs.setdefault("frontend.caps", _SUBREQUEST_CAP)
        return attrs

    def _log_response(self, response: Mapping[str, str]) -> None:
        """Log the exporters' answers, under ids such as tracing gives."""
        logger = bklog.L.with_fields(traceID=os.urandom(16).hex(), spanID=os.urandom(8).hex())
        for key, value in sorted(response.items()):
            logger.debug(f"exporter response: {key}={value}")

    def _print_sub_request(self) -> None:
        """Print what a sub-request answered: its text, cleaned for a terminal, or else every form of it."""
        text = self.sub_metadata.get("result.txt")
        if text is not None:
            if self.c.stdout.isatty():
                from pybuildkit.util.progress.progressui._clean import clean_log

                text = clean_log(text)
            self.c.stdout.write(text)
            return
        for key, value in sorted(self.sub_metadata.items()):
            if key.startswith("result."):
                self.c.stdout.write(key.encode() + b"\n" + value + b"\n")

    async def _write_metrics(self) -> None:
        """Write the counts, after everything else."""
        if self.metrics is None or self.build.metrics is None:
            return
        duration_ms = int((time.monotonic() - self.build.started) * 1000)
        report = self.metrics.report(duration_ms).encode()
        out = self.build.metrics
        try:
            out.write(report)
        except OSError as err:
            bklog.L.error(f"cache metrics: {error_text(err)}")


def _is_same_output(fd: int, found: os.stat_result, other: int) -> bool:
    """Whether two descriptors lead to the same place, and to one where it matters (not to /dev/null)."""
    if fd != other:
        try:
            if not os.path.samestat(found, os.fstat(other)):
                return False
        except OSError:
            return False
    return not stat.S_ISCHR(found.st_mode) or os.isatty(fd)
