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
    """What a frontend is told about its build: options, session, workers, product and capabilities."""

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

    `evaluate` solves at once what would otherwise wait until it is used, so that errors show here.
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
    """A part of a file, in bytes."""

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
    """The result of a solve: a file system at the daemon."""

    def to_state(self) -> State:
        """The result as a state, to build further on."""

    async def evaluate(self, ctx: Context) -> None:
        """Solve the result now."""

    async def read_file(self, ctx: Context, filename: str, range: FileRange | None = None) -> bytes:
        """The content of a file, or a part of it."""

    async def read_dir(self, ctx: Context, path: str, include_pattern: str = "") -> list[Stat]:
        """The entries of a directory, those that match a pattern."""

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
    """A mount of a container: a solved reference, or a cache, tmpfs, secret or ssh mount."""

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
    """A container to make, without its process."""

    mounts: Sequence[Mount] = ()
    hostname: str = ""
    net_mode: int = 0
    extra_hosts: Sequence[ops_pb2.HostIP] = ()
    platform: ops_pb2.Platform | None = None
    constraints: ops_pb2.WorkerConstraints | None = None


class ProcessReader(Protocol):
    """Standard input of a process: `read` gives at most `n` bytes, b"" at the end."""

    async def read(self, n: int) -> bytes: ...


class ProcessWriter(Protocol):
    """Where a process's output goes."""

    async def write_all(self, data: bytes) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """A process to start in a container."""

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
    """A process in a container."""

    async def wait(self) -> None:
        """Return when the process has ended well; raises ExitError with its exit code otherwise."""

    async def resize(self, ctx: Context, size: WinSize) -> None:
        """Tell the process its terminal's size."""

    async def signal(self, ctx: Context, signum: int) -> None:
        """Send the process a signal, by number."""


class Container(Protocol):
    """A container at the daemon."""

    async def start(self, ctx: Context, req: StartRequest) -> ContainerProcess:
        """Start a process."""

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
    """The daemon, as a frontend sees it."""

    async def solve(self, ctx: Context, req: SolveRequest) -> Result:
        """Solve a definition, or with another frontend."""

    async def resolve_source_metadata(self, ctx: Context, op: ops_pb2.SourceOp, opt: Opt) -> MetaResponse:
        """What the daemon can tell about a source without fetching it whole."""

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        """Reference, digest and config of an image."""

    def build_opts(self) -> BuildOpts:
        """What this build is about."""

    async def inputs(self, ctx: Context) -> dict[str, State]:
        """The build graphs that the caller handed to the frontend, by name."""

    async def new_container(self, ctx: Context, req: NewContainerRequest) -> Container:
        """Make a container from solved references."""

    async def warn(self, ctx: Context, digest: str, msg: str, opts: WarnOpts) -> None:
        """Show the user a warning about a step."""


BuildFunc = Callable[["Context", Client], Awaitable["Result | None"]]
"""A frontend."""
