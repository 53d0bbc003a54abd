"""The daemon's workers. Mirrors client/workers.go, v0.32.2, and the value types of client/{info,prune}.go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._info import BuildkitVersion
from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.api.types import worker_pb2
    from pybuildkit.client._client import Client
    from pybuildkit.golang.context import Context
    from pybuildkit.solver.pb import ops_pb2


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An OCI platform."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = ""
    os_features: Sequence[str] = ()

    @staticmethod
    def from_pb(message: ops_pb2.Platform) -> Platform:
        """The platform in a message."""
        return Platform(
            architecture=message.Architecture,
            os=message.OS,
            variant=message.Variant,
            os_version=message.OSVersion,
            os_features=tuple(message.OSFeatures),
        )


@dataclass(frozen=True, kw_only=True)
class GCPolicy:
    """One rule of a worker's garbage collection; durations in nanoseconds, space in bytes."""

    all: bool = False
    filter: Sequence[str] = ()
    keep_duration: int = 0
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0


@dataclass(frozen=True, kw_only=True)
class CDIDevice:
    """A device that a worker can give to a build step."""

    name: str
    auto_allow: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerInfo:
    """What a daemon says of one worker."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: Sequence[Platform] = ()
    gc_policy: Sequence[GCPolicy] = ()
    buildkit_version: BuildkitVersion = field(default_factory=BuildkitVersion)
    cdi_devices: Sequence[CDIDevice] = ()


def from_record(record: worker_pb2.WorkerRecord) -> WorkerInfo:
    """The worker in a message."""
    return WorkerInfo(
        id=record.ID,
        labels=dict(record.Labels),
        platforms=tuple(Platform.from_pb(p) for p in record.platforms),
        gc_policy=tuple(
            GCPolicy(
                all=p.all,
                filter=tuple(p.filters),
                keep_duration=p.keepDuration,
                reserved_space=p.reservedSpace,
                max_used_space=p.maxUsedSpace,
                min_free_space=p.minFreeSpace,
            )
            for p in record.GCPolicy
        ),
        buildkit_version=BuildkitVersion.from_pb(record.BuildkitVersion),
        cdi_devices=tuple(
            CDIDevice(name=d.Name, auto_allow=d.AutoAllow, annotations=dict(d.Annotations), on_demand=d.OnDemand)
            for d in record.CDIDevices
        ),
    )


async def list_workers(client: Client, ctx: Context, filter: Sequence[str] = ()) -> list[WorkerInfo]:
    """The daemon's workers that match all filters.

    Raises:
        BuildkitError: "failed to list workers: …".
    """
    request = control_pb2.ListWorkersRequest(filter=filter)
    try:
        response = await client.unary(ctx, control.LIST_WORKERS, request)
    except BuildkitError as err:
        raise errors.wrap(err, "failed to list workers") from err
    return [from_record(record) for record in response.record]
