"""Makes the denial known to `util.grpcerrors`, which loads this module when it meets one.

Mirrors the init function of sourcepolicy/policysession, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.util import grpcerrors

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pybuildkit.golang.errors import BuildkitError


def _load() -> tuple[type[Message], type[BuildkitError]]:
    from pybuildkit.sourcepolicy.policysession._denyerror import DenyMessagesError
    from pybuildkit.sourcepolicy.policysession.policysession_pb2 import DecisionResponse

    return DecisionResponse, DenyMessagesError


grpcerrors.register("policysession.DecisionResponse+json", _load)
