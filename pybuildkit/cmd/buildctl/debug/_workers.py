"""The command `debug workers`: the daemon's workers. Mirrors cmd/buildctl/debug/workers.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang import duration
from pybuildkit.golang.tabwriter import Writer
from pybuildkit.third_party import platforms, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pybuildkit.api.types import worker_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.reflect import Struct
    from pybuildkit.solver.pb import ops_pb2


def list_workers(c: CommandContext) -> None:
    """Print the workers, in a table, in blocks of lines, or through a template."""
    from pybuildkit.api.services.control import _methods, control_pb2

    with command_channel(c) as channel:
        request = control_pb2.ListWorkersRequest(filter=c.string_slice("filter"))
        response = _control.unary(channel, _methods.LIST_WORKERS, request, "failed to list workers")
    show = _format.formatter(c)
    if show is not None:
        from pybuildkit.golang.reflect import Slice

        _format.note_ignored_verbose(c)
        members = [_worker_info(record) for record in response.record]
        show(Slice("*client.WorkerInfo", members, is_nil=not members))
        return
    table = Writer(c.stdout.show, 1, 8, 1, "\t")
    if c.bool("verbose"):
        for record in response.record:
            table.write("".join(_verbose(record)))
    else:
        table.write("ID\tPLATFORMS\n")
        for record in response.record:
            table.write(f"{record.ID}\t{_join(record.platforms)}\n")
    table.flush()


def _join(listed: Iterable[ops_pb2.Platform]) -> str:
    shown = []
    for platform in listed:
        parsed = platforms.Platform(os=platform.OS, architecture=platform.Architecture, variant=platform.Variant)
        shown.append(platforms.format(platforms.normalize(parsed)))
    return ",".join(shown)


def _sorted(entries: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(entries.items(), key=lambda entry: entry[0].encode())


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _verbose(record: pb.WorkerRecord) -> Iterator[str]:
    version = record.BuildkitVersion
    yield f"ID:\t{record.ID}\n"
    yield f"Platforms:\t{_join(record.platforms)}\n"
    yield f"BuildKit:\t{version.package} {version.version} {version.revision}\n"
    if version.dockerfileVersion:
        yield f"Dockerfile:\t{version.dockerfileVersion}\n"
    yield "Labels:\n"
    for key, value in _sorted(record.Labels):
        yield f"\t{key}:\t{value}\n"
    yield from _devices(record.CDIDevices)
    for number, rule in enumerate(record.GCPolicy):
        yield f"GC Policy rule#{number}:\n"
        yield from _rule(rule)
    yield "\n"


def _devices(devices: Iterable[pb.CDIDevice]) -> Iterator[str]:
    title = "Devices:\n"
    for device in devices:
        yield f"{title}\tName:\t{device.Name}\n"
        title = ""
        yield "\tOnDemand:\ttrue\n" if device.OnDemand else f"\tAutoAllow:\t{_bool(device.AutoAllow)}\n"
        for key, value in _sorted(device.Annotations):
            yield f"\tAnnotations:\t{key}:\t{value}\n"
    if not title:
        yield "\n"


def _rule(rule: pb.GCPolicy) -> Iterator[str]:
    yield f"\tAll:\t{_bool(rule.all)}\n"
    if rule.filters:
        yield f"\tFilters:\t{' '.join(rule.filters)}\n"
    if rule.keepDuration > 0:
        yield f"\tKeep duration:\t{duration.string(rule.keepDuration)}\n"
    spaces = (
        ("Reserved", rule.reservedSpace),
        ("Minimum free", rule.minFreeSpace),
        ("Maximum used", rule.maxUsedSpace),
    )
    for what, count in spaces:
        if count > 0:
            yield f"\t{what} space:\t{units.format(count)}\n"


def _worker_info(record: pb.WorkerRecord) -> Struct:
    """The worker as `--format` sees it."""
    from pybuildkit.cmd.buildctl.debug._info import version_struct
    from pybuildkit.golang.reflect import Field, Map, Slice, Struct

    devices = [_device(device) for device in record.CDIDevices]
    return Struct(
        "client.WorkerInfo",
        Field("ID", "id", record.ID),
        Field("Labels", "labels", Map("string", record.Labels, is_nil=not record.Labels)),
        Field("Platforms", "platforms", Slice("v1.Platform", map(_platform, record.platforms))),
        Field("GCPolicy", "gcPolicy", Slice("client.PruneInfo", map(_policy, record.GCPolicy))),
        Field("BuildkitVersion", "buildkitVersion", version_struct(record.BuildkitVersion)),
        Field("CDIDevices", "cdiDevices", Slice("client.CDIDevice", devices, is_nil=not devices)),
        is_pointer=True,
    )


def _platform(platform: ops_pb2.Platform) -> Struct:
    from pybuildkit.golang.reflect import Field, Slice, Struct

    features = Slice("string", platform.OSFeatures, is_nil=not platform.OSFeatures)
    return Struct(
        "v1.Platform",
        Field("Architecture", "architecture", platform.Architecture),
        Field("OS", "os", platform.OS),
        Field("OSVersion", "os.version", platform.OSVersion, omit_empty=True),
        Field("OSFeatures", "os.features", features, omit_empty=True),
        Field("Variant", "variant", platform.Variant, omit_empty=True),
    )


def _policy(rule: pb.GCPolicy) -> Struct:
    from pybuildkit.golang.reflect import Duration, Field, Int64, Slice, Struct

    return Struct(
        "client.PruneInfo",
        Field("All", "all", rule.all),
        Field("Filter", "filter", Slice("string", rule.filters, is_nil=not rule.filters)),
        Field("KeepDuration", "keepDuration", Duration(rule.keepDuration)),
        Field("ReservedSpace", "reservedSpace", Int64(rule.reservedSpace)),
        Field("MaxUsedSpace", "maxUsedSpace", Int64(rule.maxUsedSpace)),
        Field("MinFreeSpace", "minFreeSpace", Int64(rule.minFreeSpace)),
    )


def _device(device: pb.CDIDevice) -> Struct:
    from pybuildkit.golang.reflect import Field, Map, Struct

    return Struct(
        "client.CDIDevice",
        Field("Name", "name", device.Name),
        Field("AutoAllow", "autoAllow", device.AutoAllow),
        Field("Annotations", "annotations", Map("string", device.Annotations, is_nil=not device.Annotations)),
        Field("OnDemand", "onDemand", device.OnDemand),
    )
