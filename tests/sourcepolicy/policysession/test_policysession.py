"""Source policies that the client decides: both ends, and the messages of a denial."""

from __future__ import annotations

from typing import cast

import pytest

from pybuildkit.frontend.gateway.pb.gateway_pb2 import ResolveSourceMetaRequest
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text, wrap
from pybuildkit.rpc import RpcError
from pybuildkit.session import Manager
from pybuildkit.sourcepolicy.pb.policy_pb2 import ALLOW, DENY
from pybuildkit.sourcepolicy.policysession import (
    deny_messages,
    new_policy_provider,
    new_verifier,
    wrap_deny_messages,
)
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import (
    CheckPolicyRequest,
    DecisionResponse,
    DenyMessage,
)
from pybuildkit.util import grpcerrors
from tests.session.pair import SESSION_ID, OneSession, session_pair

BG = context.background()


async def test_decision_question_and_both() -> None:
    answers: list[tuple[DecisionResponse | None, ResolveSourceMetaRequest | None]] = [
        (DecisionResponse(action=ALLOW), None),
        (None, ResolveSourceMetaRequest(LogName="more")),
        (None, None),
        (DecisionResponse(action=DENY), ResolveSourceMetaRequest()),
    ]

    async def decide(
        ctx: context.Context, request: CheckPolicyRequest
    ) -> tuple[DecisionResponse | None, ResolveSourceMetaRequest | None]:
        return answers.pop(0)

    async with session_pair(new_policy_provider(decide)) as caller:
        verifier = await new_verifier(BG, cast("Manager", OneSession(caller)), SESSION_ID)
        response = await verifier.check(BG, CheckPolicyRequest())
        assert (response.WhichOneof("result"), response.decision.action) == ("decision", ALLOW)
        response = await verifier.check(BG, CheckPolicyRequest())
        assert (response.WhichOneof("result"), response.request.LogName) == ("request", "more")
        assert (await verifier.check(BG, CheckPolicyRequest())).WhichOneof("result") is None
        with pytest.raises(RpcError, match="cannot return both decision and meta request"):
            await verifier.check(BG, CheckPolicyRequest())


def test_denials_innermost_first() -> None:
    inner = wrap_deny_messages(BuildkitError("denied"), [DenyMessage(message="inner")])
    outer = wrap_deny_messages(wrap(inner, "load"), [DenyMessage(message="a"), DenyMessage(message="b")])
    assert [message.message for message in deny_messages(outer)] == ["inner", "a", "b"]
    assert error_text(outer) == "load: denied"
    plain = BuildkitError("x")
    assert wrap_deny_messages(plain, []) is plain
    assert deny_messages(plain) == []
    assert deny_messages(None) == []


def test_denial_over_the_wire() -> None:
    err = wrap_deny_messages(BuildkitError("source denied by policy"), [DenyMessage(message="why")])
    status = grpcerrors.to_grpc(err)
    assert status.details[0].type_url == "github.com/moby/buildkit/policysession.DecisionResponse+json"
    back = grpcerrors.from_grpc(status)
    assert [message.message for message in deny_messages(back)] == ["why"]
    assert error_text(back) == "source denied by policy"
