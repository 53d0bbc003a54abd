"""The gateway client's interface and value types.

Mirrors frontend/gateway/client/client.go and solver/result/{result,attestation}.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.client.llb import State
    from pybuildkit.client.llb.sourceresolver import MetaResponse, Opt
    from pybuildkit.golang.context import Context
    from pybuildkit.solver.pb import ops_pb2
    from pybuildkit.sourcepolicy.pb.policy_pb2 import Policy
    from pybuildkit.third_party.fsutil.types.stat_pb2 import Stat
    from pybuildkit.util.apicaps import CapSet


@dataclass(frozen=True, kw_only=True)
class WorkerInfo:
    """A worker, as a frontend sees it."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: Sequence[object] = ()


@dataclass(frozen=True, kw_only=True)
class BuildOpts:
    """What a frontend is told about its build.

    Attributes:
        opts: the frontend's options, as the client gave them.
        session_id: the client's session.
        workers: the daemon's workers.
        product: the product's name in errors about missing capabilities.
        llb_caps: what definitions may use.
        caps: what calls of the gateway may be made.
    """

    opts: Mapping[str, str]
    session_id: str
    workers: Sequence[WorkerInfo]
    product: str
    llb_caps: CapSet
    caps: CapSet


@dataclass(frozen=True, kw_only=True)
class CacheOptionsEntry:
    """A cache to import: its type and attributes."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SolveRequest:
    """One solve that a frontend asks for: a definition, or another frontend with its options and inputs.

    Attributes:
        evaluate: solve at once what would otherwise wait until it is used, so that errors show here.
        definition: the graph; None with a frontend.
        frontend: the other frontend's name, such as "dockerfile.v0"; "" with a definition.
        frontend_opt: its options.
        frontend_inputs: graphs that it may build on, by name.
        cache_imports: caches to look into.
        source_policies: policies for this solve's sources, besides the build's own.
    """

    evaluate: bool = False
    definition: ops_pb2.Definition | None = None
    frontend: str = ""
    frontend_opt: Mapping[str, str] = field(default_factory=dict)
    frontend_inputs: Mapping[str, ops_pb2.Definition] = field(default_factory=dict)
    cache_imports: Sequence[CacheOptionsEntry] = ()
    source_policies: Sequence[Policy] = ()


@dataclass(frozen=True, kw_only=True)
class FileRange:
    """A part of a file: where it begins and how long it is, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class WarnOpts:
    """What belongs to a warning: its level, source file and ranges, further lines, a URL."""

    level: int = 0
    source_info: ops_pb2.SourceInfo | None = None
    range: Sequence[ops_pb2.Range] = ()
    detail: Sequence[bytes] = ()
    url: str = ""


class Reference(Protocol):
    """The result of a solve: a file system at the daemon.

    Each call solves what is not solved yet, so that its error may be that of a step. It ends with its context; a solve
    that it has begun then ends too, unless somebody else waits for the same steps. Paths are within the result, with or
    without a leading "/". All calls raise BuildkitError: the daemon's error, or the context's.
    """

    def to_state(self) -> State:
        """The result as a state, to build further on; an error where the daemon did not tell its graph."""

    async def evaluate(self, ctx: Context) -> None:
        """Solve the result now."""

    async def read_file(self, ctx: Context, filename: str, range: FileRange | None = None) -> bytes:
        """The content of a file, or a part of it; the whole must fit into one message (16 MiB)."""

    async def read_dir(self, ctx: Context, path: str, include_pattern: str = "") -> list[Stat]:
        """The entries of a directory whose names match a pattern, all of them for ""."""

    async def stat_file(self, ctx: Context, path: str) -> Stat:
        """What is known of a file."""


@dataclass(kw_only=True)
class InTotoSubject:
    """A subject of an in-toto attestation; `kind` is a value of `gateway_pb2.InTotoSubjectKind`."""

    kind: int = 0
    name: str = ""
    digest: Sequence[str] = ()


@dataclass(kw_only=True)
class Attestation:
    """An attestation of a result; `kind` is a value of `gateway_pb2.AttestationKind`."""

    kind: int = 0
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    ref: Reference | None = None
    path: str = ""
    in_toto_predicate_type: str = ""
    in_toto_subjects: Sequence[InTotoSubject] = ()


class Result:
    """What a frontend returns: one reference, or several by name (a platform each), metadata, attestations."""

    def __init__(self) -> None:
        self.ref: Reference | None = None
        self.refs: dict[str, Reference | None] | None = None
        self.metadata: dict[str, bytes] = {}
        self.attestations: dict[str, list[Attestation]] | None = None

    def add_meta(self, key: str, value: bytes) -> None:
        """Set a metadata value."""
        self.metadata[key] = value

    def add_ref(self, key: str, ref: Reference | None) -> None:
        """Add a named reference."""
        self.refs = self.refs if self.refs is not None else {}
        self.refs[key] = ref

    def add_attestation(self, key: str, attestation: Attestation) -> None:
        """Add an attestation of the named reference."""
        self.attestations = self.attestations if self.attestations is not None else {}
        self.attestations.setdefault(key, []).append(attestation)

    def set_ref(self, ref: Reference | None) -> None:
        """Set the one reference."""
        self.ref = ref

    def single_ref(self) -> Reference | None:
        """The one reference.

        Raises:
            BuildkitError: when the references are named.
        """
        if self.refs is not None and self.ref is None:
            raise BuildkitError("invalid map result")
        return self.ref

    def find_ref(self, key: str) -> Reference | None:
        """The reference of a name; the only one, whatever its name, where there is but one; else None."""
        if self.refs is None:
            return self.ref
        if key in self.refs:
            return self.refs[key]
        return next(iter(self.refs.values())) if len(self.refs) == 1 else None

    def all_refs(self) -> list[Reference]:
        """Every reference: the single one, the named ones, those of attestations."""
        found = [self.ref, *(self.refs or {}).values()]
        found += [a.ref for group in (self.attestations or {}).values() for a in group]
        return [ref for ref in found if ref is not None]


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mount of a container: a solved reference, or a cache, tmpfs, secret or ssh mount.

    Attributes:
        dest: its place in the container.
        selector: the path within the reference that is mounted; "" for its root.
        result_id: the reference by its id, where there is no `ref`.
        ref: the reference.
        readonly: whether processes cannot write to it.
        mount_type: a value of `ops_pb2.MountType`.
        cache_opt, secret_opt, ssh_opt: what belongs to a mount of that type.
    """

    dest: str
    selector: str = ""
    result_id: str = ""
    ref: Reference | None = None
    readonly: bool = False
    mount_type: int = 0
    cache_opt: ops_pb2.CacheOpt | None = None
    secret_opt: ops_pb2.SecretOpt | None = None
    ssh_opt: ops_pb2.SSHOpt | None = None


@dataclass(frozen=True, kw_only=True)
class NewContainerRequest:
    """A container to make, without its process.

    Attributes:
        mounts: what is mounted; one at "/" is the root.
        hostname: the container's name of itself; "" for the daemon's choice.
        net_mode: a value of `ops_pb2.NetMode`.
        extra_hosts: names for its hosts file.
        platform: what it runs as; None for the daemon's own.
        constraints: filters that the worker must meet.
    """

    mounts: Sequence[Mount] = ()
    hostname: str = ""
    net_mode: int = 0
    extra_hosts: Sequence[ops_pb2.HostIP] = ()
    platform: ops_pb2.Platform | None = None
    constraints: ops_pb2.WorkerConstraints | None = None


class ProcessReader(Protocol):
    """Standard input of a process."""

    async def read(self, n: int) -> bytes:
        """At most `n` bytes, b"" at the end; cancelled when the process ends."""


class ProcessWriter(Protocol):
    """Where a process's output goes."""

    async def write_all(self, data: bytes) -> None:
        """Take a piece of output; whoever takes none for long holds up all processes of the build."""


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """A process to start in a container.

    Attributes:
        args: the program and its arguments.
        env: its environment, `NAME=VALUE` each.
        secret_env: variables with the client's secrets.
        user: who it runs as; "" for root.
        cwd: its working directory.
        tty: whether it gets a terminal; standard output and error are then one.
        stdin: what it reads; None for nothing.
        stdout, stderr: where its output goes; None to drop it.
        security_mode: a value of `ops_pb2.SecurityMode`.
        remove_mount_stubs_recursive: whether the directories that were made as mount points go when it has ended.
    """

    args: Sequence[str]
    env: Sequence[str] = ()
    secret_env: Sequence[ops_pb2.SecretEnv] = ()
    user: str = ""
    cwd: str = ""
    tty: bool = False
    stdin: ProcessReader | None = None
    stdout: ProcessWriter | None = None
    stderr: ProcessWriter | None = None
    security_mode: int = 0
    remove_mount_stubs_recursive: bool = False


@dataclass(frozen=True, kw_only=True)
class WinSize:
    """The size of a terminal, in characters."""

    rows: int
    cols: int


class ContainerProcess(Protocol):
    """A process in a container; its calls raise BuildkitError once it has ended."""

    async def wait(self) -> None:
        """Return when the process has ended well; cancelling the wait leaves it running.

        Raises:
            ExitError: it ended with another exit code than 0.
            BuildkitError: its end was not told: the stream to the daemon broke, or its context ended.
        """

    async def resize(self, ctx: Context, size: WinSize) -> None:
        """Tell the process its terminal's size."""

    async def signal(self, ctx: Context, signum: int) -> None:
        """Send the process a signal, by number."""


class Container(Protocol):
    """A container at the daemon; release it when it is not needed any more.

    Every call ends with its context, and raises BuildkitError: the daemon's error, or the context's.
    """

    async def start(self, ctx: Context, req: StartRequest) -> ContainerProcess:
        """Start a process; return once it runs.

        Args:
            ctx: ends the copying of its streams and the wait for it; the process itself ends with its container.
            req: the process.
        """

    async def release(self, ctx: Context) -> None:
        """End the container and whatever runs in it."""

    async def read_file(
        self, ctx: Context, filename: str, range: FileRange | None = None, mount_index: int = 0
    ) -> bytes:
        """The content of a file of one of the container's mounts."""

    async def read_dir(self, ctx: Context, path: str, include_pattern: str = "", mount_index: int = 0) -> list[Stat]:
        """The entries of a directory of one of the container's mounts."""

    async def stat_file(self, ctx: Context, path: str, mount_index: int = 0) -> Stat:
        """What is known of a file of one of the container's mounts."""


class Client(Protocol):
    """The daemon, as a frontend sees it.

    Every call ends with its context. All raise BuildkitError: the daemon's error, the context's, or a CapError where
    the daemon lacks what the call needs.
    """

    async def solve(self, ctx: Context, req: SolveRequest) -> Result:
        """Solve a definition, or with another frontend; what is not evaluated is solved when it is used."""

    async def resolve_source_metadata(self, ctx: Context, op: ops_pb2.SourceOp, opt: Opt) -> MetaResponse:
        """What the daemon can tell about a source without fetching it whole."""

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        """Reference, digest and config (JSON) of an image; a policy may have changed the reference."""

    def build_opts(self) -> BuildOpts:
        """What this build is about."""

    async def inputs(self, ctx: Context) -> dict[str, State]:
        """The build graphs that the caller handed to the frontend, by name."""

    async def new_container(self, ctx: Context, req: NewContainerRequest) -> Container:
        """Make a container from solved references."""

    async def warn(self, ctx: Context, digest: str, msg: str, opts: WarnOpts) -> None:
        """Show the user a warning about a step.

        Args:
            ctx: ends the call.
            digest: the step's digest.
            msg: the warning, one line.
            opts: what else belongs to it.
        """


BuildFunc = Callable[["Context", Client], Awaitable["Result | None"]]
"""A frontend: makes a result with the client it is given, within the context; what it raises is the build's error."""
