"""The daemon's end of source policies. Mirrors sourcepolicy/policysession/verifier.go, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.sourcepolicy.policysession._methods import CHECK_POLICY

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller, Manager
    from pybuildkit.sourcepolicy.policysession.policysession_pb2 import CheckPolicyRequest, CheckPolicyResponse


class PolicyVerifier:
    """Asks one session about sources."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def check(self, ctx: Context, request: CheckPolicyRequest) -> CheckPolicyResponse:
        """The session's decision, or what it wants to know first.

        Args:
            ctx: ends the question.
            request: the source, its platform, and what is known of it.

        Raises:
            RpcError: what the session's callback failed with.
        """
        return await self._caller.conn().unary(self._caller.context(ctx), CHECK_POLICY, request)


async def new_verifier(ctx: Context, manager: Manager, session_id: str) -> PolicyVerifier:
    """A verifier for a session.

    Args:
        ctx: ends the waiting for a session that has not connected yet.
        manager: knows the sessions.
        session_id: the session's id.

    Raises:
        BuildkitError: the context ended first.
    """
    return PolicyVerifier(await manager.get(ctx, session_id))
