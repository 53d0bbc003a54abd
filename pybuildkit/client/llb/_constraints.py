"""Constraints and metadata: what holds for an op beside what it does, and the options that say so.

Platform and worker constraints go into the op and so into its digest; metadata (names, descriptions, cache
behaviour, resources, needed capabilities) stays beside it. Constraints given to `State.marshal` hold for all ops,
those given to an op override them.

Mirrors the constraints in client/llb/state.go, and MarshalConstraints of client/llb/marshal.go, v0.32.2. As there,
descriptions given to `marshal` are one map for all ops: an op's own names stay in it for the ops after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.identity import new_id
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform, default_spec, normalize

if TYPE_CHECKING:
    from pybuildkit.client.llb._exec import ExecInfo
    from pybuildkit.client.llb._git import GitInfo
    from pybuildkit.client.llb._http import HTTPInfo
    from pybuildkit.client.llb._image import ImageBlobInfo, ImageInfo, OCILayoutInfo
    from pybuildkit.client.llb._local import LocalInfo
    from pybuildkit.client.llb._sourcemap import SourceLocation
    from pybuildkit.client.llb._vertex import Vertex
    from pybuildkit.util.apicaps import CapSet


class OpMetadata:
    """What is said about an op outside its digest.

    Attributes:
        ignore_cache: whether the op runs even if its result is known.
        description: free texts; `llb.customname` is the name that progress shows.
        export_cache: whether the result goes into an exported cache; None leaves it to the build.
        caps: the capabilities that the op needs of the daemon.
        progress_group: the group under which progress shows the op.
        linux_resources: limits of the container.
    """

    __slots__ = ("caps", "description", "export_cache", "ignore_cache", "linux_resources", "progress_group")

    def __init__(
        self,
        *,
        ignore_cache: bool = False,
        description: dict[str, str] | None = None,
        export_cache: bool | None = None,
        caps: dict[str, bool] | None = None,
        progress_group: ops_pb2.ProgressGroup | None = None,
        linux_resources: ops_pb2.LinuxResources | None = None,
    ) -> None:
        self.ignore_cache = ignore_cache
        self.description = description
        self.export_cache = export_cache
        self.caps = caps
        self.progress_group = progress_group
        self.linux_resources = linux_resources

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))
        return f"OpMetadata({shown})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpMetadata):
            return NotImplemented
        return bool(self.to_pb() == other.to_pb())

    __hash__ = None  # type: ignore[assignment]  # a mutable value, equal by content

    def to_pb(self) -> ops_pb2.OpMetadata:
        """The metadata as a message."""
        return ops_pb2.OpMetadata(
            ignore_cache=self.ignore_cache,
            description=self.description,
            export_cache=None if self.export_cache is None else ops_pb2.ExportCache(Value=self.export_cache),
            caps=self.caps,
            progress_group=self.progress_group,
            linux_resources=self.linux_resources,
        )

    @classmethod
    def from_pb(cls, message: ops_pb2.OpMetadata) -> OpMetadata:
        """The metadata that a message holds."""
        return cls(
            ignore_cache=message.ignore_cache,
            description=dict(message.description) or None,
            export_cache=message.export_cache.Value if message.HasField("export_cache") else None,
            caps=dict(message.caps) or None,
            progress_group=message.progress_group if message.HasField("progress_group") else None,
            linux_resources=message.linux_resources if message.HasField("linux_resources") else None,
        )

    def merge(self, other: OpMetadata) -> None:
        """Take what `other` says; its values win over those here, maps grow in place."""
        if other.ignore_cache:
            self.ignore_cache = True
        if other.description:
            if self.description is None:
                self.description = {}
            self.description.update(other.description)
        if other.export_cache is not None:
            self.export_cache = other.export_cache
        if other.caps:
            if self.caps is None:
                self.caps = {}
            self.caps.update(dict.fromkeys(other.caps, True))
        if other.progress_group is not None:
            self.progress_group = other.progress_group
        if other.linux_resources is not None:
            self.linux_resources = other.linux_resources

    def copy(self) -> OpMetadata:
        """A copy that shares the maps, as a Go assignment does."""
        return OpMetadata(
            ignore_cache=self.ignore_cache,
            description=self.description,
            export_cache=self.export_cache,
            caps=self.caps,
            progress_group=self.progress_group,
            linux_resources=self.linux_resources,
        )


class MarshalResult(NamedTuple):
    """One op marshalled: its digest (`sha256:…`), its bytes, and what is said about it, which the taker may change."""

    digest: str
    data: bytes
    metadata: OpMetadata | None
    source_locations: list[SourceLocation]


class Constraints:
    """What holds for an op, or for all ops of one `marshal`.

    Attributes:
        platform: what the op runs on; None leaves it to the state or to `marshal`.
        worker_constraints: filters that choose a worker, in containerd's filter language.
        metadata: what is said about the op outside its digest.
        local_unique_id: the id of local sources without a session; random for each `marshal` unless given.
        caps: what the daemon supports, or None where it is not known.
        source_locations: where in a source file the op comes from.
    """

    __slots__ = (
        "_results",
        "caps",
        "local_unique_id",
        "metadata",
        "platform",
        "source_locations",
        "worker_constraints",
    )

    def __init__(
        self,
        *,
        platform: Platform | None = None,
        worker_constraints: list[str] | None = None,
        metadata: OpMetadata | None = None,
        local_unique_id: str = "",
        caps: CapSet | None = None,
        source_locations: list[SourceLocation] | None = None,
    ) -> None:
        self.platform = platform
        self.worker_constraints = worker_constraints if worker_constraints is not None else []
        self.metadata = metadata if metadata is not None else OpMetadata()
        self.local_unique_id = local_unique_id
        self.caps = caps
        self.source_locations = source_locations if source_locations is not None else []
        self._results: dict[Vertex, MarshalResult] = {}

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in self.__slots__
            if not name.startswith("_") and getattr(self, name)
        )
        return f"Constraints({shown})"


class ConstraintsOpt(Option[Constraints]):
    """An option that every op takes."""

    __slots__ = ()

    def __call__(self, constraints: Constraints) -> None:
        """Change the constraints."""
        self._apply(constraints)

    set_constraints_option = __call__

    def set_run_option(self, info: ExecInfo) -> None:
        """Change the options of one `run`."""
        self._apply(info.constraints)

    def set_local_option(self, info: LocalInfo) -> None:
        """Change the options of one `local`."""
        self._apply(info.constraints)

    def set_oci_layout_option(self, info: OCILayoutInfo) -> None:
        """Change the options of one `oci_layout`."""
        self._apply(info.constraints)

    def set_http_option(self, info: HTTPInfo) -> None:
        """Change the options of one `http`."""
        self._apply(info.constraints)

    def set_image_blob_option(self, info: ImageBlobInfo) -> None:
        """Change the options of one `image_blob`."""
        self._apply(info.constraints)

    def set_image_option(self, info: ImageInfo) -> None:
        """Change the options of one `image`."""
        self._apply(info.constraints)

    def set_git_option(self, info: GitInfo) -> None:
        """Change the options of one `git`."""
        self._apply(info.constraints)


_P = ParamSpec("_P")


def constraints_option(make: Callable[_P, Callable[[Constraints], None]]) -> Callable[_P, ConstraintsOpt]:
    """Turn a function that returns a change to constraints into one that returns an option."""
    return maker(ConstraintsOpt, make)


def new_constraints(*opts: ConstraintsOpt) -> Constraints:
    """Constraints for a `marshal`: this machine's platform and a random id for local sources, then the options."""
    constraints = Constraints(platform=normalize(default_spec()), local_unique_id=new_id())
    apply_options(opts, "set_constraints_option", constraints, "marshal")
    return constraints


def constraints_of(opts: Iterable[object], taker: str) -> Constraints:
    """Empty constraints with the options applied; `taker` is the call that the error names."""
    constraints = Constraints()
    apply_options(opts, "set_constraints_option", constraints, taker)
    return constraints


def marshal_constraints(base: Constraints, override: Constraints) -> tuple[Platform, list[str], OpMetadata]:
    """What holds for an op: its platform, the worker filters, and its metadata.

    Args:
        base: what `marshal` was given.
        override: what the op was given; it wins.
    """
    metadata = base.metadata.copy()
    metadata.merge(override.metadata)
    platform = override.platform or base.platform or normalize(default_spec())
    return platform, base.worker_constraints + override.worker_constraints, metadata


def add_cap(constraints: Constraints, cap: str) -> None:
    """Note that the op needs a capability."""
    if constraints.metadata.caps is None:
        constraints.metadata.caps = {}
    constraints.metadata.caps[cap] = True
