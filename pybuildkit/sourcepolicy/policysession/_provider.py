"""The policy service over a callback. Mirrors sourcepolicy/policysession/provider.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pybuildkit.frontend.gateway.pb.gateway_pb2 import ResolveSourceMetaRequest
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Server
from pybuildkit.sourcepolicy.policysession._methods import CHECK_POLICY
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import (
    CheckPolicyRequest,
    CheckPolicyResponse,
    DecisionResponse,
)

PolicyCallback = Callable[
    [Context, CheckPolicyRequest], Awaitable[tuple[DecisionResponse | None, ResolveSourceMetaRequest | None]]
]
"""Decides about a source, or asks for more of its metadata first; not both."""


class PolicyProvider:
    """The policy service; an Attachable.

    Args:
        callback: decides.
    """

    def __init__(self, callback: PolicyCallback) -> None:
        self._callback = callback

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_unary(CHECK_POLICY, self.check_policy)

    async def check_policy(self, ctx: Context, request: CheckPolicyRequest) -> CheckPolicyResponse:
        """Answer a daemon that asks about a source.

        Args:
            ctx: ends when the daemon gives up or the session ends; given to the callback.
            request: the source, its platform, and what is known of it.

        Raises:
            BuildkitError: the callback both decides and asks; else whatever it raises.
        """
        decision, wanted = await self._callback(ctx, request)
        if decision is not None and wanted is not None:
            raise BuildkitError("cannot return both decision and meta request")
        return CheckPolicyResponse(decision=decision, request=wanted)


def new_policy_provider(callback: PolicyCallback) -> PolicyProvider:
    """The policy service, for `SolveOpt.source_policy_provider`.

    Args:
        callback: given each source; returns its decision, or the metadata it wants to see first, the other being None.
            What it raises fails the build with its text.
    """
    return PolicyProvider(callback)
