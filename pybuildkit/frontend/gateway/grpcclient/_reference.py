"""A solved result at the daemon. Mirrors the reference type of frontend/gateway/grpcclient/client.go, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.frontend.gateway.pb import _caps as caps
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util.apicaps import CapError

if TYPE_CHECKING:
    from pybuildkit.client.llb import State
    from pybuildkit.frontend.gateway.client import FileRange
    from pybuildkit.frontend.gateway.grpcclient._client import Conn
    from pybuildkit.golang.context import Context
    from pybuildkit.solver.pb import ops_pb2
    from pybuildkit.third_party.fsutil.types.stat_pb2 import Stat
    from pybuildkit.util.apicaps import CapSet


def supported(cap_set: CapSet, id: str) -> bool:
    """Whether the daemon supports a capability."""
    try:
        cap_set.supports(id)
    except CapError:
        return False
    return True


def file_range(range: FileRange | None) -> pb.FileRange | None:
    """A range as the daemon takes it."""
    return None if range is None else pb.FileRange(Offset=range.offset, Length=range.length)


class GrpcReference:
    """A `Reference` of the gateway client.

    Attributes:
        id: the daemon's name for it.
        definition: the graph it comes from, where the daemon tells it.
    """

    def __init__(self, conn: Conn, cap_set: CapSet, id: str, definition: ops_pb2.Definition | None = None) -> None:
        self._conn = conn
        self._caps = cap_set
        self.id = id
        self.definition = definition

    def to_pb(self) -> pb.Ref:
        """The reference as it is returned to the daemon."""
        return pb.Ref(id=self.id, **({"def": self.definition} if self.definition is not None else {}))

    def to_state(self) -> State:
        """The result as a state.

        Raises:
            BuildkitError: when the daemon did not tell the graph, or cannot.
        """
        from pybuildkit.client import llb

        self._caps.supports(caps.CAP_REFERENCE_OUTPUT)
        if self.definition is None:
            raise BuildkitError("gateway did not return reference with definition")
        return llb.new_state(llb.new_definition_op(self.definition))

    async def evaluate(self, ctx: Context) -> None:
        """Solve the result now; on daemons without Evaluate by asking for its root."""
        if supported(self._caps, caps.CAP_GATEWAY_EVALUATE):
            await self._conn.unary(ctx, methods.EVALUATE, pb.EvaluateRequest(Ref=self.id))
            return
        if not supported(self._caps, caps.CAP_STAT_FILE):
            self._caps.supports(caps.CAP_GATEWAY_EVALUATE)
        await self._conn.unary(ctx, methods.STAT_FILE, pb.StatFileRequest(Ref=self.id, Path="."))

    async def read_file(self, ctx: Context, filename: str, range: FileRange | None = None) -> bytes:
        """The content of a file, or a part of it."""
        request = pb.ReadFileRequest(Ref=self.id, FilePath=filename, Range=file_range(range))
        return (await self._conn.unary(ctx, methods.READ_FILE, request)).Data

    async def read_dir(self, ctx: Context, path: str, include_pattern: str = "") -> list[Stat]:
        """The entries of a directory that match a pattern."""
        self._caps.supports(caps.CAP_READ_DIR)
        request = pb.ReadDirRequest(Ref=self.id, DirPath=path, IncludePattern=include_pattern)
        return list((await self._conn.unary(ctx, methods.READ_DIR, request)).entries)

    async def stat_file(self, ctx: Context, path: str) -> Stat:
        """What is known of a file."""
        self._caps.supports(caps.CAP_STAT_FILE)
        request = pb.StatFileRequest(Ref=self.id, Path=path)
        return (await self._conn.unary(ctx, methods.STAT_FILE, request)).stat
