"""Options that every op takes: platform, names, cache behaviour, resources, worker filters.

Mirrors the ConstraintsOpt values of client/llb/state.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from pybuildkit.client.llb import _gofmt
from pybuildkit.client.llb._constraints import Constraints, ConstraintsOpt, constraints_option
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform

if TYPE_CHECKING:
    from pybuildkit.client.llb._meta import LinuxResources
    from pybuildkit.util.apicaps import CapSet

_Change = Callable[[Constraints], None]


def _ignore_cache(constraints: Constraints) -> None:
    constraints.metadata.ignore_cache = True


ignore_cache: Final = ConstraintsOpt(_ignore_cache).as_constant("ignore_cache")
"""Run the op even if its result is known."""


@constraints_option
def with_description(description: Mapping[str, str]) -> _Change:
    """Add texts that the daemon hands on without reading them."""

    def change(constraints: Constraints) -> None:
        if constraints.metadata.description is None:
            constraints.metadata.description = {}
        constraints.metadata.description.update(description)

    return change


@constraints_option
def with_custom_name(name: str) -> _Change:
    """The name under which progress shows the op."""
    return with_description({"llb.customname": name})


@constraints_option
def with_custom_namef(format: str, *args: _gofmt.Arg) -> _Change:
    """`with_custom_name` of a Go format and its arguments."""
    return with_custom_name(_gofmt.sprintf(format, *args))


def _set_export_cache(value: bool | None) -> _Change:
    def change(constraints: Constraints) -> None:
        constraints.metadata.export_cache = value

    return change


@constraints_option
def with_export_cache() -> _Change:
    """Put the op's result into an exported cache in any case."""
    return _set_export_cache(True)


@constraints_option
def without_export_cache() -> _Change:
    """Keep the op's result out of an exported cache."""
    return _set_export_cache(False)


@constraints_option
def without_default_export_cache() -> _Change:
    """Leave it to the build whether the op's result goes into an exported cache."""
    return _set_export_cache(None)


@constraints_option
def with_caps(caps: CapSet) -> _Change:
    """What the daemon supports; it decides for instance whether PATH is set here or there."""

    def change(constraints: Constraints) -> None:
        constraints.caps = caps

    return change


@constraints_option
def platform(platform: Platform) -> _Change:
    """The platform of the op, or of all ops where `marshal` is given it."""

    def change(constraints: Constraints) -> None:
        constraints.platform = platform

    return change


@constraints_option
def local_unique_id(id: str) -> _Change:
    """The id that stands for the session in local sources without one."""

    def change(constraints: Constraints) -> None:
        constraints.local_unique_id = id

    return change


@constraints_option
def progress_group(id: str, name: str, weak: bool = False) -> _Change:
    """Show the op as part of a group.

    Args:
        id: what the ops of one group share.
        name: the group's name on the screen.
        weak: whether an op's own name stays where it is the only one of the group.
    """

    def change(constraints: Constraints) -> None:
        constraints.metadata.progress_group = ops_pb2.ProgressGroup(id=id, name=name, weak=weak)

    return change


@constraints_option
def with_linux_resources(resources: LinuxResources) -> _Change:
    """All limits of the container at once; they do not change the op's digest."""

    def change(constraints: Constraints) -> None:
        constraints.metadata.linux_resources = resources.to_pb()

    return change


def _resources(constraints: Constraints) -> ops_pb2.LinuxResources:
    if constraints.metadata.linux_resources is None:
        constraints.metadata.linux_resources = ops_pb2.LinuxResources()
    return constraints.metadata.linux_resources


def _set_resource(field: str, value: int | str) -> _Change:
    def change(constraints: Constraints) -> None:
        setattr(_resources(constraints), field, value)

    return change


@constraints_option
def memory_limit(limit: int) -> _Change:
    """The most memory that the container may have, in bytes."""
    return _set_resource("memory", limit)


@constraints_option
def memory_swap_limit(limit: int) -> _Change:
    """The most memory and swap together, in bytes; -1 for no limit."""
    return _set_resource("memorySwap", limit)


@constraints_option
def cpu_shares(shares: int) -> _Change:
    """The container's weight against others where processors are short."""
    return _set_resource("cpuShares", shares)


@constraints_option
def cpu_period(period: int) -> _Change:
    """The period of the processor quota, in microseconds."""
    return _set_resource("cpuPeriod", period)


@constraints_option
def cpu_quota(quota: int) -> _Change:
    """Processor time in each period, in microseconds."""
    return _set_resource("cpuQuota", quota)


@constraints_option
def cpuset_cpus(cpus: str) -> _Change:
    """The processors that the container may use, such as "0-3,5"."""
    return _set_resource("cpusetCpus", cpus)


@constraints_option
def cpuset_mems(mems: str) -> _Change:
    """The memory nodes that the container may use, such as "0,1"."""
    return _set_resource("cpusetMems", mems)


@constraints_option
def require(*filters: str) -> _Change:
    """Filters that the worker must meet, in containerd's filter language."""

    def change(constraints: Constraints) -> None:
        constraints.worker_constraints.extend(filters)

    return change


def _named(name: str, os: str, architecture: str, variant: str = "") -> ConstraintsOpt:
    option = platform(Platform(os=os, architecture=architecture, variant=variant))
    return option.as_constant(name)


linux_amd64: Final = _named("linux_amd64", "linux", "amd64")
linux_armhf: Final = _named("linux_armhf", "linux", "arm", "v7")
linux_arm: Final = linux_armhf
linux_armel: Final = _named("linux_armel", "linux", "arm", "v6")
linux_arm64: Final = _named("linux_arm64", "linux", "arm64")
linux_s390x: Final = _named("linux_s390x", "linux", "s390x")
linux_ppc64: Final = _named("linux_ppc64", "linux", "ppc64")
linux_ppc64le: Final = _named("linux_ppc64le", "linux", "ppc64le")
linux_riscv64: Final = _named("linux_riscv64", "linux", "riscv64")
darwin: Final = _named("darwin", "darwin", "amd64")
windows: Final = _named("windows", "windows", "amd64")
