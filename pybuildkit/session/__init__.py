"""The session: services that a client offers a daemon while a build runs.

Mirrors package session of BuildKit, v0.32.2.

Protocol: the client opens the bidirectional call Control.Session, whose request headers name the session and the
methods it serves. The bytes of its messages are one HTTP/2 connection on which the *client* is the gRPC server:
the daemon calls for files, secrets, agents and tokens, and checks the session's health every few seconds. The
client half-closes the call when the build has ended, the daemon then ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session._group import Group, NoActiveSessionsError, all_session_ids, any_session, new_group
    from pybuildkit.session._manager import Caller, HealthCheckConfig, Manager
    from pybuildkit.session._session import Attachable, Dialer, Session, SessionClosedError, method_url, new_session

_EXPORTS = {
    "Attachable": "_session",
    "Caller": "_manager",
    "Dialer": "_session",
    "Group": "_group",
    "HealthCheckConfig": "_manager",
    "Manager": "_manager",
    "NoActiveSessionsError": "_group",
    "Session": "_session",
    "SessionClosedError": "_session",
    "all_session_ids": "_group",
    "any_session": "_group",
    "method_url": "_session",
    "new_group": "_group",
    "new_session": "_session",
}

__all__ = [
    "Attachable",
    "Caller",
    "Dialer",
    "Group",
    "HealthCheckConfig",
    "Manager",
    "NoActiveSessionsError",
    "Session",
    "SessionClosedError",
    "all_session_ids",
    "any_session",
    "method_url",
    "new_group",
    "new_session",
]

__getattr__, _ = attach(__name__, _EXPORTS)
