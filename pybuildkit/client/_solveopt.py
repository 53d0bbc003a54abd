"""What a solve is asked to do: the option structs of the client.

Mirrors the option types of client/solve.go and client/exporters.go, v0.32.2.

Differs on purpose: `ExportEntry.special_files` (ours) lets a local export create devices and `trusted.*`
attributes, which are refused otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from os import PathLike

    from pybuildkit.client.llb import State
    from pybuildkit.rpc import Buffer
    from pybuildkit.session import Attachable, Session
    from pybuildkit.sourcepolicy.pb.policy_pb2 import Policy
    from pybuildkit.third_party.containerd.content import Store
    from pybuildkit.third_party.fsutil import FS

EXPORTER_IMAGE = "image"
EXPORTER_LOCAL = "local"
EXPORTER_TAR = "tar"
EXPORTER_OCI = "oci"
EXPORTER_DOCKER = "docker"

LOCAL_EXPORTER_MODE_COPY = "copy"
LOCAL_EXPORTER_MODE_DELETE = "delete"


class ExportWriter(Protocol):
    """Where the bytes of a file export go.

    `write_all` may block on the destination's device; it is called from a worker thread. Exactly one of `close`
    (the export is whole: it takes its final name) and `abort` (nothing may be left of it) ends the writer; both
    may be called again without effect.
    """

    def write_all(self, data: Buffer) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


FileOutputFunc = Callable[[Mapping[str, str]], ExportWriter | None]
"""Opens a file export, given the exporter's metadata; None where the target exists already."""


@dataclass(frozen=True, kw_only=True)
class ExportEntry:
    """One result to export.

    Args:
        type: the exporter's name, such as "local", "tar", "oci" or "image".
        attrs: the exporter's attributes, as the daemon gets them.
        output: opens the file that receives the export (tar, oci, docker).
        output_dir: the directory that receives the export (local; oci and docker with `tar=false`).
        output_store: a content store that receives the export (oci and docker).
        special_files: whether a local export may create devices and `trusted.*` attributes.
    """

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    output: FileOutputFunc | None = None
    output_dir: str | PathLike[str] = ""
    output_store: Store | None = None
    special_files: bool = False


@dataclass(frozen=True, kw_only=True)
class CacheOptionsEntry:
    """One cache to import from or export to: its type ("registry", "local", "inline", "gha", …) and attributes.

    The attributes may hold a token or a key, so that they are left out of its `repr`.
    """

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class SolveOpt:
    """Everything that `Client.solve` and `Client.build` can be asked for.

    Args:
        exports: the results to export, in order.
        compatibility_version: the daemon's compatibility version to ask for; 0 for the daemon's own.
        enable_session_exporter: whether the daemon asks the session which exporters to run.
        local_mounts: file systems offered to the daemon, by name (`local://NAME`).
        oci_stores: content stores offered for reading, by name (`oci-layout://…`).
        shared_key: what tells this client's local sources from another's in the daemon's cache.
        frontend: the frontend that makes the build graph; empty with a definition.
        frontend_attrs: the frontend's options.
        frontend_inputs: build graphs handed to the frontend, by name.
        cache_exports: where to write the build cache.
        cache_imports: where to read build cache from.
        session: further services to offer over the session.
        allowed_entitlements: privileges that the build may use.
        shared_session: a session that is already running, with `session_pre_initialized`.
        session_pre_initialized: whether services are already registered on `shared_session`.
        internal: marks the build as internal in the daemon's history.
        source_policy: rules for the build's sources.
        source_policy_provider: a service that decides on sources while the build runs.
        proxy_network: whether the daemon routes the build's network traffic through its proxy.
        ref: the build's id; empty for a random one.
    """

    exports: Sequence[ExportEntry] = ()
    compatibility_version: int = 0
    enable_session_exporter: bool = False
    local_mounts: Mapping[str, FS] = field(default_factory=dict)
    oci_stores: Mapping[str, Store] = field(default_factory=dict)
    shared_key: str = ""
    frontend: str = ""
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)
    frontend_inputs: Mapping[str, State] = field(default_factory=dict)
    cache_exports: Sequence[CacheOptionsEntry] = ()
    cache_imports: Sequence[CacheOptionsEntry] = ()
    session: Sequence[Attachable] = ()
    allowed_entitlements: Sequence[str] = ()
    shared_session: Session | None = None
    session_pre_initialized: bool = False
    internal: bool = False
    source_policy: Policy | None = None
    source_policy_provider: Attachable | None = None
    proxy_network: bool = False
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class SolveResponse:
    """What a finished solve reports: the exporters' answers, such as image digests."""

    exporter_response: Mapping[str, str] = field(default_factory=dict)


def parse_local_exporter_mode(value: str) -> str:
    """The mode of a local export: "copy" (the default for an empty value) or "delete".

    Raises:
        BuildkitError: for any other value.
    """
    mode = value.strip().lower()
    if mode in ("", LOCAL_EXPORTER_MODE_COPY):
        return LOCAL_EXPORTER_MODE_COPY
    if mode == LOCAL_EXPORTER_MODE_DELETE:
        return LOCAL_EXPORTER_MODE_DELETE
    from pybuildkit.golang.strconv import quote

    raise BuildkitError(f"invalid local exporter mode {quote(value)}")
