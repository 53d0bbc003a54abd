"""The exit code of a process in a build. Mirrors frontend/gateway/pb/exit.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.util.grpcerrors import TypedError

UNKNOWN_EXIT_STATUS = 255


class ExitError(TypedError):
    """A process of the build ended with a code other than 0: `exit_code`."""

    detail: pb.ExitMessage
    detail_name = "gatewayapi.ExitMessage+json"

    @property
    def exit_code(self) -> int:
        """The process's exit code; 255 where it is unknown."""
        return self.detail.Code

    def __str__(self) -> str:
        return super().__str__() or f"exit code: {self.exit_code}"
