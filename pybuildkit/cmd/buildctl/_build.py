"""`build`: from the flags to one solve, its display and its files.

Mirrors buildAction of cmd/buildctl/build.go, v0.32.2, and the deprecated flags of v0.7.0. The order of the steps is
part of the contract: of several mistakes on a command line, the one of the earlier step is reported.

    1  the client                              7  the error group
    2  trace file, cache-metrics file          8  --opt, --local, --oci-layout
    3  registry auth, ssh, secrets             9  the definition on standard input, or the frontend
    4  --allow                                10  the reference's file, the display
    5  outputs                                11  the tasks: solve, trace, display (`_buildrun`)
    6  caches, source policy                  12  the end: the first error, or a sub-request's result

Differs on purpose: the group's context stops the solve when another task fails (v0.32.2 shadows it); SIGHUP ends a
build as SIGTERM does; a FIFO or a slow pipe as standard input does not keep signals from working; special files,
`--registry-auth-allow` and `--progress-fd` are ours.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from pybuildkit import identity
from pybuildkit.client import SolveOpt
from pybuildkit.cmd.buildctl import build
from pybuildkit.cmd.buildctl.common._std import Std
from pybuildkit.golang import errgroup, threads
from pybuildkit.golang.errors import BuildkitError, error_text, wrap
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pybuildkit.client import CacheOptionsEntry, Client, ExportEntry
    from pybuildkit.client.llb import Definition
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Attachable
    from pybuildkit.sourcepolicy.pb.policy_pb2 import Policy
    from pybuildkit.third_party.docker_config import ConfigFile


class BuildError(BuildkitError):
    """The command line does not make a build."""


def build_action(c: CommandContext) -> None:
    """Run a build; returns when it has succeeded and everything is written.

    Raises:
        BuildkitError, OSError: what went wrong first. Nothing half-written is left then.
    """
    runner = asyncio.Runner()
    try:
        runner.run(_main(c))
    finally:
        runner.close()


async def _main(c: CommandContext) -> None:
    from pybuildkit.cmd.buildctl.common._signals import app_context

    with app_context() as ctx:
        async with AsyncExitStack() as stack:
            await Build(c, ctx, stack).run()


class Build:
    """One run of the command.

    Args:
        c: the flags.
        ctx: ends with the first signal.
        stack: closes what the steps have opened, when the command ends.
    """

    def __init__(self, c: CommandContext, ctx: Context, stack: AsyncExitStack) -> None:
        self.c = c
        self.ctx = ctx
        self.stack = stack
        self.started = time.monotonic()
        self.ref = identity.new_id()
        self.trace: IO[bytes] | None = None
        self.metrics: IO[bytes] | Std | None = None

    async def run(self) -> None:
        """The twelve steps."""
        client = await self.resolve_client()
        self.open_files()
        attachables = self.attachables()
        build.validate_allow(self.c.string_slice("allow"))
        exports = self.exports()
        cache_exports, cache_imports = self.caches()
        source_policy = self.source_policy()
        group, group_ctx = errgroup.with_context(self.ctx)
        opt = SolveOpt(
            exports=exports,
            frontend=self.c.string("frontend"),
            cache_exports=cache_exports,
            cache_imports=cache_imports,
            session=attachables,
            allowed_entitlements=self.c.string_slice("allow"),
            source_policy=source_policy,
            proxy_network=self.c.bool("proxy-network"),
            ref=self.ref,
        )
        opt = self.inputs(opt)
        definition, opt = await self.definition(opt)
        self.write_ref_at_the_end()
        from pybuildkit.cmd.buildctl._buildrun import BuildRun

        await BuildRun(self, client, group, group_ctx, opt, definition).run()

    async def resolve_client(self) -> Client:
        """Step 1: address, TLS, timeout; nothing is dialled yet, unless `--wait` is given."""
        from pybuildkit.cmd.buildctl.common import resolve_client

        client = await resolve_client(self.ctx, self.c)
        self.stack.push_async_callback(client.close)
        return client

    def open_files(self) -> None:
        """Step 2: the trace file, to append to, then the cache-metrics file."""
        name = self.c.string("trace")
        if name:
            self.trace = self._open(name, os.O_APPEND)
        match self.c.string("debug-json-cache-metrics"):
            case "":
                pass
            case "stdout":
                self.metrics = self.c.stdout
            case "stderr":
                self.metrics = self.c.stderr
            case metrics:
                self.metrics = self._open(metrics, os.O_TRUNC)
        if name:
            bklog.L.info(f"tracing logs to {name}")

    def _open(self, name: str, flags: int) -> IO[bytes]:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        return self.stack.enter_context(os.fdopen(fd, "wb", buffering=0))

    def attachables(self) -> list[Attachable]:
        """Step 3: what the daemon may ask for: registry credentials, then ssh agents, then secrets."""
        from pybuildkit.session.auth import authprovider

        config = self._docker_config()
        tls_configs = build.parse_registry_auth_tls_context(self.c.string_slice("registry-auth-tlscontext"))
        attachables: list[Attachable] = [
            authprovider.new_docker_auth_provider(
                authprovider.DockerAuthProviderConfig(
                    auth_config_provider=authprovider.load_auth_config(config),
                    tls_configs=tls_configs,
                    allow_hosts=self.c.string_slice("registry-auth-allow"),
                )
            )
        ]
        if ssh := self.c.string_slice("ssh"):
            from pybuildkit.session.sshforward import sshprovider

            attachables.append(sshprovider.new_ssh_agent_provider(build.parse_ssh(ssh)))
        if secrets := self.c.string_slice("secret"):
            attachables.append(build.parse_secret(secrets))
        return attachables

    def _docker_config(self) -> ConfigFile:
        """Docker's configuration; what is wrong with it is printed, and is no error."""
        from pybuildkit.third_party.docker_config import load_default_config_file

        warnings = io.StringIO()
        config = load_default_config_file(warnings)
        self.c.stderr.write(warnings.getvalue())
        return config

    def exports(self) -> list[ExportEntry]:
        """Step 5: `--output`, or the deprecated `--exporter`; what is not whole at the end is removed."""
        outputs = self.c.string_slice("output")
        exporter = self.c.string("exporter")
        if exporter:
            bklog.L.warning(
                "--exporter <exporter> is deprecated. Please use --output type=<exporter>[,<opt>=<optval>] instead."
            )
            if outputs:
                raise BuildError("--exporter cannot be used with --output")
            exports = build.parse_legacy_exporter(exporter, self.c.string_slice("exporter-opt"))
        else:
            exports = build.parse_output(outputs)
        for entry in exports:
            if isinstance(entry.output, build.FileOutput):
                self.stack.callback(entry.output.abort)
        return exports

    def caches(self) -> tuple[Sequence[CacheOptionsEntry], Sequence[CacheOptionsEntry]]:
        """Step 6, first half: `--export-cache` with `--export-cache-opt`, then `--import-cache`."""
        exports = build.parse_export_cache(self.c.string_slice("export-cache"), self.c.string_slice("export-cache-opt"))
        return exports, build.parse_import_cache(self.c.string_slice("import-cache"))

    def source_policy(self) -> Policy | None:
        """Step 6, second half: `--source-policy-file`."""
        name = self.c.string("source-policy-file")
        return build.read_source_policy(name) if name else None

    def inputs(self, opt: SolveOpt) -> SolveOpt:
        """Step 8: `--opt` with `--frontend-opt`, `--local`, `--oci-layout`."""
        try:
            attrs = build.parse_opt(self.c.string_slice("opt"), self.c.string_slice("frontend-opt"))
        except (BuildkitError, OSError) as err:
            raise wrap(err, "invalid opt") from err
        try:
            mounts = build.parse_local(self.c.string_slice("local"))
        except (BuildkitError, OSError) as err:
            raise wrap(err, "invalid local") from err
        try:
            stores = build.parse_oci_layout(self.c.string_slice("oci-layout"))
        except (BuildkitError, OSError) as err:
            raise wrap(err, "invalid oci-layout") from err
        return replace(opt, frontend_attrs=attrs, local_mounts=mounts, oci_stores=stores)

    async def definition(self, opt: SolveOpt) -> tuple[Definition | None, SolveOpt]:
        """Step 9: without a frontend, the definition on standard input; with one, `--no-cache` as its attribute."""
        no_cache = self.c.bool("no-cache")
        if opt.frontend:
            return None, replace(opt, frontend_attrs={**opt.frontend_attrs, "no-cache": ""}) if no_cache else opt
        if stat.S_ISCHR(os.fstat(0).st_mode):
            raise BuildError("please specify --frontend or pipe LLB definition to stdin")
        data = await threads.call(self.ctx, _read_stdin)
        definition = parse_definition(data, no_cache=no_cache)
        if not definition.def_:
            raise BuildError("empty definition sent to build. Specify --frontend instead?")
        return definition, opt

    def write_ref_at_the_end(self) -> None:
        """Step 10, first half: from here on the reference is written, however the build ends."""
        name = self.c.string("ref-file")
        if name:
            self.stack.callback(_write_ref, name, self.ref)


def _read_stdin() -> bytes:
    """All of standard input; raises OSError."""
    with os.fdopen(0, "rb", closefd=False) as file:
        return file.read()


def parse_definition(data: bytes, *, no_cache: bool) -> Definition:
    """The LLB definition in the bytes, every op of it marked to be run anew where asked.

    Raises:
        WrappedError: the bytes hold no definition, or an op that is none.
    """
    from pybuildkit.client.llb import Definition, OpMetadata

    try:
        definition = Definition.from_bytes(data)
    except BuildkitError as err:
        raise wrap(err, "failed to parse input") from err
    if no_cache:
        for digest, _ in definition.ops():
            definition.metadata.setdefault(digest, OpMetadata()).ignore_cache = True
    return definition


def _write_ref(name: str, ref: str) -> None:
    """Write the reference; as in BuildKit a file that cannot be written is no error."""
    from pybuildkit.third_party.continuity import atomic_write_file

    try:
        atomic_write_file(name, ref.encode())
    except OSError as err:
        bklog.L.debug(f"could not write the reference: {error_text(err)}")
