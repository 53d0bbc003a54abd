"""Source policies of a build: the request's rules, and the client that is asked about each source.

Mirrors solver/llbsolver/policy.go and the policy part of solver/llbsolver/vertex.go, v0.32.2.

A definition's sources are judged before its graph is made. A source that is replaced changes the digests of all
operations above it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fake_buildkitd.solver import digest_of
from pybuildkit.golang.errgroup import Group
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.solver.pb import unmarshal

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.pb import gateway_pb2
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Manager
    from pybuildkit.sourcepolicy import Engine
    from pybuildkit.sourcepolicy.pb.policy_pb2 import Policy
    from pybuildkit.sourcepolicy.policysession import PolicyVerifier

MAX_QUESTIONS = 10

Describe = Callable[
    ["Context", "gateway_pb2.ResolveSourceMetaRequest"], Awaitable["gateway_pb2.ResolveSourceMetaResponse"]
]
"""What is known of a source, for a client that wants to know before it decides."""


class SourcePolicies:
    """Judges the sources of one build.

    Args:
        manager: knows the sessions.
        policy: the request's rules; None without any.
        session_id: the session that is asked; empty for none.
        describe: answers what that session wants to know of a source.
    """

    def __init__(self, manager: Manager, policy: Policy | None, session_id: str, describe: Describe) -> None:
        self._manager = manager
        self._policy = policy
        self._session_id = session_id
        self._describe = describe
        self._engine: Engine | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything to judge by."""
        return self._policy is not None or bool(self._session_id)

    async def evaluate(self, ctx: Context, op: pb.Op) -> None:
        """Judge an operation's source, and change it in place where it is to be replaced.

        Raises:
            BuildkitError: the source is not allowed; with the session's messages.
        """
        await self._evaluate(ctx, op, MAX_QUESTIONS)

    async def apply(self, ctx: Context, definition: pb.Definition) -> pb.Definition:
        """The definition with its sources judged; the same one where nothing was replaced.

        Raises:
            BuildkitError: "failed to load LLB: error evaluating the source policy: …".
        """
        if not self.needed:
            return definition
        ops = [unmarshal(pb.Op, data) for data in getattr(definition, "def")]
        before = [op.source.SerializeToString(deterministic=True) for op in ops]
        group = Group()
        for op in ops:
            if op.HasField("source"):

                async def judge(op: pb.Op = op) -> None:
                    await self.evaluate(ctx, op)

                await group.go(judge)
        try:
            await group.wait()
        except BuildkitError as err:
            raise wrap(wrap(err, "error evaluating the source policy"), "failed to load LLB") from err
        after = [op.source.SerializeToString(deterministic=True) for op in ops]
        return definition if before == after else _renumbered(definition, ops)

    async def _evaluate(self, ctx: Context, op: pb.Op, left: int) -> None:
        from pybuildkit.sourcepolicy.policysession import new_verifier

        if self._policy is not None:
            if self._engine is None:
                from pybuildkit.sourcepolicy import new_engine

                self._engine = new_engine([self._policy])
            self._engine.evaluate(op.source)
        if self._session_id:
            await self._ask(ctx, op, await new_verifier(ctx, self._manager, self._session_id), left)

    async def _ask(self, ctx: Context, op: pb.Op, verifier: PolicyVerifier, left: int) -> None:
        from pybuildkit.frontend.gateway.pb import gateway_pb2
        from pybuildkit.sourcepolicy.pb import policy_pb2
        from pybuildkit.sourcepolicy.policysession import policysession_pb2, wrap_deny_messages

        source = op.source
        platform = op.platform if op.HasField("platform") else None
        known = gateway_pb2.ResolveSourceMetaResponse(Source=source)
        while left > 0:
            left -= 1
            answer = await verifier.check(ctx, policysession_pb2.CheckPolicyRequest(Platform=platform, Source=known))
            if answer.HasField("request"):
                known = await self._described(ctx, source, answer.request)
                continue
            if not answer.HasField("decision"):
                raise BuildkitError("no decision in policy response")
            decision = answer.decision
            if decision.action == policy_pb2.ALLOW:
                return
            if decision.action != policy_pb2.CONVERT:
                action = policy_pb2.PolicyAction.Name(decision.action)
                err = BuildkitError(f"source {quote(source.identifier)} not allowed by policy: action {action}")
                raise wrap_deny_messages(err, list(decision.denyMessages))
            if not decision.HasField("update"):
                raise BuildkitError("convert action requires updated source")
            source.CopyFrom(decision.update)
            await self._evaluate(ctx, op, left)
            return
        raise BuildkitError("too many policy requests")

    async def _described(
        self, ctx: Context, source: pb.SourceOp, wanted: gateway_pb2.ResolveSourceMetaRequest
    ) -> gateway_pb2.ResolveSourceMetaResponse:
        if wanted.Source.identifier != source.identifier:
            asked, given = quote(wanted.Source.identifier), quote(source.identifier)
            raise BuildkitError(f"policy requested different source identifier: {asked} != {given}")
        if dict(wanted.Source.attrs) != dict(source.attrs):
            raise BuildkitError("policy requested different source attrs")
        try:
            return await self._describe(ctx, wanted)
        except BuildkitError as err:
            raise wrap(err, "error resolving source metadata from policy request") from err


def _renumbered(definition: pb.Definition, ops: list[pb.Op]) -> pb.Definition:
    """A definition of changed operations: inputs, metadata and source locations follow the new digests."""
    digests: dict[str, str] = {}
    out = pb.Definition()
    if definition.HasField("Source"):
        out.Source.CopyFrom(definition.Source)
        out.Source.locations.clear()
    for before, op in zip(getattr(definition, "def"), ops, strict=True):
        for edge in op.inputs:
            edge.digest = digests.get(edge.digest, edge.digest)
        after = op.SerializeToString(deterministic=True)
        old = digest_of(before)
        digests[old] = digest_of(after)
        getattr(out, "def").append(after)
        if old in definition.metadata:
            out.metadata[digests[old]].CopyFrom(definition.metadata[old])
        if old in definition.Source.locations:
            out.Source.locations[digests[old]].CopyFrom(definition.Source.locations[old])
    return out
