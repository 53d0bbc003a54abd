"""The command `prune-histories`: remove the records of past builds. Mirrors cmd/buildctl/prunehistories.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format, _histories
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.errors import BuildkitError, JoinedError
from pybuildkit.golang.tabwriter import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pybuildkit.api.services.control import control_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.rpc import BlockingChannel


def prune_histories(c: CommandContext) -> None:
    """Remove every record that is not pinned, and print what was removed.

    Raises:
        JoinedError: what went wrong for single records; the others have been removed.
    """
    failures: list[BaseException] = []
    with command_channel(c) as channel:
        _control.connect(channel)  # a daemon that is not there is told before a template that is none
        show = _format.formatter(c)
        events = _removed(channel, failures)
        if show is not None:
            from pybuildkit.golang import protoreflect

            for event in events:
                show(protoreflect.struct(event, "moby_buildkit_v1"))
        else:
            _print_table(c.stdout.show, events)
    if failures:
        raise JoinedError(failures)


def _print_table(write: Callable[[str], object], events: Iterator[pb.BuildHistoryEvent]) -> None:
    table = Writer(write, 1, 8, 1, "\t")
    table.write("TYPE\tREF\tCREATED\tCOMPLETED\tGENERATION\n")
    try:
        for event in events:
            table.write("\t".join(_histories.columns(event)) + "\n")
            table.flush()
    except BuildkitError:
        table.discard()
        raise
    table.flush()


def _removed(channel: BlockingChannel, failures: list[BaseException]) -> Iterator[pb.BuildHistoryEvent]:
    """The events whose records have been removed.

    All events are taken before the first removal: one connection does one call at a time here, and the daemon ends
    the list by itself.
    """
    from pybuildkit.api.services.control import _methods, control_pb2

    events, broken = _listed(channel)
    for event in events:
        if not event.HasField("record") or event.record.pinned:
            continue
        request = control_pb2.UpdateBuildHistoryRequest(Ref=event.record.Ref, Delete=True)
        try:
            _control.unary(channel, _methods.UPDATE_BUILD_HISTORY, request)
        except BuildkitError as err:
            failures.append(err)
            continue
        yield event
    if broken is not None:
        raise broken


def _listed(channel: BlockingChannel) -> tuple[list[pb.BuildHistoryEvent], BuildkitError | None]:
    """The records that the daemon has, and what ended their list early."""
    from pybuildkit.api.services.control import _methods, control_pb2

    events: list[pb.BuildHistoryEvent] = []
    request = control_pb2.BuildHistoryRequest(EarlyExit=True)
    try:
        for event in _control.server_stream(channel, _methods.LISTEN_BUILD_HISTORY, request):
            events.append(event)  # noqa: PERF402 - what came before an error counts
    except BuildkitError as err:
        return events, err
    return events, None
