"""The command `debug monitor`: follow the builds that run and have run.

Mirrors cmd/buildctl/debug/monitor.go, v0.32.2. Differs from Go: an event without a record, or with results of
platforms alone, is printed (Go's client crashes); results of platforms come in the order of their names.
"""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _histories
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pybuildkit.api.services.control import control_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext


class StreamEndError(BuildkitError):
    """The daemon has ended a stream that goes on for ever."""

    def __str__(self) -> str:
        return "EOF"


def monitor(c: CommandContext) -> None:
    """Print the events as they come, without end.

    Raises:
        StreamEndError: the daemon ended the list.
    """
    from pybuildkit.api.services.control import _methods, control_pb2

    request = control_pb2.BuildHistoryRequest(ActiveOnly=not c.bool("completed"), Ref=c.string("ref"))
    with command_channel(c) as channel:
        for event in _control.server_stream(channel, _methods.LISTEN_BUILD_HISTORY, request):
            c.stdout.show("".join(_lines(event)))
    raise StreamEndError


def _lines(event: pb.BuildHistoryEvent) -> Iterator[str]:
    from pybuildkit.golang.protoreflect import text

    record = event.record
    yield f"event: {_histories.event_type(event)} ref:{record.Ref}\n"
    if record.numTotalSteps:
        yield f"  cache: {record.numCachedSteps}/{record.numTotalSteps}\n"
    if record.numWarnings:
        yield f"  warnings: {record.numWarnings}\n"
    if record.HasField("logs"):
        yield f"  logs: {text(record.logs)}\n"
    if record.HasField("trace"):
        yield f"  trace: {text(record.trace)}\n"
    if record.HasField("Result"):
        yield from _result("  ", record.Result)
    for name in sorted(record.Results):
        yield from _result(f"  [{name}] ", record.Results[name])


def _result(prefix: str, info: pb.BuildResultInfo) -> Iterator[str]:
    from pybuildkit.golang.protoreflect import text

    if info.Results:
        for number in sorted(info.Results):
            yield f"{prefix}descriptor: {text(info.Results[number])}\n"
    elif info.HasField("ResultDeprecated"):
        yield f"{prefix}descriptor: {text(info.ResultDeprecated)}\n"
    for attestation in info.Attestations:
        yield f"{prefix}attestation: {text(attestation)}\n"
