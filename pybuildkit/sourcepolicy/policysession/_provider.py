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
        """Ask the callback; raises what it raises, and BuildkitError where it decides and asks at once."""
        decision, wanted = await self._callback(ctx, request)
        if decision is not None and wanted is not None:
            raise BuildkitError("cannot return both decision and meta request")
        return CheckPolicyResponse(decision=decision, request=wanted)


def new_policy_provider(callback: PolicyCallback) -> PolicyProvider:
    """The policy service over a callback."""
    return PolicyProvider(callback)
