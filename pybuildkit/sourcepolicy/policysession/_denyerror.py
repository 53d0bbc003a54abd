"""Why a policy denied a source. Mirrors sourcepolicy/policysession/denyerror.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.golang import errors
from pybuildkit.util.grpcerrors import TypedError

if TYPE_CHECKING:
    from pybuildkit.sourcepolicy.policysession.policysession_pb2 import DecisionResponse, DenyMessage

DETAIL_NAME = "policysession.DecisionResponse+json"


class DenyMessagesError(TypedError):
    """An error of a source that a policy denied; its text is the inner error's.

    Args:
        cause: the error inside, or None.
        detail: the decision, whose `denyMessages` say why.
    """

    detail_name = DETAIL_NAME
    detail: DecisionResponse

    @property
    def messages(self) -> list[DenyMessage]:
        """Why, one message for each rule."""
        return list(self.detail.denyMessages)


def wrap_deny_messages(err: BaseException, messages: Sequence[DenyMessage]) -> BaseException:
    """The error with the messages, or as it is where there are none."""
    if not messages:
        return err
    from pybuildkit.sourcepolicy.pb.policy_pb2 import DENY
    from pybuildkit.sourcepolicy.policysession.policysession_pb2 import DecisionResponse

    return DenyMessagesError(err, DecisionResponse(action=DENY, denyMessages=messages))


def deny_messages(err: BaseException | None) -> list[DenyMessage]:
    """The messages of every denial in an error, the innermost first."""
    found = [layer.messages for layer in errors.layers(err) if isinstance(layer, DenyMessagesError)]
    return [message for messages in reversed(found) for message in messages]
